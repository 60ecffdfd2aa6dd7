"""Archive: whether a zipped document may be unpacked, decided by its table of contents alone.

A few kilobytes can unpack to gigabytes. What is unpacked never exceeds the sizes that the table of contents
declares, as `zipfile` stops there, so those are added up first.
"""

from __future__ import annotations

import io
import zipfile

from modelyard.errors import DocumentError

MOST_PARTS = 10_000
MOST_BYTES = 256 * 2**20
MOST_XML = 64 * 2**20  # of one part; as a tree it takes about ten times as much memory

_REMEDY = "Open it in a word processor and save it again, without what makes it so large."


def check_archive(data: bytes, name: str) -> None:
    """Raises where an archive is damaged, encrypted, or unpacks to more than is reasonable.

    Raises:
        DocumentError: with what is wrong.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = archive.infolist()
    # zipfile reads its fields as they come: broken ones end in any of several errors.
    except Exception as error:
        raise DocumentError(
            f"{name}: the file is damaged ({error})", hint="Fetch it again, or save it again."
        ) from error
    if any(part.flag_bits & 1 for part in parts):
        raise DocumentError(f"{name}: the archive is encrypted", hint="Save a copy without a password.")
    if len(parts) > MOST_PARTS:
        raise DocumentError(
            f"{name}: holds {len(parts):,} parts, at most {MOST_PARTS:,} are read", hint=_REMEDY
        )
    whole = sum(part.file_size for part in parts)
    xml = max((part.file_size for part in parts if part.filename.endswith((".xml", ".rels"))), default=0)
    for size, most, what in ((whole, MOST_BYTES, "unpacks to"), (xml, MOST_XML, "one part unpacks to")):
        if size > most:
            said = f"{what} {size / 2**20:,.0f} MiB, at most {most // 2**20} are read"
            raise DocumentError(f"{name}: {said}", hint=_REMEDY)
