"""Images of a prompt, decoded; the same for every engine that sees."""

from __future__ import annotations

import io
from typing import Any

from modelyard.errors import EngineNotInstalledError, InvalidArgumentError
from modelyard.types import ImagePart

_MAX_PIXELS = 178_956_970  # Pillow's own limit against decompression bombs


def opened(part: ImagePart) -> Any:
    """The image, decoded to RGB.

    Raises:
        InvalidArgumentError: the bytes are no image that Pillow reads, or it is too large.
        EngineNotInstalledError: Pillow is not installed.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise EngineNotInstalledError(
            "images are read by Pillow, which is not installed", hint="pip install pillow"
        ) from error
    try:
        image = Image.open(io.BytesIO(part.data))
        if image.width * image.height > _MAX_PIXELS:
            raise InvalidArgumentError(
                f"an image has {image.width} x {image.height} pixels", hint="Make it smaller."
            )
        return image.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise InvalidArgumentError(
            f"an image of {len(part.data)} bytes ({part.media_type}) cannot be read",
            hint="PNG, JPEG, WebP, GIF and BMP are read.",
        ) from error
