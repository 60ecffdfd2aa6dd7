"""Encoding: the bytes of a text file as text, and a word about every guess."""

from __future__ import annotations

import codecs
import re

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([A-Za-z0-9_.:-]{2,40})""", re.IGNORECASE)
_PAGES = re.compile(
    r"utf-8|ascii|cp125\d|iso8859-\d+|koi8-[ru]|shift_jis|euc_jp|gb2312|gbk|gb18030|big5|euc_kr"
)
_HEAD = 4096
_MOST_CONTROLS = 0.02


def decode(data: bytes, *, markup: bool = False) -> tuple[str, tuple[str, ...]]:
    """The text of some bytes, and a warning for each guess that had to be made.

    A byte order mark decides; then, in markup, the declared charset; then UTF-8; then windows-1252.

    >>> decode("Ü".encode("utf-16"))
    ('Ü', ())
    >>> decode(b"caf\\xe9")
    ('café', ('not UTF-8; read as windows-1252',))
    """
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return _strict(data, encoding) or _replaced(data, encoding)
    wide = _utf16_without_mark(data)
    if wide is not None:
        return _strict(data, wide, f"no byte order mark; read as {wide}") or _replaced(data, wide)
    declared = _declared(data) if markup else None
    found = _strict(data, declared) if declared else None
    note = f"declared as {declared}, which its bytes are not; " if declared else "not UTF-8; "
    return found or _strict(data, "utf-8") or _western(data, note)


def binary(text: str) -> bool:
    """Whether decoded bytes were not text at all: more than 2% control characters.

    >>> binary("net loss\\n"), binary("\\x00\\x01\\x02PNG")
    (False, True)
    """
    head = text[:65536]
    controls = sum(1 for character in head if character < " " and character not in "\t\n\r\f\v\x1a")
    return controls > _MOST_CONTROLS * len(head)


def _strict(data: bytes, encoding: str, *warnings: str) -> tuple[str, tuple[str, ...]] | None:
    try:
        return data.decode(encoding), warnings
    except UnicodeError:
        return None


def _replaced(data: bytes, encoding: str) -> tuple[str, tuple[str, ...]]:
    return data.decode(encoding, "replace"), (f"broken {encoding}: some characters are replaced by U+FFFD",)


def _western(data: bytes, note: str) -> tuple[str, tuple[str, ...]]:
    windows = _strict(data, "cp1252", f"{note}read as windows-1252")
    return windows or (data.decode("latin-1"), (f"{note}read as latin-1",))


def _utf16_without_mark(data: bytes) -> str | None:
    """UTF-16 in the Latin alphabet has a zero in every second byte, and always on the same side."""
    head = data[: _HEAD & ~1]
    half = len(head) // 2
    low, high = head[1::2].count(0), head[0::2].count(0)
    if half and low > 0.6 * half and high < 0.1 * half:
        return "utf-16-le"
    if half and high > 0.6 * half and low < 0.1 * half:
        return "utf-16-be"
    return None


def _declared(data: bytes) -> str | None:
    match = _DECLARED.search(data[:_HEAD])
    if match is None:
        return None
    try:
        name = codecs.lookup(match[1].decode("ascii")).name
    except LookupError:
        return None
    if name in ("ascii", "iso8859-1"):
        return "cp1252"  # what browsers read under these names: https://encoding.spec.whatwg.org/#names-and-labels
    return name if _PAGES.fullmatch(name) else None
