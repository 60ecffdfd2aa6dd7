"""HuggingFaceImageLLM: a vision-language model of the Hub, with the arguments that users had before."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from modelyard.errors import InvalidArgumentError
from modelyard.integrations.langchain.custom import BaseCustomLLM
from modelyard.integrations.langchain.runtime import ImageReader
from modelyard.messages import Prompt
from modelyard.types import Result


class HuggingFaceImageLLM(BaseCustomLLM):
    """A model that reads images and text, by its Hub id, an alias or a path.

    `_call` takes a text, or a list of messages: `{"role": "user", "content": [{"type": "image", "image": …},
    {"type": "text", "text": …}]}`, an image being bytes, a path, a `file://` or `data:` URL or a Pillow image. Through
    `invoke` goes text alone, since LangChain makes text of what it gives to a text model; `ChatModelyard` takes images.

    Attributes:
        min_pixels, max_pixels: smaller images are enlarged, larger ones reduced.
        do_sample: False by default.
        processor: makes our messages of a prompt; set by the constructor.

    What else there is, `BaseCustomLLM` says.
    """

    RUNTIME: ClassVar[tuple[str, ...]] = ("hf_model", "processor")

    min_pixels: int = 224 * 28 * 28
    max_pixels: int = 1280 * 28 * 28
    do_sample: bool = False
    processor: Any = Field(default=None, exclude=True, repr=False)

    def _how(self) -> dict[str, Any]:
        limits = {"min_pixels": self.min_pixels, "max_pixels": self.max_pixels}
        for name in limits:
            if name in (self.options or {}):
                raise InvalidArgumentError(
                    f"option '{name}' is given beside the argument", hint=f"Give {name} as an argument alone."
                )
        return {**super()._how(), "options": {**(self.options or {}), **limits}}

    def _load(self) -> None:
        super()._load()
        self.processor = ImageReader(self.min_pixels, self.max_pixels)

    async def _answer(self, prompt: Prompt, how: dict[str, Any]) -> Result:
        return await super()._answer(self.processor(prompt), how)

    def _text(self, prompt: Prompt | None) -> str:
        if isinstance(prompt, str) or not prompt:
            return super()._text(prompt)
        return "\n\n".join(one.text for one in self.processor(prompt) if one.role != "system")
