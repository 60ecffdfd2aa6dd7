"""Pictures that strangers send: are they whole, and how large would they be?

Seen from outside, without decoding a pixel. Pillow is kept from what it would take long over, or much memory for.
"""

from __future__ import annotations

import io
import re
import struct
from importlib import import_module
from typing import Any

from modelyard.errors import EngineNotInstalledError, InvalidArgumentError

MOST_PIXELS = 89_478_485
"""Above this Pillow itself warns of decompression bombs, here and where the image is decoded."""

_MOST_PARTS = 20_000  # chunks of a PNG, frames and extensions of a GIF: Pillow takes a while over each
_MOST_SEGMENTS = 1_000  # of a JPEG: Pillow copies all of its EXIF anew for each
_JPEG_MARKS = frozenset({*range(0xC0, 0xD0), *range(0xDB, 0xF0), 0xFE} - {0xC8})
# What Pillow's own classes are called. They are made directly, since `Image.open` warns of large images, and a
# warning cannot be held back in one thread alone.
_FORMATS = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png", "PngImagePlugin", "PngImageFile"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg", "JpegImagePlugin", "JpegImageFile"),
    (re.compile(rb"GIF8[79]a"), "image/gif", "GifImagePlugin", "GifImageFile"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp", "WebPImagePlugin", "WebPImageFile"),
    (re.compile(rb"BM"), "image/bmp", "BmpImagePlugin", "BmpImageFile"),
)


def check_picture(data: bytes, max_pixels: int, title: str) -> str:
    """The media type of an image that is whole and not too large, found without decoding its pixels.

    Raises:
        InvalidArgumentError: it is another format, broken, or too large.
        EngineNotInstalledError: Pillow is not installed.
    """
    known = next((one[1:] for one in _FORMATS if one[0].match(data)), None)
    if known is None:
        raise InvalidArgumentError(
            f"{title} is in no format that is read", hint="PNG, JPEG, WebP, GIF and BMP are read."
        )
    kind, module, name = known
    try:
        plugin = getattr(import_module(f"PIL.{module}"), name)
    except ImportError as error:
        raise EngineNotInstalledError(
            "images are read by Pillow, which is not installed", hint="pip install 'modelyard[serve]'"
        ) from error
    try:
        pixels = _measure(kind, plugin, data, max_pixels)
    except Exception as error:  # Pillow's readers fail in any way on what was made to break them
        raise InvalidArgumentError(
            f"{title} is broken or cut off: it is no whole {kind}", hint="Write it again."
        ) from error
    if pixels > max_pixels:
        raise InvalidArgumentError(
            f"{title} has {pixels} pixels, its frames together, and {max_pixels} are read",
            hint="Make it smaller.",
        )
    return kind


def _measure(kind: str, plugin: Any, data: bytes, most: int) -> int:
    """The pixels of all frames, after the image was found to be whole where that can be seen from outside."""
    frames = 1
    if kind == "image/png":
        _check_chunks(data)
    elif kind == "image/jpeg":
        _check_segments(data)
    elif kind == "image/webp":
        _check_end(8 + int.from_bytes(data[4:8], "little"), data)
    elif kind == "image/gif":
        width, height, frames = _gif(data)
        if width * height * frames > most:
            return width * height * frames  # and Pillow, which would warn of it, never sees it
    image = plugin(io.BytesIO(data))
    if kind != "image/gif":
        frames = getattr(image, "n_frames", 1)
    pixels: int = image.width * image.height * frames
    if pixels <= most:
        if kind == "image/bmp":
            codec, _, start, (_, stride, *_) = image.tile[0]
            if codec != "raw":
                raise ValueError("Pillow decodes this compression in Python, a byte at a time")
            _check_end(start + stride * image.height, data)
        image.verify()
    return pixels


def _check_end(end: int, data: bytes) -> None:
    if end > len(data):
        raise ValueError("cut off")


def _check_chunks(png: bytes) -> None:
    at = 8
    for _ in range(_MOST_PARTS):
        length, kind = struct.unpack_from(">I4s", png, at)
        at += 12 + length
        if kind == b"IEND":
            _check_end(at, png)
            return
    raise ValueError("too many chunks")


def _check_segments(jpeg: bytes) -> None:
    at = 2
    for _ in range(_MOST_SEGMENTS):
        start, mark, length = struct.unpack_from(">BBH", jpeg, at)
        if start == 0xFF and mark == 0xDA:  # the pixels, until the end of the image
            if jpeg.find(b"\xff\xd9", at) < 0:
                raise ValueError("cut off")
            return
        if start == 0xFF and mark == 0xFF:  # padding
            at += 1
        elif start == 0xFF and mark in _JPEG_MARKS and length >= 2:
            at += 2 + length
        else:
            raise ValueError("no segment")
    raise ValueError("too many segments")


def _gif(gif: bytes) -> tuple[int, int, int]:
    """Width and height of what the frames cover, and their number."""
    width, height, flags = struct.unpack_from("<HHB", gif, 6)
    at = 13 + _palette(flags)
    frames = 0
    for _ in range(_MOST_PARTS):
        kind = gif[at]
        if kind == 0x3B:
            return width, height, frames
        if kind == 0x21:
            # Pillow reads on behind such an end, and would then see frames that are not seen here.
            size = gif[at + 2]
            if gif[at + 1] != 0xFE and (not size or (gif[at + 1] == 0xFF and not gif[at + 3 + size])):
                raise ValueError("an empty extension")
            at = _behind(gif, at + 2)
        elif kind == 0x2C:
            left, top, wide, high, flags = struct.unpack_from("<HHHHB", gif, at + 1)
            if not wide * high:
                raise ValueError("an empty frame")
            width, height, frames = max(width, left + wide), max(height, top + high), frames + 1
            at = _behind(gif, at + 11 + _palette(flags))
        else:
            raise ValueError("no block")
    raise ValueError("too many frames")


def _palette(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _behind(gif: bytes, at: int) -> int:
    """Where a chain of blocks ends."""
    while size := gif[at]:
        at += 1 + size
    return at + 1
