"""Archives: what would unpack to too much is refused from its table of contents, before anything is unpacked."""

import io
import tracemalloc
import zipfile

import pytest

from modelyard.errors import DocumentError
from modelyard.extraction.readers.archive import MOST_PARTS, check_archive
from modelyard.extraction.readers.docx import read_docx


def archive(parts: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in parts.items():
            target.writestr(name, data)
    return out.getvalue()


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"word/document.xml": bytes(65 * 2**20)}, "one part unpacks to 65 MiB"),
        ({f"word/media/{n}.png": bytes(65 * 2**20) for n in range(4)}, "unpacks to 260 MiB"),
        ({f"{n}": b"" for n in range(MOST_PARTS + 1)}, "10,001 parts"),
    ],
)
def test_a_bomb_is_an_error_and_takes_no_memory(parts: dict[str, bytes], words: str) -> None:
    data = archive(parts)
    del parts
    tracemalloc.start()
    try:
        with pytest.raises(DocumentError, match=words) as caught:
            read_docx(data, "bomb.docx")
        assert tracemalloc.get_traced_memory()[1] < 32 * 2**20
    finally:
        tracemalloc.stop()
    assert caught.value.hint and "bomb.docx" in caught.value.message


def test_an_archive_that_lies_about_its_sizes_is_an_error() -> None:
    data = bytearray(archive({"word/document.xml": bytes(1000), "[Content_Types].xml": b"<Types/>"}))
    at = data.rindex(b"PK\x01\x02", 0, data.rindex(b"PK\x01\x02"))
    data[at + 24 : at + 28] = (10).to_bytes(4, "little")
    with pytest.raises(DocumentError, match="not a readable Word document"):
        read_docx(bytes(data), "liar.docx")


def test_no_archive_at_all_is_said() -> None:
    with pytest.raises(DocumentError, match="damaged"):
        check_archive(b"PK\x03\x04 nothing more", "cut.docx")
