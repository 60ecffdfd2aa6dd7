"""ModelyardEmbeddings: vectors for LangChain."""

from __future__ import annotations

from langchain_core.embeddings import Embeddings

from modelyard import portal
from modelyard.integrations.langchain.arguments import ModelArguments


class ModelyardEmbeddings(ModelArguments, Embeddings):
    """Vectors of length 1 from a model of ours (task: embedding).

    All texts of a call are given to the engine at once, which puts them into batches.

    Raises:
        InvalidArgumentError: an argument that is not known, or a bad value; it says which.
        ModelNotFoundError: there is no such model.
    """

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector for each text.

        Raises:
            UnsupportedError: the model gives no embeddings.
            PromptTooLongError: a text is longer than the model reads.
        """
        return [list(one) for one in self.language_model.embed(texts)] if texts else []

    def embed_query(self, text: str) -> list[float]:
        """The vector of one text; errors as `embed_documents`."""
        return self.embed_documents([text])[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """`embed_documents`, asynchronously."""
        found = await portal.call(self.language_model.embed_async(texts)) if texts else ()
        return [list(one) for one in found]

    async def aembed_query(self, text: str) -> list[float]:
        """`embed_query`, asynchronously."""
        return (await self.aembed_documents([text]))[0]
