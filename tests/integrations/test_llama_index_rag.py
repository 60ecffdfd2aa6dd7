"""LlamaIndex's engines on our models: a question to five filings, answered with nothing but what is here."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Document, Settings, SummaryIndex, VectorStoreIndex
from llama_index.core.chat_engine import CondensePlusContextChatEngine, SimpleChatEngine
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.utils import get_tokenizer, set_global_tokenizer
from pydantic import BaseModel, Field

import modelyard
from modelyard.integrations.llama_index import ModelyardEmbedding, ModelyardLLM, SchemaProgram

pytestmark = [pytest.mark.slow, pytest.mark.model, pytest.mark.timeout(600)]

FILINGS = {
    "Advanced Micro Devices": "0000002488-23-000139.txt",
    "Colgate-Palmolive": "0000021665-23-000031.txt",
    "Cisco Systems": "0000858877-23-000013.txt",
    "Nvidia": "0001045810-23-000175.txt",
    "Meta Platforms": "0001326801-23-000093.txt",
}
TASK = Path(modelyard.__file__).parent / "tasks" / "eps_extraction"
QUESTION = "What were the diluted earnings per share of {} for the three months? Give the figure alone."


class Figure(BaseModel):
    """Diluted earnings per share of the most recent three months."""

    diluted_earnings_per_share: float = Field(description="in dollars, the first figure of the line Diluted")


def labels() -> dict[str, float]:
    """The diluted earnings per share of each of the five, by company."""
    lines = (TASK / "labels.jsonl").read_text("utf-8").splitlines()
    found = {row["file"]: row["labels"]["eps_diluted"] for row in map(json.loads, lines)}
    return {company: found[f"documents/{file}"] for company, file in FILINGS.items()}


@pytest.fixture(scope="module", autouse=True)
def event_loop() -> Iterator[None]:
    """LlamaIndex asks the thread for its event loop where it counts tokens, and would leave a new one open."""
    made = asyncio.new_event_loop()
    asyncio.set_event_loop(made)
    yield
    made.close()
    asyncio.set_event_loop(None)


@pytest.fixture(scope="module")
def vectors(minilm: Path) -> ModelyardEmbedding:
    return ModelyardEmbedding(model=str(minilm), offline=True)


@pytest.fixture(scope="module")
def small(small_gguf: Path) -> ModelyardLLM:
    return ModelyardLLM(model="smollm2-135m", offline=True, temperature=0, max_tokens=64)


@pytest.fixture(scope="module")
def offline() -> Iterator[None]:
    """No connection leaves this process; that to a model's own process is a pair of local sockets."""
    connect = socket.socket.connect

    def refused(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX:
            pytest.fail(f"it connects to {address}")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refused)
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


@pytest.fixture(scope="module")
def tokens(small: ModelyardLLM, offline: None) -> Iterator[None]:
    """LlamaIndex counts with our model's tokens: without, it asks for GPT's."""
    before = get_tokenizer()
    Settings.tokenizer = small.tokenizer
    yield
    set_global_tokenizer(before)
    Settings._tokenizer = None


@pytest.fixture(scope="module")
def index(vectors: ModelyardEmbedding, tokens: None) -> VectorStoreIndex:
    """The five filings, in pieces that the embedding model reads whole."""
    documents = [
        Document(text=(TASK / "documents" / file).read_text("utf-8"), metadata={"company": company})
        for company, file in FILINGS.items()
    ]
    splitter = SentenceSplitter(chunk_size=240, chunk_overlap=40, tokenizer=vectors.tokenizer)
    return VectorStoreIndex.from_documents(documents, transformations=[splitter], embed_model=vectors)


def companies(response: Any) -> list[str]:
    return [one.metadata["company"] for one in response.source_nodes]


@pytest.mark.slow
def test_a_question_finds_its_filing_and_is_answered(index: VectorStoreIndex, small: ModelyardLLM) -> None:
    engine = index.as_query_engine(llm=small, similarity_top_k=2)
    answers = {company: engine.query(QUESTION.format(company)) for company in FILINGS}
    assert all(str(one).strip() for one in answers.values())
    assert all(companies(one)[0] == company for company, one in answers.items())


def test_a_question_is_answered_in_an_event_loop(index: VectorStoreIndex, small: ModelyardLLM) -> None:
    engine = index.as_query_engine(llm=small, similarity_top_k=1)
    streaming = index.as_query_engine(llm=small, similarity_top_k=1, streaming=True)

    async def ask() -> tuple[str, str]:
        whole = await engine.aquery(QUESTION.format("Nvidia"))
        pieces = await streaming.aquery(QUESTION.format("Nvidia"))
        return str(whole), "".join([one async for one in pieces.async_response_gen()])

    whole, pieces = asyncio.run(ask())
    assert whole.strip() == pieces.strip() != ""
    found = "".join(streaming.query(QUESTION.format("Nvidia")).response_gen)
    assert found.strip() == whole.strip()


def test_a_query_engine_answers_with_an_object(index: VectorStoreIndex, small: ModelyardLLM) -> None:
    engine = index.as_query_engine(llm=small.as_structured_llm(Figure), similarity_top_k=1)
    question = QUESTION.format("Nvidia")
    for response in (engine.query(question), asyncio.run(engine.aquery(question))):
        assert isinstance(response.response, Figure)


def test_a_long_text_is_summed_up_in_pieces_that_fit(small: ModelyardLLM, tokens: None) -> None:
    narrow = ModelyardLLM.from_llm(small.llm, context_window=700)
    text = (TASK / "documents" / FILINGS["Meta Platforms"]).read_text("utf-8")
    index = SummaryIndex.from_documents([Document(text=text)])
    engine = index.as_query_engine(llm=narrow, response_mode="tree_summarize")
    assert str(engine.query("What is this?")).strip()


def test_a_simple_chat_remembers_its_turns(small: ModelyardLLM, tokens: None) -> None:
    chat = SimpleChatEngine.from_defaults(
        llm=small, memory=ChatMemoryBuffer.from_defaults(llm=small), system_prompt="You are brief."
    )
    assert chat.chat("My name is Ada.").response
    assert asyncio.run(chat.achat("What is the capital of France?")).response

    async def stream() -> str:
        pieces = await chat.astream_chat("And of Italy?")
        return "".join([one async for one in pieces.async_response_gen()])

    assert asyncio.run(stream())
    assert "".join(chat.stream_chat("And of Spain?").response_gen)
    assert len(chat.chat_history) == 8


@pytest.mark.slow
def test_a_chat_over_the_filings_answers_from_them(index: VectorStoreIndex, small: ModelyardLLM) -> None:
    for mode in ("context", "condense_plus_context"):
        memory = ChatMemoryBuffer.from_defaults(llm=small)  # its default leaves a database open
        chat = index.as_chat_engine(chat_mode=mode, llm=small, memory=memory, similarity_top_k=1)
        first = chat.chat(QUESTION.format("Cisco Systems"))
        assert companies(first) == ["Cisco Systems"]
        second = asyncio.run(chat.achat("And basic earnings per share of Cisco Systems?"))
        assert second.response
    assert isinstance(chat, CondensePlusContextChatEngine)


def test_a_structured_program_runs_on_a_real_model(small: ModelyardLLM, tokens: None) -> None:
    text = "Diluted earnings per share were $ 1.25, against 0.98 a year before."
    program = SchemaProgram.from_defaults(Figure, llm=small, prompt_template_str="{text}")
    for found in (program(text=text), asyncio.run(program.acall(text=text))):
        assert found == Figure(diluted_earnings_per_share=1.25)


# -- the larger model answers right ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large(tokens: None) -> Iterator[ModelyardLLM]:
    llm = ModelyardLLM(model="qwen2.5-coder-1.5b", offline=True, temperature=0, max_tokens=64)
    yield llm
    llm.llm.close()


LINE = "In the line of diluted earnings per share of {}, which figure is the first (three months)?"


@pytest.mark.slow
@pytest.mark.parametrize(("form", "least"), [("text", 3), ("object", 2)])
def test_the_larger_model_answers_with_right_figures(
    index: VectorStoreIndex, large: ModelyardLLM, form: str, least: int
) -> None:
    """What was measured with this wording, the best of those tried (QUESTION: 2 of 5); no claim beyond these five."""
    asked = large.as_structured_llm(Figure) if form == "object" else large
    engine = index.as_query_engine(llm=asked, similarity_top_k=3)
    right = {}
    for company, label in labels().items():
        response = engine.query(LINE.format(company))
        if form == "object":
            figures = [response.response.diluted_earnings_per_share]
        else:
            figures = [float(one) for one in re.findall(r"-?\d+\.\d+", str(response))]
        right[company] = label in figures
    assert sum(right.values()) >= least, right


@pytest.mark.slow
def test_functions_are_offered_where_the_template_has_them(large: ModelyardLLM) -> None:
    from llama_index.core.tools import FunctionTool

    def add(a: int, b: int) -> int:
        """Adds two whole numbers."""
        return a + b

    assert large.metadata.is_function_calling_model
    tool = FunctionTool.from_defaults(add)
    asked = "What is 17 plus 25? Use the tool."
    assert large.predict_and_call([tool], user_msg=asked, tool_required=True).response == "42"
    assert asyncio.run(large.apredict_and_call([tool], user_msg=asked, tool_required=True)).response == "42"
