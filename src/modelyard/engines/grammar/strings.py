"""Strings: characters as JSON writes them, and the formats of JSON Schema as expressions."""

from __future__ import annotations

from modelyard.engines.grammar.nodes import Chars, Lit, Node, Ranges, Rep, alt, chars, complement, seq, union

_DATE = (
    r"(?:[1-9]\d{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)"
    r"|02-(?:0[1-9]|1\d|2[0-8]))|(?:[1-9]\d(?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)-02-29)"
)
_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)"
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_URI_CHAR = r"(?:[A-Za-z0-9._~:/?@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})"
_LABEL = r"[A-Za-z0-9]{1,30}(?:-[A-Za-z0-9]{1,30}){0,4}"
FORMATS = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f"{_DATE}T{_TIME}",
    "uuid": r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    "email": r"[A-Za-z0-9_%+-]{1,32}(?:\.[A-Za-z0-9_%+-]{1,32}){0,4}"
    rf"@(?:{_LABEL}\.){{1,6}}[A-Za-z]{{2,24}}",
    "uri": rf"[A-Za-z][A-Za-z0-9+.-]{{0,11}}:{_URI_CHAR}+(?:#{_URI_CHAR}*)?",
    "ipv4": rf"{_OCTET}(?:\.{_OCTET}){{3}}",
}

_JSON_SPECIAL: Ranges = ((0, 0x1F), (0x22, 0x22), (0x5C, 0x5C))
_JSON_SHORT = {8: "b", 9: "t", 10: "n", 12: "f", 13: "r", 0x22: '"', 0x5C: "\\"}


def in_json_string(ranges: Ranges) -> Node:
    """One character out of the ranges as it is written inside a JSON string, escaped where it must be."""
    plain = complement(union((*complement(ranges), *_JSON_SPECIAL)))
    held = [
        c for a, b in _JSON_SPECIAL for c in range(a, b + 1) if any(low <= c <= high for low, high in ranges)
    ]
    choices: list[Node] = [Chars(plain)] if plain else []
    short = union((ord(_JSON_SHORT[c]),) * 2 for c in held if c in _JSON_SHORT)
    if short:
        choices.append(seq(Lit("\\"), Chars(short)))
    for nibble in "01":
        codes = [f"{c:02x}"[1] for c in held if c not in _JSON_SHORT and f"{c:02x}"[0] == nibble]
        if codes:
            choices.append(seq(Lit(f"\\u00{nibble}"), Chars(union((ord(c), ord(c)) for c in codes))))
    return alt(*choices)


def any_json_char() -> Node:
    """One character of a JSON string, raw or escaped; no half of a surrogate pair, so it counts as one."""
    hexadecimal = chars("09afAF")
    unicode = alt(
        seq(chars("09acefACEF"), Rep(hexadecimal, 3, 3)),
        seq(chars("ddDD"), chars("07"), Rep(hexadecimal, 2, 2)),
    )
    escape = alt(chars('""\\\\//bbffnnrrtt'), seq(Lit("u"), unicode))
    return alt(Chars(complement(_JSON_SPECIAL)), seq(Lit("\\"), escape))
