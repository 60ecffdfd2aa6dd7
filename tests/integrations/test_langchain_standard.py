"""LangChain's own standard suites, as it publishes them for makers of integrations."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain_tests")

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests, EmbeddingsIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests, EmbeddingsUnitTests

from modelyard.integrations.langchain import ChatModelyard, ModelyardEmbeddings

CODER: dict[str, Any] = {
    "model": "qwen2.5-coder-1.5b",
    "engine": "openvino",
    "max_tokens": 400,
    "temperature": 0,
    "timeout": None,
}
VECTORS = "models:\n  vectors:\n    source: {{path: '{}'}}\n    task: embedding\n    engine: transformers\n"


def asynchronous(cls: type) -> type:
    """Has the suite's coroutines run, whatever the mode of pytest-asyncio."""
    for name, test in inspect.getmembers(cls, inspect.iscoroutinefunction):
        if name.startswith("test_"):
            setattr(cls, name, pytest.mark.asyncio(test))
    return cls


class TestChatUnit(ChatModelUnitTests):
    """The unit suite: no model is loaded."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatModelyard

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "smollm2-135m"}


class Chat(ChatModelIntegrationTests):
    """What ours can do: the properties are those of the model, none is left out to spare a test."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatModelyard

    @property
    def supported_usage_metadata_details(self) -> Any:
        # openvino does not say how much of a prompt it had read before.
        return {"invoke": [], "stream": []}


@pytest.mark.model
@asynchronous
class TestChatSmall(Chat):
    """The integration suite with the small model, which is too small for tools and schemas to mean something."""

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "smollm2-135m", "engine": "openvino", "max_tokens": 40, "temperature": 0}

    @property
    def has_tool_calling(self) -> bool:
        return False

    @property
    def has_tool_choice(self) -> bool:
        return False

    @property
    def has_structured_output(self) -> bool:
        return False

    @property
    def supports_model_override(self) -> bool:
        return False  # every other model is larger; tests/integrations/test_langchain.py has it


@pytest.mark.slow
@asynchronous
class TestChatWithTools(Chat):
    """The integration suite with a model that has tools."""

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return CODER

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "smollm2-135m"


@pytest.mark.slow
@asynchronous
class TestChatByFunctionCalling(Chat):
    """The structured answers of the suite once more, by the call of a tool."""

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return CODER

    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        return {"method": "function_calling"}

    @property
    def model_override_value(self) -> str:
        return "smollm2-135m"


class _Vectors:
    """An embedding model under a name that the catalogue knows."""

    catalog: Path

    @pytest.fixture(autouse=True)
    def _catalog(self, minilm: Path, tmp_path: Path) -> None:
        type(self).catalog = tmp_path / "models.yaml"
        self.catalog.write_text(VECTORS.format(minilm))

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return ModelyardEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "vectors", "catalog": str(self.catalog)}


@pytest.mark.model
class TestEmbeddingsUnit(_Vectors, EmbeddingsUnitTests):
    """The unit suite for embeddings."""


@pytest.mark.model
@asynchronous
class TestEmbeddings(_Vectors, EmbeddingsIntegrationTests):
    """The integration suite for embeddings."""
