"""Images that clients name: what is taken in, and that nothing else is even connected to.

Every connection that the intake makes goes through `roads`, which notes where it was meant to go. What is not
meant for a server of the test ends in a trap on loopback: whatever check failed, the trap would have a visitor.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import socket
import ssl
import struct
import threading
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from PIL import Image
from tests.badserver import certificate

from modelyard.errors import InvalidArgumentError, UnsupportedError
from modelyard.serving.images.addresses import is_public
from modelyard.serving.images.intake import ImageIntake
from modelyard.types import ImagePart

PUBLIC = "93.184.216.34"
ALLOWED = ("images.example.com", "images.example.com:8080", "*.cdn.example.com", "bücher.example")
LITERALS = ("127.0.0.1", "[::1]", "169.254.169.254", *ALLOWED)


# -- pictures ----------------------------------------------------------------------------------------------


def picture(kind: str = "PNG", size: tuple[int, int] = (5, 4), **how: Any) -> bytes:
    """A real image."""
    buffer = io.BytesIO()
    Image.effect_noise(size, 50).convert("RGB").save(buffer, format=kind, **how)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *more: bytes) -> bytes:
    """A PNG of one colour that says this size, and holds one row."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(width + 1)))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + body + chunk(b"IEND")


def gif(
    width: int, height: int, frames: int = 1, frame: tuple[int, int] = (1, 1), before: bytes = b""
) -> bytes:
    """A GIF with this screen and many small frames."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    one = b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x44\x01\0"
    return head + before + one * frames + b";"


def jpeg(width: int, height: int) -> bytes:
    """A JPEG that says this size."""
    found = bytearray(picture("JPEG"))
    at = found.index(b"\xff\xc0")
    found[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(found)


def bmp(width: int, height: int, compression: int = 0) -> bytes:
    """A BMP that says this size."""
    found = bytearray(picture("BMP"))
    found[18:26] = struct.pack("<ii", width, height)
    found[28:34] = struct.pack("<HI", 8 if compression else 24, compression)
    return bytes(found)


def webp(width: int, height: int) -> bytes:
    """A lossless WebP that says this size."""
    found = bytearray(picture("WEBP", lossless=True))
    at = found.index(b"VP8L") + 9
    bits = int.from_bytes(found[at : at + 4], "little") >> 28 << 28 | (height - 1) << 14 | width - 1
    found[at : at + 4] = struct.pack("<I", bits)
    return bytes(found)


def data_url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


DOT = picture()


# -- servers -----------------------------------------------------------------------------------------------


def reply(body: bytes = DOT, status: int = 200, **headers: str) -> bytes:
    """A whole response."""
    given = {"Content_Type": "image/png", "Content_Length": str(len(body)), **headers}
    lines = [f"HTTP/1.1 {status} X", *(f"{k.replace('_', '-')}: {v}" for k, v in given.items() if v), "", ""]
    return "\r\n".join(lines).encode() + body


def onward(location: str, status: int = 302) -> bytes:
    return reply(b"moved", status, Location=location)


@dataclass
class Site:
    """A server on loopback. A page is a response, or pieces that are sent until the client leaves."""

    pages: dict[str, Any] = field(default_factory=dict)
    heads: list[str] = field(default_factory=list)
    context: ssl.SSLContext | None = None
    port: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str = "/a.png") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def serve(self, listener: socket.socket) -> None:
        while not self.stop.is_set():
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(peer,), daemon=True).start()

    def _talk(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            if self.context:
                peer = self.context.wrap_socket(peer, server_side=True)
            stack.enter_context(peer)
            head = b""
            while b"\r\n\r\n" not in head:
                more = peer.recv(65536)
                if not more:
                    return
                head += more
            self.heads.append(head.decode())
            page = self.pages.get(head.split()[1].decode()) or reply(b"", 404)
            for piece in [page] if isinstance(page, bytes) else page(self):
                peer.sendall(piece)
            peer.shutdown(socket.SHUT_WR)
            peer.settimeout(5)
            while peer.recv(65536):  # a connection that is reset could lose the end of what was sent
                pass


@contextlib.contextmanager
def running(context: ssl.SSLContext | None = None) -> Iterator[Site]:
    site = Site(context=context)
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        site.port = listener.getsockname()[1]
        threading.Thread(target=site.serve, args=(listener,), daemon=True).start()
        try:
            yield site
        finally:
            site.stop.set()
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def site() -> Iterator[Site]:
    with running() as found:
        found.pages["/a.png"] = reply()
        yield found


@dataclass
class Roads:
    """Where connections were meant to go; by `through` some of them get there."""

    trap: socket.socket
    made: list[tuple[str, int]] = field(default_factory=list)
    through: dict[tuple[str, int], int] = field(default_factory=dict)

    def assert_unused(self, *but: tuple[str, int]) -> None:
        assert self.made == list(but)
        with pytest.raises(BlockingIOError):  # nobody waits to be let in
            self.trap.accept()


@pytest.fixture
def roads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Roads]:
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.setblocking(False)
        roads = Roads(trap)
        connect = anyio.connect_tcp

        async def lead(remote_host: str, remote_port: int, **how: Any) -> Any:
            roads.made.append((remote_host, remote_port))
            port = roads.through.get((remote_host, remote_port), trap.getsockname()[1])
            return await connect("127.0.0.1", port, **how)

        monkeypatch.setattr(anyio, "connect_tcp", lead)
        yield roads


class Names:
    """A resolver that gives one answer after the other, and then the last again."""

    def __init__(self, *answers: list[str] | Exception) -> None:
        self.answers = list(answers) or [[PUBLIC]]
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append((host, port))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def read(url: str, **settings: Any) -> ImagePart:
    async def main() -> ImagePart:
        intake = ImageIntake(**{"timeout": 2.0, **settings})
        try:
            return await intake.read(url)
        finally:
            await intake.close()

    return asyncio.run(main())


def refused(url: str, **settings: Any) -> InvalidArgumentError:
    with pytest.raises(InvalidArgumentError) as caught:
        read(url, **settings)
    return caught.value


# -- hostile URLs ------------------------------------------------------------------------------------------

ELSEWHERE = "a host that this server does not fetch from"
SPELLING = "an unusual spelling"
NO_NAME = "a host that is no name"
UNSAFE = "a space, a backslash or a control character"
USER = "a user name or password"
SCHEME = "has the scheme"
NO_URL = "is no URL"
NO_HOST = "names no host"
BRACKETS = "brackets around what is no IPv6 address"
PORT = "has port"
NO_PICTURE = "not a picture of pixels"
NO_BASE64 = "is not in base64"
BROKEN_BASE64 = "is broken base64"

HOSTILE = [
    # addresses that nobody allowed, as they are usually written
    ("http://127.0.0.1/", ELSEWHERE),
    ("https://127.0.0.1/", ELSEWHERE),
    ("http://127.0.0.1:8080/", ELSEWHERE),
    ("http://127.1.2.3/", ELSEWHERE),
    ("http://10.0.0.1/", ELSEWHERE),
    ("http://172.16.0.1/", ELSEWHERE),
    ("http://192.168.1.1/", ELSEWHERE),
    ("http://169.254.169.254/latest/meta-data/", ELSEWHERE),
    ("http://169.254.170.2/v2/credentials", ELSEWHERE),
    ("http://100.100.100.200/latest/meta-data/", ELSEWHERE),
    ("http://168.63.129.16/machine?comp=goalstate", ELSEWHERE),
    ("http://192.0.0.192/opc/v2/instance/", ELSEWHERE),
    ("http://100.64.0.1/", ELSEWHERE),
    ("http://0.0.0.0/", ELSEWHERE),
    ("http://224.0.0.1/", ELSEWHERE),
    ("http://255.255.255.255/", ELSEWHERE),
    ("http://1.1.1.1/", ELSEWHERE),
    ("http://[::1]/", ELSEWHERE),
    ("http://[::]/", ELSEWHERE),
    ("http://[fe80::1]/", ELSEWHERE),
    ("http://[fc00::1]/", ELSEWHERE),
    ("http://[fd00:ec2::254]/latest/meta-data/", ELSEWHERE),
    ("http://[ff02::1]/", ELSEWHERE),
    ("http://[64:ff9b::7f00:1]/", ELSEWHERE),
    ("http://[2002:7f00:1::]/", ELSEWHERE),
    ("http://[2001:0:7f00:1::]/", ELSEWHERE),
    # names that nobody allowed, and those that look like one that is
    ("http://localhost/", ELSEWHERE),
    ("http://LOCALHOST./", ELSEWHERE),
    ("http://metadata.google.internal/computeMetadata/v1/", ELSEWHERE),
    ("http://127.0.0.1.nip.io/", ELSEWHERE),
    ("http://example.com/", ELSEWHERE),
    ("http://evilimages.example.com/", ELSEWHERE),
    ("http://a.images.example.com/", ELSEWHERE),
    ("http://images.example.com.evil.test/", ELSEWHERE),
    ("http://images.example.comevil.test/", ELSEWHERE),
    ("http://cdn.example.com/", ELSEWHERE),
    ("http://xcdn.example.com/", ELSEWHERE),
    ("http://images-example.com/", ELSEWHERE),
    ("http://imаges.example.com/", ELSEWHERE),  # a Cyrillic a
    ("http://images.еxample.com/", ELSEWHERE),  # a Cyrillic e
    ("http://images.examp1e.com/", ELSEWHERE),
    ("http://ımages.example.com/", ELSEWHERE),  # an i without a dot
    ("http://bucher.example/", ELSEWHERE),
    ("http://xn--bcher-kva.example.evil.test/", ELSEWHERE),
    ("http://images.example.com／.evil.test/", NO_NAME),  # wide and odd marks that some fold to / @ : %
    ("http://images.example.com＠127.0.0.1/", NO_NAME),
    ("http://images.example.com：80/", NO_NAME),
    ("http://images.example.com％2f.evil.test/", NO_NAME),
    ("http://images.example.com⁄.evil.test/", NO_NAME),
    ("http://℀.example.com/", NO_NAME),
    ("http://images..example.com/", NO_NAME),
    ("http://images.example.com../", NO_NAME),
    ("http://.images.example.com/", NO_NAME),
    ("http://-images.example.com/", NO_NAME),
    (f"http://{'a' * 64}.cdn.example.com/", NO_NAME),
    (f"http://{'a.' * 130}cdn.example.com/", NO_NAME),
    ("http://127%2e0%2e0%2e1/", NO_NAME),
    ("http://%31%32%37.0.0.1/", NO_NAME),
    ("http://images.example.com%00.evil.test/", NO_NAME),
    ("http://images.example.com%2f@evil.test/", USER),
    ("http://images.example.com,127.0.0.1/", NO_NAME),
    ("http://images.example.com;127.0.0.1/", NO_NAME),
    ("http://*.cdn.example.com/", NO_NAME),
    # user names
    ("http://images.example.com@127.0.0.1/", USER),
    ("http://allowed.example@127.0.0.1/", USER),
    ("http://me:secret@images.example.com/", USER),
    ("http://images.example.com:80@127.0.0.1/", USER),
    ("http://@images.example.com/", USER),
    ("http://a@b@images.example.com/", USER),
    ("http://127.0.0.1#@images.example.com/", ELSEWHERE),
    ("http://127.0.0.1?@images.example.com/", ELSEWHERE),
    ("http://127.0.0.1/@images.example.com/", ELSEWHERE),
    # characters that readers of URLs disagree on
    ("http://127.0.0.1\\@images.example.com/", UNSAFE),
    ("http://images.example.com\\@127.0.0.1/", UNSAFE),
    ("http:\\\\images.example.com\\a.png", UNSAFE),
    ("http://images.example.com\\.evil.test/", UNSAFE),
    ("http://images.exam\tple.com/", UNSAFE),
    ("http://images.example.com\n.evil.test/", UNSAFE),
    ("http://images.example.com/\r\nHost: 127.0.0.1", UNSAFE),
    ("http://images.example.com/a b", UNSAFE),
    (" http://images.example.com/", UNSAFE),
    ("\thttp://images.example.com/", UNSAFE),
    ("ht\ntp://images.example.com/", UNSAFE),
    ("http://images.example.com\0/", UNSAFE),
    ("http://images.exa\u00admple.com/", UNSAFE),
    ("http://images.exa\u200bmple.com/", UNSAFE),
    ("http://images.example.com/\u202egnp.a", UNSAFE),
    ("http://images.example.com/\ud800", UNSAFE),
    # ports
    ("http://images.example.com:22/", ELSEWHERE),
    ("http://images.example.com:443/", ELSEWHERE),
    ("https://images.example.com:80/", ELSEWHERE),
    ("http://a.cdn.example.com:8080/", ELSEWHERE),
    ("http://images.example.com:0/", PORT),
    ("http://images.example.com:/", PORT),
    ("http://images.example.com:080/", PORT),
    ("http://images.example.com:65616/", PORT),  # 80 in 16 bits
    ("http://images.example.com:-80/", PORT),
    ("http://images.example.com:80:80/", PORT),
    ("http://images.example.com:0x50/", PORT),
    ("http://images.example.com:٨٠/", PORT),
    ("http://images.example.com:80a/", PORT),
    # brackets
    ("http://::1/", NO_HOST),
    ("http://[::1/", NO_HOST),
    ("http://[127.0.0.1]/", BRACKETS),
    ("http://[images.example.com]/", BRACKETS),
    ("http://[v1.images.example.com]/", BRACKETS),
    ("http://[]/", BRACKETS),
    ("http://[::1]images.example.com/", NO_HOST),
    ("http://images.example.com[::1]/", NO_HOST),
    # other schemes, and none
    ("file:///etc/passwd", SCHEME),
    ("file://images.example.com/etc/passwd", SCHEME),
    ("ftp://images.example.com/a.png", SCHEME),
    ("gopher://images.example.com/_GET", SCHEME),
    ("dict://images.example.com:11211/stat", SCHEME),
    ("ldap://images.example.com/", SCHEME),
    ("ws://images.example.com/", SCHEME),
    ("unix:///var/run/docker.sock", SCHEME),
    ("http+unix://images.example.com/", SCHEME),
    ("jar:http://images.example.com!/", SCHEME),
    ("blob:http://images.example.com/1", SCHEME),
    ("javascript:alert(1)", SCHEME),
    ("javascript://images.example.com/%0aalert(1)", SCHEME),
    ("view-source:http://images.example.com/", SCHEME),
    ("about:blank", SCHEME),
    ("C:/windows/win.ini", SCHEME),
    ("//images.example.com/a.png", NO_URL),
    ("/etc/passwd", NO_URL),
    ("../a.png", NO_URL),
    ("images.example.com/a.png", NO_URL),
    ("http:images.example.com/a.png", NO_URL),
    ("http:/images.example.com/a.png", NO_URL),
    ("http:///images.example.com/a.png", NO_HOST),
    ("http://:80/", NO_HOST),
    ("https://", NO_HOST),
    ("://images.example.com/", NO_URL),
    ("", NO_URL),
    ("http://images.example.com/" + "a" * 9000, "a URL of"),
    # data: URLs that hold no picture
    ("data:text/html;base64,PGI+aGk8L2I+", NO_PICTURE),
    ("data:application/octet-stream;base64,AAAA", NO_PICTURE),
    ("data:image/svg+xml;base64,PHN2Zy8+", NO_PICTURE),
    ("data:;base64,AAAA", NO_PICTURE),
    ("data:text/html;image/png;base64,AAAA", NO_PICTURE),
    ("data:image/png,AAAA", NO_BASE64),
    ("data:image/png;base64", "is in no format"),
    ("data:image/png;base64;charset=x,AAAA", NO_BASE64),
    ("data:,", NO_BASE64),
    ("data://images.example.com/a.png", NO_BASE64),
    ("data:image/png;base64,AA\nAA", BROKEN_BASE64),
    ("data:image/png;base64,AA-_", BROKEN_BASE64),
    ("data:image/png;base64,AAA", BROKEN_BASE64),
    ("data:image/png;base64,AA==AA==", BROKEN_BASE64),
    ("data:image/png;base64,%41AAA", BROKEN_BASE64),
    ("data:image/png;base64,ÄÄÄÄ", BROKEN_BASE64),
    ("DATA:Text/Html;Base64,AAAA", NO_PICTURE),
]

SPELLINGS = [
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0X7F000001/",
    "http://017700000001/",
    "http://0177.0.0.1/",
    "http://0x7f.0.0.1/",
    "http://0x7f.1/",
    "http://127.0x1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://127.0.0.1./",
    "http://127.000.000.001/",
    "http://0127.0.0.1/",
    "http://127.0.0.257/",
    "http://127.0.0.1.1/",
    "http://0/",
    "http://0x/",
    "http://0.0/",
    "http://2852039166/",
    "http://0xA9FEA9FE/",
    "http://0251.0376.0251.0376/",
    "http://169.254.43518/",
    "http://１２７.０.０.１/",
    "http://127。0。0。1/",
    "http://①②⑦.⓪.⓪.①/",
    "http://images.example.1/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::127.0.0.1]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[0000::0001]/",
    "http://[::0.0.0.1]/",
    "http://[::1%25lo]/",
    "http://[::1%lo]/",
    "http://[fe80::1%25eth0]/",
]

INTERNAL = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1",
    "169.254.169.254", "169.254.170.2", "100.64.0.1", "100.100.100.200", "192.0.0.192", "168.63.129.16",
    "192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "192.88.99.1", "224.0.0.1", "239.255.255.250",
    "240.0.0.1", "255.255.255.255", "::1", "::", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "::ffff:169.254.169.254", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::",
    "2002:c0a8:1::", "2002:101:101::", "2001:0:7f00:1::", "2001:db8::1", "3fff::1", "100::1", "5f00::1", "fc00::1",
    "fd00:ec2::254", "fe80::1", "fe80::1%lo", "fec0::1", "ff02::1", "2606:4700::1111%lo", "localhost", "",
]  # fmt: skip


def named(value: object) -> str | None:
    """A hostile URL as the name of its test: without what would break a line, and not too long."""
    return ascii(value)[1:-1][:60] if isinstance(value, str) else None


@pytest.mark.parametrize(("url", "why"), HOSTILE, ids=named)
def test_a_hostile_url_is_refused_without_a_lookup_or_a_connection(url: str, why: str, roads: Roads) -> None:
    names = Names()
    error = refused(url, allow=ALLOWED, resolve=names)
    assert why in error.message
    assert isinstance(error, UnsupportedError) == (why in (ELSEWHERE, SCHEME))
    assert names.asked == []
    roads.assert_unused()


@pytest.mark.parametrize("url", SPELLINGS, ids=named)
def test_an_odd_spelling_is_refused_even_of_an_address_that_is_allowed(url: str, roads: Roads) -> None:
    names = Names()
    assert SPELLING in refused(url, allow=LITERALS, resolve=names).message
    assert names.asked == []
    roads.assert_unused()


@pytest.mark.parametrize("address", INTERNAL)
def test_an_allowed_name_that_leads_to_an_internal_address_is_refused(address: str, roads: Roads) -> None:
    assert not is_public(address)
    names = Names([address])
    error = refused("http://images.example.com/a.png", allow=LITERALS, resolve=names)
    assert isinstance(error, UnsupportedError)
    assert names.asked == [("images.example.com", 80)]
    roads.assert_unused()


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "::1", "fe80::1", "::ffff:10.0.0.1"])
@pytest.mark.parametrize("first", [True, False])
def test_one_internal_address_among_public_ones_refuses_them_all(
    address: str, first: bool, roads: Roads
) -> None:
    found = [address, PUBLIC] if first else [PUBLIC, "1.1.1.1", "1.0.0.1", "8.8.8.8", address]
    error = refused("http://images.example.com/", allow=ALLOWED, resolve=Names(found))
    assert isinstance(error, UnsupportedError)
    roads.assert_unused()


@pytest.mark.parametrize("answer", [[], OSError("no such host"), UnicodeError("label too long")], ids=repr)
def test_a_name_without_an_address_is_refused(answer: Any, roads: Roads) -> None:
    refused("http://images.example.com/", allow=ALLOWED, resolve=Names(answer))
    roads.assert_unused()


def test_this_machines_own_resolver_is_checked_as_well(roads: Roads) -> None:
    error = refused("http://localhost/", allow=["localhost"])
    assert isinstance(error, UnsupportedError) and "not a public one" in error.message
    roads.assert_unused()


@pytest.mark.parametrize("url", ["http://images.example.com/", "https://1.1.1.1/", "http://localhost/"])
def test_with_nothing_allowed_no_url_is_looked_up_or_connected_to(url: str, roads: Roads) -> None:
    names = Names()
    assert isinstance(refused(url, resolve=names), UnsupportedError)
    assert names.asked == []
    roads.assert_unused()


@pytest.mark.parametrize(
    "address", [PUBLIC, "1.1.1.1", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "2001:4860:4860::8888",
                "64:ff9b::101:101", "::ffff:1.1.1.1"]
)  # fmt: skip
def test_a_public_address_is_public(address: str) -> None:
    assert is_public(address)


# -- redirects and rebinding -------------------------------------------------------------------------------

WAYS_IN = [
    "http://127.0.0.1/", "http://10.0.0.1/", "http://192.168.0.1/", "http://169.254.169.254/latest/meta-data/",
    "http://100.100.100.200/", "http://[::1]/", "http://[fd00:ec2::254]/", "http://[fe80::1]/",
    "http://[::ffff:127.0.0.1]/", "http://[64:ff9b::7f00:1]/", "http://2130706433/", "http://0x7f.1/", "http://127.1/",
    "http://0177.0.0.1/", "http://localhost/", "//169.254.169.254/", "http://images.example.com@127.0.0.1/",
    "http://127.0.0.1\\@images.example.com/", "http://images.example.com\t.evil.test/", "http://inside.example.com/",
    "file:///etc/passwd", "ftp://images.example.com/", "gopher://127.0.0.1/", "javascript:alert(1)",
    "data:image/png;base64,AAAA", "http://[", "http://images.example.com:22/", "http:///", "http:/a.png", "http:a.png",
]  # fmt: skip


@pytest.mark.parametrize("status", [302, 307])
@pytest.mark.parametrize("location", WAYS_IN, ids=named)
def test_a_redirect_to_what_is_not_allowed_is_not_followed(
    location: str, status: int, site: Site, roads: Roads
) -> None:
    roads.through["127.0.0.1", site.port] = site.port
    site.pages["/go"] = onward(location, status)
    allow = [f"127.0.0.1:{site.port}", "images.example.com", "inside.example.com"]
    error = refused(site.url("/go"), allow=allow, resolve=Names(["10.0.0.1"]))
    assert "redirects" in error.message and location not in str(error)
    roads.assert_unused(("127.0.0.1", site.port))


def test_a_name_that_changes_its_address_is_looked_up_once_and_connected_to_where_it_was_public(
    site: Site, roads: Roads
) -> None:
    roads.through[PUBLIC, 80] = site.port
    names = Names([PUBLIC], ["127.0.0.1"])
    assert read("http://images.example.com/a.png", allow=ALLOWED, resolve=names).data == DOT
    assert names.asked == [("images.example.com", 80)]
    roads.assert_unused((PUBLIC, 80))


def test_a_name_that_changes_its_address_between_redirects_is_refused(site: Site, roads: Roads) -> None:
    roads.through[PUBLIC, 80] = site.port
    site.pages["/go"] = onward("/a.png")
    names = Names([PUBLIC], ["127.0.0.1"])
    error = refused("http://images.example.com/go", allow=ALLOWED, resolve=names)
    assert isinstance(error, UnsupportedError)
    assert len(names.asked) == 2
    roads.assert_unused((PUBLIC, 80))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_what_is_allowed_is_followed(status: int, site: Site) -> None:
    site.pages["/go"] = onward("a.png", status)
    assert read(site.url("/go"), allow=[f"127.0.0.1:{site.port}"]).data == DOT


@pytest.mark.parametrize("redirects", [0, 1, 3])
def test_redirects_are_followed_as_often_as_allowed(redirects: int, site: Site) -> None:
    for hop in range(4):
        site.pages[f"/{hop}"] = onward(f"/{hop + 1}")
    site.pages[f"/{redirects}"] = reply()
    settings = {"allow": [f"127.0.0.1:{site.port}"], "redirects": redirects}
    assert read(site.url("/0"), **settings).data == DOT
    site.pages[f"/{redirects}"] = onward(f"/{redirects}")
    assert f"redirects more than {redirects} times" in refused(site.url("/0"), **settings).message
    assert len(site.heads) == 2 * (redirects + 1)


def test_a_redirect_without_a_target_is_refused(site: Site) -> None:
    site.pages["/go"] = reply(b"", 302)
    assert "status 302" in refused(site.url("/go"), allow=[f"127.0.0.1:{site.port}"]).message


# -- what is sent and to whom ------------------------------------------------------------------------------


def test_a_data_url_is_read() -> None:
    assert read(data_url(DOT)) == ImagePart(DOT, "image/png")


def test_a_data_url_with_parameters_and_capitals_is_read() -> None:
    assert read(data_url(DOT, "Image/PNG;charset=utf-8").replace("data", "DATA", 1)).data == DOT


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP"])
def test_the_media_type_is_that_of_the_bytes(kind: str) -> None:
    assert read(data_url(picture(kind), "image/x-any")).media_type == f"image/{kind.lower()}"


@pytest.mark.parametrize("how", [{"progressive": True}, {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}])
def test_a_jpeg_as_cameras_write_it_is_read(how: dict[str, Any]) -> None:
    assert read(data_url(picture("JPEG", (300, 200), **how) + b"and a video")).media_type == "image/jpeg"


def test_an_animation_is_read() -> None:
    frames = [Image.new("RGB", (9, 9), (50 * shade, 0, 0)) for shade in range(5)]
    for kind in ("GIF", "PNG", "WEBP"):
        buffer = io.BytesIO()
        frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], loop=0, comment="five")
        assert read(data_url(buffer.getvalue()), max_pixels=405).media_type == f"image/{kind.lower()}"
        assert "405 pixels" in refused(data_url(buffer.getvalue()), max_pixels=404).message


def test_an_address_that_is_allowed_as_such_is_fetched_from_through_a_redirect(site: Site) -> None:
    site.pages["/go"] = onward("a.png?size=2")
    site.pages["/a.png?size=2"] = reply()
    assert read(site.url("/go"), allow=[f"127.0.0.1:{site.port}"]) == ImagePart(DOT, "image/png")


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://images.example.com/a.png", "images.example.com", 80),
        ("HTTP://IMAGES.Example.COM./a.png", "images.example.com", 80),
        ("http://images.example.com:80/a.png", "images.example.com", 80),
        ("http://images.example.com:8080/a.png", "images.example.com:8080", 8080),
        ("http://a.b.cdn.example.com/a.png#part", "a.b.cdn.example.com", 80),
        ("http://BÜCHER.example/a.png", "xn--bcher-kva.example", 80),
        ("http://xn--bcher-kva.example/a.png", "xn--bcher-kva.example", 80),
        ("http://images。example．com/a.png", "images.example.com", 80),
    ],
)
def test_an_allowed_host_is_asked_by_its_name_at_its_public_address(
    url: str, host: str, port: int, site: Site, roads: Roads
) -> None:
    roads.through[PUBLIC, port] = site.port
    names = Names()
    assert read(url, allow=ALLOWED, resolve=names).data == DOT
    assert names.asked == [(host.partition(":")[0], port)]
    assert f"\r\nhost: {host}\r\n" in site.heads[0].lower()
    roads.assert_unused((PUBLIC, port))


def test_an_address_that_does_not_answer_is_followed_by_the_next(site: Site, roads: Roads) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        roads.through["1.1.1.1", 80] = closed.getsockname()[1]
    roads.through[PUBLIC, 80] = site.port
    names = Names(["1.1.1.1", PUBLIC])
    assert read("http://images.example.com/a.png", allow=ALLOWED, resolve=names).data == DOT
    roads.assert_unused(("1.1.1.1", 80), (PUBLIC, 80))


def test_no_proxy_of_the_environment_is_used(
    site: Site, roads: Roads, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{roads.trap.getsockname()[1]}")
    roads.through[PUBLIC, 80] = site.port
    assert read("http://images.example.com/a.png", allow=ALLOWED, resolve=Names()).data == DOT
    roads.assert_unused((PUBLIC, 80))


def test_no_cookie_is_kept_and_each_image_has_a_connection_of_its_own(site: Site, roads: Roads) -> None:
    site.pages["/a.png"] = reply(Set_Cookie="who=you", Connection="keep-alive")
    roads.through[PUBLIC, 80] = site.port

    async def main() -> None:
        intake = ImageIntake(allow=ALLOWED, resolve=Names())
        for _ in range(2):
            await intake.read("http://images.example.com/a.png")
        await asyncio.gather(*(intake.read("http://a.cdn.example.com/a.png") for _ in range(5)))
        await intake.close()

    asyncio.run(main())
    assert len(roads.made) == 7
    assert not [head for head in site.heads if "cookie" in head.lower() or "authorization" in head.lower()]


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A certificate of images.example.com."""
    return certificate(tmp_path_factory.mktemp("papers"), "DNS:images.example.com")


def test_a_certificate_is_checked_for_the_name_not_the_address(
    papers: tuple[ssl.SSLContext, Path], roads: Roads
) -> None:
    context, public = papers
    asked: list[str | None] = []
    context.sni_callback = lambda _, name, __: asked.append(name)
    with running(context) as site:
        site.pages["/a.png"] = reply()
        roads.through[PUBLIC, 443] = site.port
        settings: dict[str, Any] = {
            "allow": ("images.example.com", "other.example.com"),
            "resolve": Names(),
            "tls": ssl.create_default_context(cafile=str(public)),
        }
        assert read("https://images.example.com/a.png", **settings).data == DOT
        assert "does not answer" in refused("https://other.example.com/a.png", **settings).message
        del settings["tls"]
        assert "does not answer" in refused("https://images.example.com/a.png", **settings).message
    assert asked == ["images.example.com", "other.example.com", "images.example.com"]
    assert len(site.heads) == 1


def test_closing_ends_what_is_being_fetched(site: Site) -> None:
    site.pages["/a.png"] = drip(reply()[:-1], 0.0)

    async def main() -> None:
        intake = ImageIntake(allow=[f"127.0.0.1:{site.port}"], timeout=60)
        reading = asyncio.create_task(intake.read(site.url()))
        while not site.heads:
            await asyncio.sleep(0.01)
        await intake.close()
        await reading

    with pytest.raises(InvalidArgumentError, match="cannot be fetched"):
        asyncio.run(main())


# -- bodies ------------------------------------------------------------------------------------------------


def drip(first: bytes, pause: float = 0.02, forever: bytes = b"\0") -> Callable[[Site], Iterator[bytes]]:
    """A response that goes on, a little at a time; without a pause it waits in silence."""

    def pieces(site: Site) -> Iterator[bytes]:
        yield first
        while not site.stop.wait(pause or 60):
            yield forever

    return pieces


def endless(site: Site) -> Iterator[bytes]:
    yield reply(b"", Content_Length="", Transfer_Encoding="chunked")
    while not site.stop.is_set():
        yield b"10000\r\n" + bytes(65536) + b"\r\n"


def test_a_body_that_says_it_is_too_large_is_refused_before_it_comes(site: Site) -> None:
    site.pages["/a.png"] = drip(reply(b"", Content_Length="1001"), 0)
    start = time.monotonic()
    error = refused(site.url(), allow=[f"127.0.0.1:{site.port}"], max_bytes=1000, timeout=60)
    assert "more than 1000 bytes" in error.message
    assert time.monotonic() - start < 30


def test_a_body_that_does_not_say_how_large_it_is_is_cut_off(site: Site) -> None:
    site.pages["/a.png"] = endless
    error = refused(site.url(), allow=[f"127.0.0.1:{site.port}"], max_bytes=200_000, timeout=60)
    assert "more than 200000 bytes" in error.message


def test_a_body_that_ends_with_its_connection_is_read(site: Site) -> None:
    site.pages["/a.png"] = reply(Content_Length="")
    assert read(site.url(), allow=[f"127.0.0.1:{site.port}"], max_bytes=len(DOT)).data == DOT
    assert (
        "more than" in refused(site.url(), allow=[f"127.0.0.1:{site.port}"], max_bytes=len(DOT) - 1).message
    )


def test_a_body_that_drips_is_given_up_on(site: Site) -> None:
    site.pages["/a.png"] = drip(reply(b"", Content_Length="1000000"))
    error = refused(site.url(), allow=[f"127.0.0.1:{site.port}"], timeout=0.2)
    assert "within 0.2 s" in error.message


def test_a_head_that_drips_is_given_up_on(site: Site) -> None:
    site.pages["/a.png"] = drip(b"HTTP/1.1 200 X\r\n", forever=b"X-More: 1\r\n")
    assert "within 0.2 s" in refused(site.url(), allow=[f"127.0.0.1:{site.port}"], timeout=0.2).message


def test_redirects_that_are_slow_share_one_limit(site: Site) -> None:
    def slowly(site: Site) -> Iterator[bytes]:
        site.stop.wait(0.15)
        yield onward("/a.png")

    site.pages["/a.png"] = slowly
    error = refused(site.url(), allow=[f"127.0.0.1:{site.port}"], timeout=0.4, redirects=100)
    assert "within 0.4 s" in error.message


def test_a_host_that_accepts_and_says_nothing_is_given_up_on(roads: Roads) -> None:
    error = refused("http://images.example.com/", allow=ALLOWED, resolve=Names(), timeout=0.1)
    assert "within 0.1 s" in error.message


def test_a_resolver_that_hangs_is_given_up_on(roads: Roads) -> None:
    async def hang(host: str, port: int) -> list[str]:
        await asyncio.sleep(60)
        return [PUBLIC]

    error = refused("http://images.example.com/", allow=ALLOWED, resolve=hang, timeout=0.1)
    assert "within 0.1 s" in error.message
    roads.assert_unused()


def test_a_host_that_refuses_connections_is_an_invalid_argument() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    error = refused(f"http://127.0.0.1:{port}/a.png", allow=[f"127.0.0.1:{port}"])
    assert type(error) is InvalidArgumentError and "does not answer" in error.message


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity, gzip", "GZIP"])
def test_a_content_encoding_is_refused_without_decoding_it(encoding: str, site: Site) -> None:
    site.pages["/a.png"] = reply(b"\x1f\x8b", Content_Encoding=encoding)
    assert "content encoding" in refused(site.url(), allow=[f"127.0.0.1:{site.port}"]).message
    assert "accept-encoding: identity\r\n" in site.heads[0].lower()


@pytest.mark.parametrize("kind", ["text/html", "", "application/octet-stream", "image/svg+xml", "imagex/png"])
def test_a_content_type_that_is_no_image_is_refused(kind: str, site: Site) -> None:
    site.pages["/a.png"] = reply(Content_Type=kind)
    assert NO_PICTURE in refused(site.url(), allow=[f"127.0.0.1:{site.port}"]).message


@pytest.mark.parametrize("status", [201, 204, 206, 304, 401, 404, 500])
def test_a_status_other_than_200_is_refused(status: int, site: Site) -> None:
    site.pages["/a.png"] = reply(b"" if status in (204, 304) else DOT, status)
    error = refused(site.url(), allow=[f"127.0.0.1:{site.port}"])
    assert type(error) is InvalidArgumentError and f"status {status}" in error.message


@pytest.mark.parametrize(
    "said",
    [b"", b"<html>", b"\0" * 500, b"HTTP/1.1 200 X\r\nContent-Length: -5\r\n\r\n", b"SSH-2.0-OpenSSH_9.6\r\n",
     reply(Content_Length="5000"), b"HTTP/1.1 200 X\r\n" + b"A: b\r\n" * 50_000, reply(Content_Length="5, 6")],
    ids=["nothing", "no head", "zeros", "a negative length", "SSH", "half a body", "a huge head", "two lengths"],
)  # fmt: skip
def test_a_host_that_does_not_speak_http_is_an_invalid_argument(said: bytes, site: Site) -> None:
    site.pages["/a.png"] = said
    error = refused(site.url(), allow=[f"127.0.0.1:{site.port}"])
    assert type(error) is InvalidArgumentError and "cannot be fetched" in error.message


def test_a_page_that_says_it_is_an_image_is_refused(site: Site) -> None:
    site.pages["/a.png"] = reply(b"<html><script>alert(1)</script></html>")
    error = refused(site.url(), allow=[f"127.0.0.1:{site.port}"])
    assert "no format that is read" in error.message and "script" not in str(error)


# -- bombs and broken images -------------------------------------------------------------------------------


def test_a_data_url_over_the_limit_is_refused_before_it_is_decoded() -> None:
    error = refused("data:image/png;base64," + "!" * 1340, max_bytes=1000)
    assert "more than 1000 bytes" in error.message


def test_a_data_url_at_the_limit_is_read() -> None:
    assert read(data_url(DOT), max_bytes=len(DOT)).data == DOT
    assert "more than" in refused(data_url(DOT), max_bytes=len(DOT) - 1).message


@pytest.mark.parametrize(
    "data",
    [
        png(50_000, 50_000),
        png(10_000, 10_000),  # Pillow warns of this one and the next, and fails on those that are larger
        png(10_000, 9_000),
        png(1, 2**31 - 1),
        png(100, 100, chunk(b"acTL", struct.pack(">II", 5000, 0))),
        gif(65_535, 65_535),
        gif(10_000, 10_000),
        gif(1, 1, frame=(10_000, 10_000)),
        gif(100, 100, frames=5000),
        jpeg(65_000, 65_000),
        jpeg(10_000, 10_000),
        webp(16_384, 16_384),
        webp(10_000, 10_000),
        bmp(50_000, 50_000),
        bmp(10_000, 10_000),
        bmp(10_000, -10_000),
    ],
    ids=lambda data: (
        f"{data[:4].strip(bytes(range(32)) + bytes(range(128, 256))).decode()}-{zlib.crc32(data):x}"
    ),
)
def test_a_decompression_bomb_is_refused_by_its_header_and_without_a_warning(data: bytes) -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        error = refused(data_url(data))
    assert "pixels" in error.message or ("broken" in error.message and data[:4] == b"RIFF")
    assert not warned


@pytest.mark.parametrize(
    "data",
    [
        png(4, 4, *[chunk(b"prVt")] * 30_000),
        b"\xff\xd8" + b"\xff\xe1\0\2" * 30_000 + picture("JPEG")[2:],
        b"\xff\xd8" + b"\xff" * 30_000 + picture("JPEG")[2:],
        b"\xff\xd8\xff\xe1\0\2" + bytes(30_000) + picture("JPEG")[2:],
        gif(1, 1, frames=30_000),
        gif(9, 9, frame=(0, 9)),
        gif(1, 1, before=b"!\xfe\0" * 30_000),
        bmp(4, 4, compression=1),
        # the same bytes would be a small frame here and a large one for Pillow
        gif(1, 1, before=b"!\xf9\0" + b"\x0d" + bytes(13) + b"\0"),
        gif(1, 1, before=b"!\xff\x0bNETSCAPE2.0\0" + b"\x0d" + bytes(13) + b"\0"),
    ],
    ids=["chunks", "segments", "padding", "junk", "frames", "an empty frame", "comments", "run lengths", "an empty extension", "loops"],
)  # fmt: skip
def test_an_image_that_would_keep_pillow_busy_or_misread_is_refused(data: bytes) -> None:
    assert "is broken" in refused(data_url(data)).message


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_an_image_that_is_cut_off_is_refused(kind: str, part: float) -> None:
    data = picture(kind, (60, 50))
    assert "cut off" in refused(data_url(data[: int(len(data) * part)])).message


@pytest.mark.parametrize("at", [14, 20, 30, 45, 60, -6])
def test_a_png_with_a_wrong_byte_is_refused(at: int) -> None:
    data = bytearray(DOT)
    data[at] ^= 0x55
    assert "is broken" in refused(data_url(bytes(data))).message


@pytest.mark.parametrize(
    "data",
    [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM", b"RIFF\0\0\0\0WEBP", b"GIF89a" + bytes(50),
     b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7", b"%!PS", b"P6 1 1 255 abc", b"\0" * 100,
     picture("TIFF"), picture("ICO"), picture("PPM"), picture("TGA"), picture("PCX"), picture("JPEG2000")],
    ids=["nothing", "png", "jpeg", "gif", "bmp", "webp", "zeros in a gif", "svg", "pdf", "postscript", "ppm", "zeros",
         "tiff", "ico", "a real ppm", "tga", "pcx", "jpeg 2000"],
)  # fmt: skip
def test_what_is_no_image_or_one_of_another_format_is_refused(data: bytes) -> None:
    message = refused(data_url(data)).message
    assert "no format that is read" in message or "is broken" in message


# -- messages and settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://images.example.com/a.png?token=SECRET",
        "https://images.example.com/a.png#SECRET",
        "https://me:SECRET@images.example.com/a.png",
        "https://me:SEC/SECRET@images.example.com/a.png",
        "https://images.example.com/" + "a" * 100 + "SECRET",
        "javascript:SECRET",
        " data:image/png;base64,SECRETAA",
        "data:image/png;base64,SECRET!",
        "data:SECRET,AAAA",
        "data:image/png;base64," + base64.b64encode(b"SECRET").decode(),
    ],
)
def test_a_refusal_does_not_repeat_what_could_be_secret(url: str) -> None:
    message = str(refused(url))
    assert "SECRET" not in message and "U0VDUkVU" not in message
    assert len(message) < 400 and message.isprintable() == ("\n" not in message)


def test_a_refusal_does_not_say_where_a_name_leads() -> None:
    message = str(refused("http://images.example.com/", allow=ALLOWED, resolve=Names(["10.1.2.3"])))
    assert "10.1.2.3" not in message and "images.example.com" in message


@pytest.mark.parametrize(
    "entry",
    ["", "*", "*.", "**.example.com", "a.*.example.com", "http://example.com", "example.com/", "example.com:", "a b",
     "example.com:0", "example.com:99999", "example.com:*", "me@example.com", "2130706433", "127.1", "0x7f.1", "::1",
     "[::1", "[0:0::1]", "[::ffff:127.0.0.1]", "[fe80::1%eth0]", "10.0.0.0/8", "*.127.0.0.1", "*.[::1]", "-a.com",
     "a..com", ".example.com", 5, None],
)  # fmt: skip
def test_a_malformed_entry_is_refused_when_the_intake_is_made(entry: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="an allowed image host is") as caught:
        ImageIntake(allow=["images.example.com", entry])
    assert "images.example.com" in caught.value.hint


@pytest.mark.parametrize(
    "settings",
    [{"allow": "images.example.com"}, {"max_bytes": 0}, {"max_pixels": 0}, {"max_pixels": 90_000_000},
     {"timeout": 0}, {"timeout": float("nan")}, {"redirects": -1}],
    ids=str,
)  # fmt: skip
def test_a_setting_that_cannot_be_is_refused_by_its_name(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=f"{next(iter(settings))} is "):
        ImageIntake(**settings)
