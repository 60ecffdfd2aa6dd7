"""The same weights on three engines, and exported from the Hub's form: the same answers and the same scores, as far as their arithmetic goes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import models

from modelyard.catalog.spec import ModelSpec
from modelyard.engines.base import Engine
from modelyard.params import merge
from modelyard.pool import load_engine
from modelyard.types import Message, Request

pytestmark = pytest.mark.slow

PROMPTS = (
    "What is the capital of France?", "Write one sentence about the sea.", "Name three colours.",
    "Explain rain to a child.", "What is two plus two?", "Give me a recipe for pancakes.",
    "Who wrote Hamlet?", "Translate 'good morning' into Spanish.", "What does a heart do?", "Why is the sky blue?",
)  # fmt: skip
TEXTS = (
    "The capital of France is", "Water boils at a temperature of", "The quick brown fox jumps over",
    "In 1969, the first man landed on", "Net income per share was", "My favourite food is", "The opposite of hot is",
    "def add(a, b):\n    return", "Roses are red, violets are", "The patient was given",
)  # fmt: skip
CONTINUATIONS = (" Paris, a city on the Seine.", " 100 degrees Celsius.", " the lazy dog", " cold", " a + b")
NEAR = 0.1  # nats between two tokens that either engine may choose
A_TOKEN = 0.05  # nats between two engines' scores


def loaded(engine: str, options: dict[str, Any], path: Path) -> Engine:
    source = {"kind": "path", "path": str(path)}
    return load_engine(
        ModelSpec.model_validate({"alias": "small", "sources": [source], "engine": engine}), options
    )


async def _answers(engine: Engine) -> list[list[int]]:
    params = merge(("request", {"temperature": 0, "max_new_tokens": 48}))[0]

    async def one(prompt: str) -> list[int]:
        request = Request(messages=(Message("user", prompt),), params=params)
        return [token.id async for chunk in engine.generate(request) for token in chunk.tokens]

    # One after the other: what is beside an answer moves it, and that is not what is compared here.
    return [await one(prompt) for prompt in PROMPTS]


Found = dict[str, tuple[list[list[int]], list[Any]]]


@pytest.fixture(scope="module")
def found(smollm2: Path, small_gguf: Path, export_environment: Any) -> Iterator[Found]:
    """Of each engine, the answers' tokens and the scores.

    The weights are those of the quantised file, written out as float16. OpenVINO in exact precision also reads
    that file itself; llama.cpp would multiply with activations in 8 bits there. docs/log.md has how far that, and
    OpenVINO's own rounding of zero points, moves the answers.
    """
    gguf = models.smollm2_float_gguf(small_gguf)
    rows: list[tuple[str, dict[str, Any], Path]] = [
        ("openvino", {"precision": "exact"}, gguf),
        ("openvino-export", {"precision": "exact"}, smollm2),
        ("openvino-q4_1", {"precision": "exact"}, small_gguf),
        ("llamacpp", {"slots": 1, "kv_cache_type": "f32"}, gguf),
        ("transformers", {"dtype": "float32"}, smollm2),
    ]
    results: Found = {}
    for name, options, path in rows:
        engine = loaded(name.partition("-")[0], options, path)
        scores = [one for text in TEXTS for one in asyncio.run(engine.score(text, CONTINUATIONS))]
        results[name] = (asyncio.run(_answers(engine)), scores)
        engine.close()
    yield results


@pytest.fixture(scope="module")
def judge(smollm2: Path) -> Any:
    """The logprobs of the next token after some ids, from transformers itself in float32."""
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(smollm2)

    def logprobs(prompt: str, made: list[int]) -> Any:
        turns = [{"role": "user", "content": prompt}]
        ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
        with torch.inference_mode():
            return model(torch.tensor([ids + made])).logits[0, -1].log_softmax(-1)

    return logprobs


@pytest.mark.parametrize("name", ["openvino", "openvino-export", "openvino-q4_1", "llamacpp"])
def test_greedy_answers_agree_or_part_where_two_tokens_are_equally_likely(
    name: str, found: Found, judge: Any
) -> None:
    apart = {}
    for prompt, one, two in zip(PROMPTS, found[name][0], found["transformers"][0], strict=True):
        at = next((at for at, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), None)
        if at is None:
            assert len(one) == len(two)
            continue
        logprobs = judge(prompt, one[:at])
        apart[prompt] = abs(float(logprobs[one[at]] - logprobs[two[at]]))
    print(name, "parts from transformers at", apart or "no prompt")
    assert all(nats <= NEAR for nats in apart.values()), apart


@pytest.mark.parametrize("name", ["openvino", "openvino-export", "openvino-q4_1", "llamacpp"])
def test_fifty_scores_agree_to_a_twentieth_of_a_nat_a_token(name: str, found: Found) -> None:
    pairs = list(zip(found[name][1], found["transformers"][1], strict=True))
    assert len(pairs) == 50
    differences = []
    for one, two in pairs:
        assert one.token_ids == two.token_ids
        differences.append(abs(one.total - two.total) / len(one.token_ids))
    print(name, "largest difference, nats a token:", max(differences))
    assert max(differences) <= A_TOKEN
