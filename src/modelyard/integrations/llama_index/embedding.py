"""ModelyardEmbedding: vectors of our models for LlamaIndex's indices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

from llama_index.core.base.embeddings.base import BaseEmbedding
from pydantic import PrivateAttr

from modelyard import portal
from modelyard.errors import PromptTooLongError
from modelyard.integrations.llama_index.model import ModelFields, without_secrets
from modelyard.integrations.llama_index.tokens import tokenizer_of
from modelyard.llm import LLM
from modelyard.pool import Pool


class ModelyardEmbedding(ModelFields, BaseEmbedding):
    """Vectors of one of our embedding models, for `Settings.embed_model`.

    Args:
        model: an alias of the catalogue, a Hub id, or a path; `create_llm`'s other arguments have their names here.
        llm: an LLM in place of all of them; so too `ModelyardEmbedding.from_llm(llm)`.
        pool: where the model is loaded.
        given: further fields: LlamaIndex's own (`embed_batch_size`, …), and `query_instruction` and
            `text_instruction`, which some models want before a question and before a text.

    A text that is longer than the model reads is an error, and never cut: split documents by the model's own
    tokens (`SentenceSplitter(chunk_size=256, tokenizer=embedding.tokenizer)`).
    """

    query_instruction: str = ""
    text_instruction: str = ""

    _llm: LLM = PrivateAttr()

    def __init__(
        self, model: Any = None, *, llm: LLM | None = None, pool: Pool | None = None, **given: Any
    ) -> None:
        if model is not None:
            given["model"] = model
        fields = {name: given.pop(name) for name in tuple(given) if name in type(self).model_fields}
        fields.pop("model_name", None)  # the model's own
        super().__init__(**fields)
        if llm is None:
            self._llm = self._embedding(self.make_llm(pool, given))
        else:
            self.refuse_beside_llm()
            self._llm = llm
            self.model, self.options = llm.spec.alias, without_secrets(llm.options)
        self.model_name = self._llm.spec.alias

    @classmethod
    def from_llm(cls, llm: LLM, **given: Any) -> Self:
        """The same for an LLM with task `embedding` that there is already."""
        return cls(llm=llm, **given)

    @classmethod
    def class_name(cls) -> str:
        """The name in what LlamaIndex writes out."""
        return "modelyard_embedding"

    @property
    def tokenizer(self) -> Callable[[str], list[int]]:
        """The model's own, to split documents by."""
        return tokenizer_of(self._llm)

    def _embedding(self, made: LLM) -> LLM:
        """The same model asked for its vectors: a path or Hub id does not say what a model is for."""
        if made.spec.task == "embedding":
            return made
        return made.remade(spec=made.spec.model_copy(update={"task": "embedding"}))

    async def _vectors(self, texts: Sequence[str], instruction: str) -> list[list[float]]:
        try:
            found = await self._llm.embed_async([instruction + one for one in texts])
        except PromptTooLongError as error:
            raise PromptTooLongError(
                error.message,
                hint="Split by the model's own tokens: SentenceSplitter(chunk_size=…, tokenizer=embedding.tokenizer). "
                "The metadata of a node is read with its text.",
            ) from error
        return [list(one) for one in found]

    def _get_query_embedding(self, query: str) -> list[float]:
        return portal.run(self._vectors([query], self.query_instruction))[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return (await self._vectors([query], self.query_instruction))[0]

    def _get_text_embedding(self, text: str) -> list[float]:
        return portal.run(self._vectors([text], self.text_instruction))[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._vectors([text], self.text_instruction))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return portal.run(self._vectors(texts, self.text_instruction))

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await self._vectors(texts, self.text_instruction)
