"""Peaks: what a plan predicts is what a process takes, within 15%, with real models on real engines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modelyard.catalog.load import load_catalog
from modelyard.catalog.memory.footprint import Workload
from modelyard.catalog.memory.predict import predict_model
from modelyard.catalog.model import Model
from modelyard.catalog.pull import pull
from modelyard.catalog.spec import ModelSpec, PathSource
from modelyard.engines.registry import availability
from modelyard.errors import ModelyardError

_CHILD = """
import asyncio, json, re, sys
from modelyard import create_llm
name, engine, options, batch, context, answer = json.loads(sys.argv[1])

def cut(llm, text, tokens):
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if llm.count_tokens(text[:middle], raw=True) <= tokens else (low, middle - 1)
    return text[:low]

async def main(llm, prompts):
    how = {"raw": True, "max_tokens": answer, "min_new_tokens": answer, "temperature": 0}
    first = llm.stream_async(prompts[0], **how)
    await anext(first)  # the others come while it is answered, as requests do
    done = await asyncio.gather(*[llm.generate_async(one, **how) for one in prompts[1:]])
    async for _ in first:
        pass
    return done

with create_llm(name, engine=engine, options=options) as llm:
    words = " ".join(str(number * 7919 % 1000) for number in range(context))
    prompts = [cut(llm, f"{row}: {words}", context - answer) for row in range(batch)]
    done = asyncio.run(main(llm, prompts))
    assert all(one.usage.completion_tokens == answer for one in done)
    print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024)
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own cache, for the models are large; nothing measured before counts."""
    monkeypatch.setenv("MODELYARD_DATA", str(tmp_path))
    return tmp_path


def _measured(name: str, engine: str, options: dict[str, Any], load: Workload) -> int:
    asked = json.dumps([name, engine, options, load.batch, load.context, load.answer])
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, asked], capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout.split()[-1])


_NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peaks are read from /proc")


@pytest.mark.slow
@_NEEDS_PROC
@pytest.mark.timeout(1000)
@pytest.mark.parametrize(
    ("load", "name"),
    [
        (Workload(1, 512, 16), "smollm2-135m"),
        (Workload(8, 1024, 32), "smollm2-135m"),
        (Workload(1, 512, 8), "qwen2.5-coder-1.5b"),
        (Workload(4, 512, 8), "qwen2.5-coder-1.5b"),
    ],
)
@pytest.mark.parametrize("engine", ["openvino", "llamacpp", "transformers"])
def test_the_predicted_peak_is_within_15_percent(engine: str, name: str, load: Workload) -> None:
    if missing := availability().get(engine, "this version has no such engine"):
        pytest.skip(f"{engine}: {missing}")
    try:
        model = pull(load_catalog().get(name))
    except ModelyardError as error:
        pytest.skip(f"{name} cannot be had here: {error.message}")
    options = {"dtype": "bfloat16"} if engine == "transformers" else {}
    _compare(name, model, engine, options, load)


@pytest.mark.slow
@_NEEDS_PROC
@pytest.mark.timeout(1000)
@pytest.mark.parametrize("load", [Workload(1, 200, 50), Workload(16, 300, 100)])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_the_predicted_peak_of_a_translator_is_within_15_percent(
    opus_mt: Path, dtype: str, load: Workload
) -> None:
    if missing := availability().get("transformers", "this version has no such engine"):
        pytest.skip(f"transformers: {missing}")
    spec = ModelSpec(alias="opus-mt", task="seq2seq", sources=(PathSource(path=str(opus_mt)),))
    _compare(str(opus_mt), pull(spec), "transformers", {"dtype": dtype}, load)


def _compare(name: str, model: Model, engine: str, options: dict[str, Any], load: Workload) -> None:
    found = predict_model(model, engine, options, work=load)
    assert found is not None
    predicted, peak = found[0].predicted, _measured(name, engine, options, load)
    print(f"{engine} {name} {load.batch} x {load.context}: predicted {predicted:,}, measured {peak:,}")
    assert 0.85 <= predicted / peak <= 1.15, (predicted, peak, found[0])
