"""Memory comes back: three real models in a budget for two, forty requests, and then all unloaded.

Each case runs in a process of its own, so that what other tests have left behind is not in the figures.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.model,
    pytest.mark.skipif(sys.platform != "linux", reason="/proc tells resident memory"),
]

SCRIPT = """
import asyncio, json, random, sys
from modelyard.catalog.load import load_catalog
from modelyard.engines.worker.resident import resident_bytes
from modelyard.params import SamplingParams
from modelyard.pool import Pool
from modelyard.types import Request

worker = sys.argv[1] == "worker"
small = load_catalog().get("smollm2-135m")
specs = [small.model_copy(update={"alias": f"small-{at}"}) for at in range(3)]
most = peak = 0

async def ask(spec, at, begin):
    global most, peak
    await asyncio.sleep(begin)
    async with pool.lease(spec) as engine:
        request = Request(prompt=f"Story {at}", params=SamplingParams(max_new_tokens=6, temperature=0))
        assert [chunk async for chunk in engine.generate(request)][-1].finish_reason == "length"
        most = max(most, sum(row.measured is not None for row in pool.status()))
        peak = max(peak, resident_bytes())

async def forty(seed):
    chance = random.Random(seed)
    await asyncio.gather(*(ask(chance.choice(specs), at, chance.random() * 4) for at in range(40)))

def measured(seed):
    asyncio.run(forty(seed))
    for spec in specs:
        pool.unload(spec.alias)
    assert pool.status() == ()
    return resident_bytes()

pool = Pool(worker=worker, memory_budget=4_000_000_000)
asyncio.run(ask(small, 0, 0))
one = pool.status()[0].measured
pool.close()
most, pool = 0, Pool(worker=worker, memory_budget=int(2.5 * one), patience=0.2)

# The first rounds bring in what the libraries keep: about 100 MB in process, 15 MB for workers.
measured(1), measured(2)
print(json.dumps({"start": measured(3), "end": measured(4), "most": most, "peak": peak}))
"""


def figures(where: str) -> dict[str, int]:
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, where],
        capture_output=True,
        text=True,
        timeout=280,
        check=True,
    )
    result: dict[str, int] = json.loads(found.stdout)
    return result


def test_with_workers_resident_memory_after_unloading_is_that_of_the_start() -> None:
    found = figures("worker")
    assert found["most"] == 2
    assert found["end"] < 1.1 * found["start"], found


def test_in_process_nine_tenths_of_what_the_models_took_come_back() -> None:
    # OpenVINO keeps about 3 MB of kernels and buffers for each load, whoever unloads it.
    found = figures("inside")
    assert found["most"] == 2
    assert found["end"] - found["start"] < 0.1 * (found["peak"] - found["start"]), found
