"""Sight: images for a vision-language model, in the sizes that it is given and the tokens that they take.

OpenVINO GenAI scales images itself, in another way than the processors that the models were trained with, and
does not tell how many tokens one takes. So they are scaled here, and its own limits are set out of the way.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelyard.catalog.plan import OPENVINO_VISION
from modelyard.engines.images import opened
from modelyard.engines.openvino.facts import read_json
from modelyard.errors import InvalidArgumentError, UnsupportedError
from modelyard.types import ImagePart

LANGUAGE = "openvino_language_model.xml"
_PROCESSOR = "preprocessor_config.json"
_PLACE = "<|vision_start|><|image_pad|><|vision_end|>"
_MARKS = ("<|vision_start|>", "<|image_pad|>", "<|vision_end|>")
_OTHERS = ("<|video_pad|>", "<ov_genai_image_", "<ov_genai_video_")
_ANY = 1 << 40  # pixels: more than an image can have
_NARROWEST = 200  # sides in a ratio above this are refused, by the models' own processors too


@dataclass(slots=True, frozen=True)
class Looked:
    """A prompt for a model that sees: its text with a mark where each image stands, and the images."""

    text: str
    images: Sequence[np.ndarray]


@dataclass(slots=True, frozen=True)
class Sight:
    """How a model is given images.

    Attributes:
        step: pixels of a side that make one token.
        min_pixels: smaller images are enlarged.
        max_pixels: larger ones are made smaller.
    """

    step: int
    min_pixels: int
    max_pixels: int

    @classmethod
    def read(cls, facts: Mapping[str, Any], least: int | None, most: int | None) -> Sight:
        """The model's own, with the limits that the options ask for.

        Raises:
            InvalidArgumentError: the limits contradict each other.
        """
        least, most = least or facts["min_pixels"], most or facts["max_pixels"]
        if least > most:
            raise InvalidArgumentError(f"min_pixels ({least}) is above max_pixels ({most})", hint="Lower it.")
        return cls(facts["step"], least, most)

    def look(self, text: str, parts: Sequence[ImagePart]) -> tuple[Looked, int]:
        """The prompt, and how many tokens its images take beyond one each.

        Raises:
            UnsupportedError: the chat template does not say where an image stands.
            InvalidArgumentError: the text holds marks of its own, or an image cannot be used.
        """
        count = len(parts)
        if count and _PLACE not in text:
            raise UnsupportedError(
                f"the chat template does not write {_PLACE} where an image stands",
                hint="Leave 'chat_template' out, or write the mark there.",
            )
        if any(text.count(one) != count for one in (_PLACE, *_MARKS)) or any(one in text for one in _OTHERS):
            raise InvalidArgumentError(
                f"the prompt's text holds a mark that stands for an image ({', '.join((*_MARKS, *_OTHERS))})",
                hint="Take it out: images are given beside the text.",
            )
        images = [self._fitted(opened(part)) for part in parts]
        tokens = sum(image.shape[1] * image.shape[2] // self.step**2 for image in images)
        return Looked(text, images), tokens - count

    def _fitted(self, image: Any) -> np.ndarray:
        width, height = image.size
        if max(width, height) > _NARROWEST * min(width, height):
            raise InvalidArgumentError(
                f"an image has {width} x {height} pixels; one side is over {_NARROWEST} times the other",
                hint="Cut it into pieces.",
            )
        return np.asarray(image.resize(self.size(width, height), resample=3))[None]  # 3: bicubic

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Whole steps near an image's size, within the limits.

        >>> Sight(28, 3136, 12544).size(56, 84), Sight(28, 3136, 12544).size(1000, 500)
        ((56, 84), (140, 56))
        """
        step = self.step
        sides = [max(step, round(one / step) * step) for one in (width, height)]
        if sides[0] * sides[1] > self.max_pixels:
            factor = math.sqrt(width * height / self.max_pixels)
            sides = [max(step, math.floor(one / factor / step) * step) for one in (width, height)]
        elif sides[0] * sides[1] < self.min_pixels:
            factor = math.sqrt(self.min_pixels / (width * height))
            sides = [math.ceil(one * factor / step) * step for one in (width, height)]
        return sides[0], sides[1]


def sight_of(folder: Path) -> dict[str, int]:
    """What is kept of a model's image processor; in the folder its limits are taken away.

    Raises:
        UnsupportedError: an architecture of which it is not known how many tokens an image takes.
    """
    kind = str(read_json(folder / "config.json").get("model_type"))
    if kind not in OPENVINO_VISION:
        raise cannot_see(kind)
    known = read_json(folder / _PROCESSOR)
    size = known.get("size") or {}
    patch, merge = int(known.get("patch_size", 14)), int(known.get("merge_size", 2))
    found = {
        "step": patch * merge,
        "min_pixels": int(known.get("min_pixels") or size.get("shortest_edge") or 56 * 56),
        "max_pixels": int(known.get("max_pixels") or size.get("longest_edge") or 28 * 28 * 1280),
    }
    free = {"min_pixels": 1, "max_pixels": _ANY, "size": {"shortest_edge": 1, "longest_edge": _ANY}}
    (folder / _PROCESSOR).unlink(missing_ok=True)  # it may be a link to a file of the user's
    (folder / _PROCESSOR).write_text(json.dumps({**known, **free}, indent=2), "utf-8")
    return found


def cannot_see(kind: str) -> UnsupportedError:
    """The error for a vision-language architecture that is not run here."""
    return UnsupportedError(
        f"engine openvino does not run vision models of architecture '{kind}'",
        hint=f"It runs {', '.join(sorted(OPENVINO_VISION))}; use engine: transformers for this model.",
    )
