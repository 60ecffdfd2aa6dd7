"""What is OpenVINO's own: conversion and its cache, options, scoring in pieces."""

from __future__ import annotations

import asyncio
import ctypes
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard.catalog.load import load_catalog
from modelyard.engines.base import Engine
from modelyard.engines.openvino import OpenVINOEngine, scorer
from modelyard.engines.openvino.asked import ASKED, only_where_asked
from modelyard.errors import (
    EngineCrashedError,
    EngineError,
    InvalidArgumentError,
    ModelyardError,
    UnsupportedError,
)
from modelyard.params import merge
from modelyard.pool import load_engine
from modelyard.types import Constraint, Request

pytestmark = pytest.mark.model


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("MODELYARD_CACHE", str(folder))
    return folder


@pytest.fixture(scope="module")
def engine(small_gguf: Path) -> Iterator[Engine]:
    loaded = load(small_gguf)
    yield loaded
    loaded.close()


def load(path: Path, **options: Any) -> Engine:
    return load_engine(load_catalog().resolve(str(path)), options)


def answer(engine: Engine, **params: Any) -> list[Any]:
    given = {"temperature": 0, "max_new_tokens": 8, **params}
    own = {key: given.pop(key) for key in ("logprobs", "constraint") if key in given}
    request = Request(prompt="The capital of France is", params=merge(("r", given))[0], **own)

    async def main() -> list[Any]:
        return [token async for chunk in engine.generate(request) for token in chunk.tokens]

    return asyncio.run(main())


def state(folder: Path) -> dict[str, int]:
    return {
        str(file.relative_to(folder)): file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()
    }


@pytest.mark.slow
def test_a_second_load_uses_what_the_first_converted(cache: Path, small_gguf: Path) -> None:
    load(small_gguf).close()
    before = state(cache / "openvino")
    engine = load(small_gguf)
    assert state(cache / "openvino") == before
    assert list(cache.rglob(".making-*")) == []
    assert "Paris" in "".join(token.text for token in answer(engine))
    engine.close()


@pytest.mark.parametrize("size", [0, 3, 100, 5000, 2_000_000, 60_000_000])
def test_a_truncated_file_is_a_typed_error_and_leaves_nothing(
    cache: Path, small_gguf: Path, tmp_path: Path, size: int
) -> None:
    file = tmp_path / "cut.gguf"
    with small_gguf.open("rb") as whole:
        file.write_bytes(whole.read(size))
    with pytest.raises(ModelyardError) as caught:
        load(file)
    assert "cut" in caught.value.message
    assert [one for one in cache.rglob("*") if one.is_dir() and one.parent.name == "openvino"] == []


def test_a_file_that_is_no_gguf_is_a_typed_error(cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "text.gguf"
    file.write_text("<html>not a model</html>" * 100)
    with pytest.raises(ModelyardError, match="text"):
        load(file)


def test_a_folder_without_an_openvino_model_is_refused(cache: Path, tmp_path: Path) -> None:
    from modelyard.catalog.spec import ModelSpec, PathSource

    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    spec = ModelSpec(alias="empty", engine="openvino", sources=(PathSource(path=str(folder)),))
    with pytest.raises(UnsupportedError, match=r"openvino_model\.xml"):
        load_engine(spec, {})


def exported(engine: Engine, folder: Path, config: str | None) -> Path:
    folder.mkdir()
    for file in engine.folder.iterdir():  # type: ignore[attr-defined]
        if file.name != "modelyard.json":
            (folder / file.name).symlink_to(file)
    if config is not None:
        (folder / "config.json").write_text(config)
    return folder


def test_an_openvino_folder_is_used_without_writing_into_it(
    engine: Engine, cache: Path, tmp_path: Path
) -> None:
    folder = exported(engine, tmp_path / "exported", json.dumps({"max_position_embeddings": 2048}))
    names = sorted(one.name for one in folder.iterdir())
    loaded = load(folder)
    assert loaded.capabilities.context_length == 2048
    assert [token.id for token in answer(loaded)] == [token.id for token in answer(engine)]
    loaded.close()
    assert sorted(one.name for one in folder.iterdir()) == names
    assert list(cache.rglob(".making-*")) == []


@pytest.mark.parametrize("config", [None, "{}", "no json", '{"max_position_embeddings": "many"}'])
def test_an_openvino_folder_that_does_not_say_its_context_is_a_typed_error(
    engine: Engine, cache: Path, tmp_path: Path, config: str | None
) -> None:
    folder = exported(engine, tmp_path / "exported", config)
    with pytest.raises(EngineError, match="max_position_embeddings"):
        load(folder)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"theads": 2}, "Did you mean 'threads'"),
        ({"precision": "exakt"}, "'precision' has value 'exakt'"),
        ({"device": "TPU"}, "'device' has value 'TPU'"),
        ({"threads": 0}, "'threads' has value 0"),
        ({"threads": "two"}, "'threads' has value 'two'"),
        ({"kv_cache_gb": -1}, "'kv_cache_gb' has value -1"),
        ({"max_batch_tokens": 1.5}, "'max_batch_tokens' has value 1.5"),
    ],
    ids=str,
)
def test_an_option_that_cannot_be_used_is_named(
    small_gguf: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        load(small_gguf, **options)


EXTREMES = [
    ("temperature", 1e-300), ("temperature", 100), ("top_p", 1e-9), ("min_p", 1), ("top_k", 10**9), ("seed", 2**64 - 1),
    ("repetition_penalty", 1e-9), ("repetition_penalty", 100), ("presence_penalty", -2), ("frequency_penalty", 2),
    ("stop", [f"never-{at}" for at in range(100)]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"), EXTREMES, ids=[f"{name} {value!s:.8}" for name, value in EXTREMES]
)
def test_the_outermost_values_are_taken_and_harm_nobody(engine: Engine, name: str, value: Any) -> None:
    tokens = answer(engine, **{"temperature": 1.0, "seed": 3, name: value})
    assert tokens and all(token.logprob <= 0 for token in tokens)
    assert "Paris" in "".join(token.text for token in answer(engine))


def test_the_coldest_sampling_is_the_greedy_answer(engine: Engine) -> None:
    greedy = [token.id for token in answer(engine)]
    assert [token.id for token in answer(engine, temperature=1e-300, seed=1)] == greedy
    assert [token.id for token in answer(engine, temperature=1, min_p=1, seed=1)] == greedy


def test_tokens_have_no_logprob_when_it_is_not_asked_for(engine: Engine) -> None:
    tokens = answer(engine, logprobs=False)
    assert len(tokens) == 8 and {token.logprob for token in tokens} == {None}


def test_characters_that_are_made_of_several_tokens_are_whole(engine: Engine) -> None:
    wanted = "naïve 😀 日本 — 😂 𓀀 ﷽"
    tokens = answer(engine, constraint=Constraint(choices=(wanted,)), max_new_tokens=60)
    assert "".join(token.text for token in tokens) == wanted
    assert any(token.text == "" for token in tokens)


def test_special_tokens_are_known_as_they_are_written(engine: Engine) -> None:
    assert isinstance(engine, OpenVINOEngine)
    assert {b"<|im_start|>", b"<|im_end|>"} <= set(engine._special.values())
    assert all(engine._pieces[token] == b"" for token in engine._special)


PROMPT = "The quick brown fox jumps over"
TAILS = [" the lazy dog", " a", " nobody at all, because it is very tired indeed", " the", " seven seas and"]


def test_scores_are_the_same_however_little_is_held_at_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = asyncio.run(engine.score(PROMPT, TAILS))
    monkeypatch.setattr(scorer, "_BUFFER", 1)
    one_by_one = asyncio.run(engine.score(PROMPT, TAILS))
    monkeypatch.setattr(scorer, "_PREFILL_TOKENS", 2)
    in_pieces = asyncio.run(engine.score(PROMPT, TAILS))
    for first, second, third in zip(whole, one_by_one, in_pieces, strict=True):
        assert first.token_ids == second.token_ids == third.token_ids
        assert first.is_greedy == second.is_greedy == third.is_greedy
        assert second.token_logprobs == pytest.approx(first.token_logprobs, abs=2e-3)
        assert third.token_logprobs == pytest.approx(first.token_logprobs, abs=0.01, rel=1e-3)


def test_prompts_read_in_one_pass_have_the_scores_that_each_has_alone(engine: OpenVINOEngine) -> None:
    prompts = [
        "The quick brown fox jumps over",
        "Once",
        "The capital of France is the city of",
        "A b c d e f",
    ]
    ids = asyncio.run(engine.encode([*prompts, *TAILS]))
    pairs = [(prompt, tail) for prompt in ids[: len(prompts)] for tail in ids[len(prompts) :]]
    made = scorer.Scorer(engine.folder, engine._settings, exact=True)
    alone, together = made.score(pairs), made.score(pairs, tokens=4096)
    for one, other in zip(alone, together, strict=True):
        assert other.token_ids == one.token_ids
        assert other.token_logprobs == pytest.approx(one.token_logprobs, abs=0.02)


def test_the_last_feed_forward_part_is_worked_out_for_asked_places_alone(engine: OpenVINOEngine) -> None:
    import openvino

    model = openvino.Core().read_model(engine.folder / "openvino_model.xml")
    only_where_asked(model)
    (asked,) = [one for one in model.inputs if ASKED in one.get_names()]
    (gather,) = [one.get_node() for one in asked.get_target_inputs()]
    behind, left = set(), [gather]
    while left:
        node = left.pop()
        behind.add(node.get_name())
        for target in (one for output in node.outputs() for one in output.get_target_inputs()):
            if target.get_node().get_name() not in behind:
                left.append(target.get_node())
    products = [
        one for one in model.get_ops() if one.get_type_name() == "MatMul" and one.get_name() in behind
    ]
    assert len(products) == 4  # gate, up, down and the head


def test_scores_that_are_not_exact_are_near_those_that_are(engine: OpenVINOEngine) -> None:
    exact = asyncio.run(engine.score(PROMPT, TAILS))
    fast = asyncio.run(engine.score(PROMPT, TAILS, exact=False))
    apart = [
        abs(a - b)
        for one, other in zip(exact, fast, strict=True)
        for a, b in zip(one.token_logprobs, other.token_logprobs, strict=True)
    ]
    assert sum(apart) / len(apart) < 0.25 and max(apart) < 1  # the rarer a token, the further


def test_a_closed_engine_scores_nothing_more(small_gguf: Path) -> None:
    engine = load(small_gguf)
    engine.close()
    with pytest.raises(EngineCrashedError):
        asyncio.run(engine.score(PROMPT, TAILS))


LOAD = """
import sys
from modelyard import create_llm
print(create_llm(sys.argv[1]).generate("The capital of France is", raw=True, temperature=0, max_tokens=8))
"""


@pytest.mark.slow
def test_two_processes_convert_once(
    cache: Path, small_gguf: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    both = [start(str(small_gguf), script=LOAD, env={"MODELYARD_CACHE": str(cache)}) for _ in range(2)]
    outputs = [process.communicate(timeout=100)[0] for process in both]
    assert all("Paris" in output for output in outputs), outputs
    folders = [one.name for one in (cache / "openvino").iterdir() if one.is_dir()]
    assert len(folders) == 1 and not folders[0].startswith(".making-")


@pytest.mark.skipif(sys.platform != "linux", reason="sigaltstack is read with Linux's layout")
def test_the_thread_that_loads_keeps_its_signal_stack() -> None:
    class Stack(ctypes.Structure):
        _fields_ = (("place", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))

    def stack() -> tuple[int | None, int]:
        found = Stack()
        assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found)) == 0
        return found.place, found.size

    before = stack()
    spec = load_catalog().get("smollm2-135m")
    engine = load_engine(spec, {})
    asyncio.run(engine.score("The sea is", [" blue"]))
    assert stack() == before
    engine.close()
