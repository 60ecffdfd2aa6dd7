"""ImageIntake: the images that requests name, from `data:` URLs and from allowed hosts.

What a client names is hostile until shown otherwise: a URL can lead inside the network of this machine (SSRF),
a body or an image can be made to fill the memory.
"""

from __future__ import annotations

import asyncio
import binascii
import contextlib
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urljoin

import httpx2

from modelyard.errors import InvalidArgumentError, UnsupportedError
from modelyard.serving.images.addresses import Place, is_public, is_unsafe, read_allowed, read_url, shown
from modelyard.serving.images.pictures import MOST_PIXELS, check_picture
from modelyard.types import ImagePart

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a host's name and port to its addresses; an OSError where there are none."""

_TRIED = 3  # addresses of a host
_CONNECTIONS = 32
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_DATA_URL = "the image in a data: URL"
_SEND_DATA = "Send its bytes as a data: URL."


async def system_resolver(host: str, port: int) -> list[str]:
    """The addresses that this machine knows of a host."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class ImageIntake:
    """Images of requests: from `data:` URLs, and from allowed hosts alone.

    A name is allowed to lead to public addresses only. An IP address that is an entry itself is another
    matter: who lists 127.0.0.1 means it, and it is fetched from although it is not public. No proxy of the
    environment is used, no cookie kept, nothing sent that says who asks.

    Args:
        allow: hosts that are fetched from: `images.example.com`, `*.example.com` for the names below it,
            an IP address; each with `:port` where it is not the scheme's own.
        max_bytes: of an image, as it is sent.
        max_pixels: of an image, all its frames together.
        timeout: seconds for all of a fetch.
        redirects: that are followed, each checked as the first URL was.
        resolve: finds the addresses of a host; this machine's own way unless told otherwise.
        tls: which certificates are trusted; this machine's usual ones unless told otherwise.

    Raises:
        InvalidArgumentError: an entry of `allow` is malformed, or a limit cannot be.
    """

    def __init__(
        self,
        *,
        allow: Sequence[str] = (),
        max_bytes: int = 20 * 2**20,
        max_pixels: int = 40_000_000,
        timeout: float = 10.0,
        redirects: int = 3,
        resolve: Resolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        if isinstance(allow, str):
            raise InvalidArgumentError(f"allow is {allow!r:.100}", hint="It is a list of hosts.")
        limits = {"max_bytes": max_bytes, "max_pixels": max_pixels, "timeout": timeout}
        for name, limit in limits.items():
            if not limit > 0:
                raise InvalidArgumentError(f"{name} is {limit!r}", hint="It has to be above 0.")
        if max_pixels > MOST_PIXELS:
            raise InvalidArgumentError(f"max_pixels is {max_pixels}", hint=f"At most {MOST_PIXELS} are read.")
        if redirects < 0:
            raise InvalidArgumentError(f"redirects is {redirects}", hint="It has to be 0 or more.")
        self._allow = tuple(read_allowed(one) for one in allow)
        self._max_bytes = max_bytes
        self._max_pixels = max_pixels
        self._timeout = timeout
        self._redirects = redirects
        self._resolve = resolve or system_resolver
        self._tls = tls
        self._transport: httpx2.AsyncHTTPTransport | None = None

    async def read(self, url: str) -> ImagePart:
        """The image that a URL holds or names, with the media type that its bytes have.

        Raises:
            UnsupportedError: the scheme or the host is not allowed.
            InvalidArgumentError: the URL is malformed, its host does not give the image, or it is broken or
                too large.
            EngineNotInstalledError: Pillow is not installed.
        """
        if url[:5].lower() == "data:":
            return await asyncio.to_thread(self._from_data, url)
        data = await self._fetch(url)
        return await asyncio.to_thread(self._checked, data, f"the image {shown(url)}")

    async def close(self) -> None:
        """Ends the connections; what is being fetched fails."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()

    def _from_data(self, url: str) -> ImagePart:
        head, _, body = url.partition(",")
        kind, *options = head[5:].split(";")
        if not options or options[-1].strip().lower() != "base64":
            raise InvalidArgumentError(
                f"{_DATA_URL} is not in base64", hint="Write data:image/png;base64,… and the encoded bytes."
            )
        _check_kind(kind, _DATA_URL)
        self._check_size(len(body) * 3 // 4 - body[-2:].count("="), _DATA_URL)
        try:
            data = binascii.a2b_base64(body, strict_mode=True)
        except ValueError as error:
            raise InvalidArgumentError(
                f"{_DATA_URL} is broken base64: {error}", hint="Encode it again, without line ends."
            ) from None
        return self._checked(data, _DATA_URL)

    def _checked(self, data: bytes, title: str) -> ImagePart:
        return ImagePart(data, check_picture(data, self._max_pixels, title))

    def _check_size(self, size: int, title: str) -> None:
        if size > self._max_bytes:
            raise InvalidArgumentError(
                f"{title} has more than {self._max_bytes} bytes", hint="Make it smaller, or compress it more."
            )

    async def _fetch(self, given: str) -> bytes:
        title = f"the image {shown(given)}"
        url = given
        try:
            async with asyncio.timeout(self._timeout):
                for hop in range(self._redirects + 1):
                    try:
                        place, addresses = await self._vetted(url, title)
                    except InvalidArgumentError as error:
                        if not hop:
                            raise
                        # Where it leads is the host's to tell, not ours.
                        raise type(error)(
                            f"{title} redirects to a URL that is refused", hint=_SEND_DATA
                        ) from error
                    async with contextlib.aclosing(await self._ask(place, addresses)) as response:
                        if response.status_code not in _REDIRECTS or "location" not in response.headers:
                            return await self._body(response, title)
                        url = _onward(place, response.headers["location"], title)
        except TimeoutError:
            raise InvalidArgumentError(
                f"{title} was not here within {self._timeout:g} s", hint=_SEND_DATA
            ) from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise InvalidArgumentError(
                f"{title} cannot be fetched: its host does not answer, or not as it should", hint=_SEND_DATA
            ) from error
        raise InvalidArgumentError(
            f"{title} redirects more than {self._redirects} times", hint="Give the URL of the image itself."
        )

    async def _vetted(self, url: str, title: str) -> tuple[Place, Sequence[str]]:
        """Where a URL leads, and the addresses to connect to; the name is not looked up again after this."""
        place = read_url(url)
        if not any(one.covers(place) for one in self._allow):
            raise UnsupportedError(
                f"{title} is on a host that this server does not fetch from",
                hint=f"{_SEND_DATA} Who runs the server can allow hosts (image_hosts).",
            )
        if place.literal:
            return place, [place.host]
        try:
            found = await self._resolve(place.host, place.port)
        except (OSError, UnicodeError) as error:
            raise InvalidArgumentError(
                f"{title} is on a host that is not known", hint="Check its name."
            ) from error
        if not found or not all(is_public(one) for one in found):
            raise UnsupportedError(f"{title} is on a host that is not a public one", hint=_SEND_DATA)
        return place, list(dict.fromkeys(found))[:_TRIED]

    async def _ask(self, place: Place, addresses: Sequence[str]) -> httpx2.Response:
        """The response of the first address that can be connected to; its body is still to come."""
        if self._transport is None:
            # The transport alone: a client would add cookies, credentials of ~/.netrc, and redirects of its own.
            self._transport = httpx2.AsyncHTTPTransport(
                verify=self._tls or True,
                trust_env=False,
                limits=httpx2.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=0),
            )
        headers = {
            "Host": place.authority,
            "Accept": "image/*",
            "Accept-Encoding": "identity",
            "User-Agent": "modelyard",
            # A connection that is kept could serve another name at its address, which no certificate was checked for.
            "Connection": "close",
        }
        extensions: dict[str, Any] = {"timeout": {"connect": self._timeout / len(addresses)}}
        if not place.literal:
            extensions["sni_hostname"] = place.host  # which the certificate is checked for, too
        for left, address in zip(range(len(addresses) - 1, -1, -1), addresses, strict=True):
            request = httpx2.Request("GET", place.at(address), headers=headers, extensions=extensions)
            try:
                return await self._transport.handle_async_request(request)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                if not left:
                    raise
        raise AssertionError("the last address returns or raises")

    async def _body(self, response: httpx2.Response, title: str) -> bytes:
        if response.status_code != 200:
            raise InvalidArgumentError(
                f"{title} cannot be fetched: its host answers with status {response.status_code}",
                hint="Check the URL.",
            )
        if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise InvalidArgumentError(
                f"{title} comes with a content encoding, which was not asked for", hint=_SEND_DATA
            )
        _check_kind(response.headers.get("content-type", ""), title)
        length = response.headers.get("content-length", "")
        self._check_size(int(length) if length.isdecimal() else 0, title)
        data = bytearray()
        async with contextlib.aclosing(response.aiter_raw()) as pieces:
            async for piece in pieces:
                data += piece
                self._check_size(len(data), title)
        return bytes(data)


def _onward(place: Place, location: str, title: str) -> str:
    """The URL that a redirect names; only what has no scheme is joined, which is lax, and drops characters."""
    if re.match(r"[^/?#]*:", location):
        return location
    with contextlib.suppress(ValueError):
        if not is_unsafe(location):
            return urljoin(place.at(place.host), location)
    raise InvalidArgumentError(f"{title} redirects to what is no URL", hint=_SEND_DATA)


def _check_kind(kind: str, title: str) -> None:
    named = kind.partition(";")[0].strip().lower()
    if not named.startswith("image/") or named.startswith("image/svg"):
        what = repr(named) if re.fullmatch(r"[a-z]{1,20}/[a-z0-9.+-]{1,40}", named) else "no media type"
        raise InvalidArgumentError(
            f"{title} is {what}, not a picture of pixels", hint="PNG, JPEG, WebP, GIF and BMP are read."
        )
