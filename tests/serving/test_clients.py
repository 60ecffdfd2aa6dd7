"""The clients that people have, against a running server with real models, as their own documentation uses them."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from tests.served import Server, served

pytestmark = pytest.mark.model
KEY = "a-key-of-the-tests-own"
# The three models of the configuration that people bring, under the names and paths that it has.
CATALOG = """
- name: gpt2-model
  type: huggingface
  description: GPT-2 text generation model
  endpoint: models/gpt2/generate
  hf_model_name: smollm2-135m
  hf_task: "generation"
  hf_generation_kwargs:
    max_length: 100
    temperature: 0.7
    top_p: 0.9
- name: t5-translator
  type: huggingface
  description: T5 translation model
  endpoint: models/t5/translate
  hf_model_name: {translator}
  hf_task: "seq2seq"
  hf_generation_kwargs:
    max_length: 50
- name: phi2-generate
  type: huggingface
  description: Microsoft's Phi-2 small language model
  endpoint: models/phi2/generate
  hf_model_name: smollm2-135m
  hf_task: "generation"
  hf_generation_kwargs:
    max_length: 200
    temperature: 0
    top_p: 0.9
    do_sample: true
- name: vectors
  type: huggingface
  hf_model_name: {vectors}
  hf_task: embedding
"""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, opus_mt: Path, minilm: Path) -> Iterator[Server]:
    """A server with real models, behind a key."""
    catalog = CATALOG.format(translator=opus_mt, vectors=minilm)
    env = {"MODELYARD_API_KEYS": KEY}
    with served(tmp_path_factory.mktemp("real"), catalog, env=env) as found:
        yield found


@pytest.fixture
def client(real: Server) -> Iterator[openai.OpenAI]:
    """OpenAI's own client."""
    with openai.OpenAI(base_url=f"{real.url}/v1", api_key=KEY, max_retries=0) as found:
        yield found


ASKED: Any = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]


# -- the curls of the configuration's own page -------------------------------------------------------------


def curl(real: Server, path: str, body: str) -> dict[str, Any]:
    line = ["curl", "-sS", "-X", "POST", real.url + path, "-H", "Content-Type: application/json", "-d", body]
    done = subprocess.run(
        [*line, "-H", f"Authorization: Bearer {KEY}"], capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)["response"]
    return found


def test_the_story_teller_answers_its_curl(real: Server) -> None:
    body = '{"text": "Once upon a time", "generation_params": {"max_length": 200, "temperature": 0.7}}'
    reply = curl(real, "/models/gpt2/generate", body)
    assert reply["generated_text"].strip()  # sampled without a seed: it may be a short story
    assert not reply["generated_text"].startswith("Once upon a time\n")
    assert reply["model_info"]["task"] == "generation"


def test_the_translator_answers_its_curl(real: Server) -> None:
    reply = curl(real, "/models/t5/translate", '{"text": "translate English to German: Hello, how are you?"}')
    assert reply["generated_text"]
    reply = curl(real, "/models/t5/translate", '{"text": "Hello, how are you?"}')
    assert reply["generated_text"].startswith("Bonjour")
    assert reply["model_info"]["task"] == "seq2seq"


def test_the_greedy_model_answers_its_curl_and_says_what_it_leaves_out(real: Server) -> None:
    body = '{"text": "Write a short story about a robot:", "generation_params": {"max_length": 150, "temperature": 0.7}}'
    assert curl(real, "/models/phi2/generate", body)["generated_text"]
    greedy = curl(real, "/models/phi2/generate", '{"text": "Write a short story about a robot:"}')
    assert any("do_sample" in one for one in greedy["warnings"])


# -- OpenAI's client ---------------------------------------------------------------------------------------


def test_openai_chat(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="phi2-generate", messages=ASKED, max_tokens=24)
    assert "Paris" in (reply.choices[0].message.content or "")
    assert reply.usage is not None
    assert reply.usage.completion_tokens > 3


def test_openai_stream(client: openai.OpenAI) -> None:
    how: Any = {"model": "phi2-generate", "messages": ASKED, "max_tokens": 24, "temperature": 0}
    whole = client.chat.completions.create(**how).choices[0].message.content
    chunks = list(client.chat.completions.create(**how, stream=True, stream_options={"include_usage": True}))
    assert "".join(one.choices[0].delta.content or "" for one in chunks if one.choices) == whole
    assert chunks[-1].usage is not None
    assert len(chunks) > 5


def test_openai_json_schema(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 30}, "country": {"enum": ["France", "Spain"]}},
        "required": ["city", "country"],
        "additionalProperties": False,
    }
    form: Any = {"type": "json_schema", "json_schema": {"name": "capital", "schema": schema, "strict": True}}
    reply = client.chat.completions.create(
        model="phi2-generate", messages=ASKED, response_format=form, max_tokens=64
    )
    assert json.loads(reply.choices[0].message.content or "")["country"] in ("France", "Spain")


def test_openai_logprobs(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="phi2-generate", messages=ASKED, max_tokens=8, logprobs=True)
    listed = reply.choices[0].logprobs
    assert listed is not None and listed.content is not None
    assert "".join(one.token for one in listed.content) == reply.choices[0].message.content
    assert all(-30 < one.logprob <= 0 for one in listed.content)


def test_openai_completions(client: openai.OpenAI) -> None:
    reply = client.completions.create(
        model="phi2-generate", prompt="The capital of France is", max_tokens=6, n=2
    )
    assert "Paris" in reply.choices[0].text
    assert len(reply.choices) == 2


@pytest.mark.parametrize("form", ["float", "base64"])
def test_openai_embeddings(client: openai.OpenAI, form: Any) -> None:
    texts = ["The cat sits on the mat.", "A kitten rests on a rug.", "Earnings per share rose."]
    rows = client.embeddings.create(model="vectors", input=texts, encoding_format=form)
    assert rows.usage.prompt_tokens > 10
    if form == "float":
        cat, kitten, share = (row.embedding for row in rows.data)
        near = sum(a * b for a, b in zip(cat, kitten, strict=True))
        far = sum(a * b for a, b in zip(cat, share, strict=True))
        assert near > far + 0.2
        plain = client.embeddings.create(model="vectors", input=texts)  # base64 inside the client
        assert plain.data[0].embedding == pytest.approx(cat, abs=1e-6)


def test_openai_errors_are_the_clients_own(client: openai.OpenAI, real: Server) -> None:
    with pytest.raises(openai.NotFoundError, match="not served"):
        client.chat.completions.create(model="nobody", messages=ASKED)
    with pytest.raises(openai.UnprocessableEntityError, match="logit_bias"):
        client.chat.completions.create(model="phi2-generate", messages=ASKED, logit_bias={"1": 5})
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{real.url}/v1", api_key="wrong", max_retries=0).models.list()


def test_openai_async_streams_run_side_by_side(real: Server) -> None:
    async def run() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{real.url}/v1", api_key=KEY) as client:

            async def one() -> str:
                stream = await client.chat.completions.create(
                    model="phi2-generate", messages=ASKED, max_tokens=16, stream=True
                )
                return "".join([part.choices[0].delta.content or "" async for part in stream if part.choices])

            return list(await asyncio.gather(*(one() for _ in range(8))))

    assert all("Paris" in one for one in asyncio.run(run()))


def test_openai_lists_the_models(client: openai.OpenAI) -> None:
    assert {one.id for one in client.models.list()} == {
        "gpt2-model",
        "t5-translator",
        "phi2-generate",
        "vectors",
    }


@pytest.mark.slow
def test_openai_images(tmp_path: Path) -> None:
    import base64
    import io

    from PIL import Image
    from tests import models

    catalog = (
        f"models:\n  seeing: {{source: {models.tiny('qwen2.5-vl')}, task: vision, engine: transformers}}\n"
    )
    with (
        served(tmp_path, catalog) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="-") as client,
    ):
        answers = []
        for colour in ("red", "blue"):
            buffer = io.BytesIO()
            Image.new("RGB", (56, 56), colour).save(buffer, format="PNG")
            url = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
            content: Any = [
                {"type": "image_url", "image_url": {"url": url}},
                {"type": "text", "text": "What is it?"},
            ]
            reply = client.chat.completions.create(
                model="seeing",
                messages=[{"role": "user", "content": content}],
                max_tokens=8,
                temperature=0,
                logprobs=True,
            )
            listed = reply.choices[0].logprobs
            assert listed is not None and listed.content
            answers.append([one.logprob for one in listed.content])
    assert answers[0] != answers[1]  # random weights: two images, two distributions


# -- LangChain's and LlamaIndex's --------------------------------------------------------------------------


def test_langchain_chat_openai(real: Server) -> None:
    from langchain_openai import ChatOpenAI
    from pydantic import BaseModel

    class Capital(BaseModel):
        """A country's capital."""

        city: str

    chat = ChatOpenAI(
        base_url=f"{real.url}/v1", api_key=KEY, model="phi2-generate", temperature=0, max_tokens=24
    )
    question = ASKED[0]["content"]
    reply = chat.invoke(question)
    assert "Paris" in str(reply.content)
    assert reply.usage_metadata is not None and reply.usage_metadata["output_tokens"] > 3
    assert "".join(str(part.content) for part in chat.stream(question)) == reply.content
    found = chat.with_structured_output(Capital, method="json_schema").invoke(question)
    assert isinstance(found, Capital)
    told = chat.bind(logprobs=True).invoke(question)
    assert told.response_metadata["logprobs"]["content"]


def test_llama_index_openai_like(real: Server) -> None:
    from llama_index.core.llms import ChatMessage
    from llama_index.llms.openai_like import OpenAILike

    how: Any = {"api_base": f"{real.url}/v1", "api_key": KEY, "temperature": 0, "max_tokens": 24}
    llm = OpenAILike(model="phi2-generate", is_chat_model=True, **how)
    question = ASKED[0]["content"]
    assert "Paris" in llm.chat([ChatMessage(role="user", content=question)]).message.content
    assert "Paris" in llm.complete(question).text
    pieces = [one.delta for one in llm.stream_chat([ChatMessage(role="user", content=question)])]
    assert "Paris" in "".join(piece or "" for piece in pieces)

    async def completed() -> str:
        async with httpx.AsyncClient() as http:  # its own is never closed
            own = OpenAILike(model="phi2-generate", is_chat_model=True, async_http_client=http, **how)
            return (await own.acomplete(question)).text

    assert "Paris" in asyncio.run(completed())
