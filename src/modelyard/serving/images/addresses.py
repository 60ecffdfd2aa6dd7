"""Hosts of URLs: how they are read, which are allowed, and which addresses are public."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import idna

from modelyard.errors import InvalidArgumentError, UnsupportedError

_LONGEST = 8192  # characters of a URL
_PORTS = {"http": 80, "https": 443}
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(\?[^#]*)?(?:#.*)?")
_AUTHORITY = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::(.*))?")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_NAME = re.compile(r"(?:(?!-)[a-z0-9_-]{1,63}(?<!-)\.)*(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_SPELLING = "names an IP address in an unusual spelling"

# IANA's registries of special-purpose addresses, whole blocks of them: what Python's `is_global` says changes
# from one release to the next, and it takes multicast for global.
_SPECIAL = [
    IPv4Network(one)
    for one in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
        "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "168.63.129.16/32",  # Azure's metadata, which looks public
    )
]  # fmt: skip
_GLOBAL6 = IPv6Network("2000::/3")
# Teredo is in the first, 6to4 is the third.
_SPECIAL6 = [IPv6Network(one) for one in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")]
_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an address is a global unicast one: nobody's own network, no test or tunnel, no metadata.

    What wraps an IPv4 address (IPv4-mapped, NAT64) is judged by that; 6to4 and Teredo are never public.

    >>> [is_public(one) for one in ("1.1.1.1", "10.0.0.1", "::ffff:10.0.0.1", "2606:4700::1111")]
    [True, False, False, True]
    """
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address):
        if found.scope_id is not None:
            return False
        if found in _NAT64:
            found = IPv4Address(int(found) & 0xFFFFFFFF)
        elif found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        else:
            return found in _GLOBAL6 and not any(found in one for one in _SPECIAL6)
    return not any(found in one for one in _SPECIAL)


@dataclass(frozen=True, slots=True)
class Place:
    """What a URL names, in the one form that is compared, resolved and asked for.

    `host` is ASCII and lower case, an IPv6 address without brackets; `target` is the path and the query.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def literal(self) -> bool:
        """Whether the host is an IP address."""
        return _is_address(self.host)

    @property
    def authority(self) -> str:
        """The host as the `Host` header says it: with the port, where it is not the scheme's own."""
        return _bracketed(self.host) + ("" if self.port == _PORTS[self.scheme] else f":{self.port}")

    def at(self, address: str) -> str:
        """The URL with an address in the place of the host."""
        return f"{self.scheme}://{_bracketed(address)}:{self.port}{self.target}"


@dataclass(frozen=True, slots=True)
class AllowedHost:
    """An entry of an allowlist: a host, or with `below` all names below it; a port, or the scheme's own."""

    host: str
    port: int | None
    below: bool

    def covers(self, place: Place) -> bool:
        """Whether the entry allows the place."""
        if place.port != (_PORTS[place.scheme] if self.port is None else self.port):
            return False
        return place.host.endswith(f".{self.host}") if self.below else place.host == self.host


def read_allowed(entry: object) -> AllowedHost:
    """An entry of an allowlist.

    >>> read_allowed("*.Example.com:8443")
    AllowedHost(host='example.com', port=8443, below=True)

    Raises:
        InvalidArgumentError: it is malformed.
    """
    try:
        if not isinstance(entry, str):
            raise ValueError("is no text")
        below = entry.startswith("*.")
        host, port = _authority(entry.removeprefix("*."))
        if below and _is_address(host):
            raise ValueError("has an IP address after '*.'")
    except ValueError as error:
        raise InvalidArgumentError(
            f"an allowed image host is {entry!r:.100}, which {error}",
            hint="Write images.example.com, *.example.com, 192.0.2.1 or [2001:db8::1], with :PORT where it "
            "is not the usual one.",
        ) from None
    return AllowedHost(host, port, below)


def read_url(url: str) -> Place:
    """An http or https URL. Strict: what two readers could take for two hosts is refused.

    >>> read_url("http://Example.COM./a?b#c")
    Place(scheme='http', host='example.com', port=80, target='/a?b')

    Raises:
        UnsupportedError: the scheme is another one.
        InvalidArgumentError: it is no URL, or names its host in a way that is not taken.
    """
    title = f"the image {shown(url)}"
    if len(url) > _LONGEST:
        raise InvalidArgumentError(
            f"{title} has a URL of {len(url)} characters", hint=f"{_LONGEST} are read."
        )
    if is_unsafe(url):
        raise InvalidArgumentError(
            f"{title} has a space, a backslash or a control character in its URL", hint="Percent-encode it."
        )
    found = _URL.fullmatch(url)
    scheme = url.partition(":")[0].lower() if ":" in url else ""
    if scheme and scheme not in _PORTS:
        raise UnsupportedError(
            f"{title} has the scheme {scheme[:20]!r}", hint="Images come from http:, https: and data: URLs."
        )
    if not found:
        raise InvalidArgumentError(f"{title} is no URL", hint="Write https://HOST/PATH, or a data: URL.")
    authority, path, query = found[2], found[3], found[4] or ""
    if "@" in authority:
        raise InvalidArgumentError(
            f"{title} has a user name or password in its URL", hint="Images are fetched without."
        )
    try:
        host, port = _authority(authority)
    except ValueError as error:
        raise InvalidArgumentError(f"{title} {error}", hint="Correct the host.") from None
    return Place(scheme, host, port or _PORTS[scheme], (path or "/") + query)


def is_unsafe(url: str) -> bool:
    """Whether it has a character that some readers of URLs drop, and others take for an end or a slash."""
    return " " in url or "\\" in url or not url.isprintable()


def shown(url: str) -> str:
    """A URL as messages show it: never its data, query, user or password, and not much of the rest.

    >>> shown("https://me:secret@example.com/a.png?token=1")
    "'https://...@example.com/a.png'"
    """
    scheme, colon, rest = url.strip().partition(":")
    if not colon:
        return ascii(url[:20])
    if not rest.startswith("//"):
        return ascii(f"{scheme[:20]}:...")
    place = re.split("[?#]", rest[2:], maxsplit=1)[0]
    if "@" in place:
        place = "...@" + place.rpartition("@")[2]
    return ascii(f"{scheme[:20]}://{place}"[:100])


def _authority(text: str) -> tuple[str, int | None]:
    """Host and port, with a ValueError that says what is wrong."""
    found = _AUTHORITY.fullmatch(text)
    if not found or not found[1]:
        raise ValueError("names no host")
    if found[2] is not None and (not _PORT.fullmatch(found[2]) or int(found[2]) > 65535):
        raise ValueError(f"has port {found[2][:10]!r}")
    return _host(found[1]), None if found[2] is None else int(found[2])


def _host(text: str) -> str:
    if text.startswith("["):
        return _address6(text[1:-1])
    name = text
    if not text.isascii():
        try:
            name = idna.encode(text, uts46=True, std3_rules=True).decode()
        except UnicodeError:  # idna's errors are such
            raise ValueError("has a host that is no name") from None
    name = name.lower().removesuffix(".")
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise ValueError("has a host that is no name")
    # The C library takes 0177.1, 2130706433 and 0x7f.1 for addresses too; all have such a number at the end.
    if _NUMBER.fullmatch(name.rpartition(".")[2]) and not (name == text and _is_address(name)):
        raise ValueError(_SPELLING)
    return name


def _address6(text: str) -> str:
    try:
        found = IPv6Address(text)
    except ValueError:
        raise ValueError("has brackets around what is no IPv6 address") from None
    if found.ipv4_mapped is not None or found.scope_id is not None or str(found) != text.lower():
        raise ValueError(_SPELLING)
    return str(found)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
