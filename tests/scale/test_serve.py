"""`modelyard serve --ray`: the clients' tests of the server, and replicas that are killed under load."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import openai
import psutil
import pytest
from tests.served import Server, served

pytest.importorskip("ray", reason="Ray is not installed: pip install 'modelyard[ray]'")

from tests.serving.test_clients import *  # noqa: F403  the same tests, against this module's server
from tests.serving.test_clients import CATALOG, KEY

pytestmark = [pytest.mark.slow, pytest.mark.model, pytest.mark.timeout(900)]
test_openai_images = None  # it serves a catalogue of its own, on one machine


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, opus_mt: Path, minilm: Path) -> Iterator[Server]:
    """The same real models, behind Ray Serve."""
    catalog = CATALOG.format(translator=opus_mt, vectors=minilm)
    env = {"MODELYARD_API_KEYS": KEY}
    with served(tmp_path_factory.mktemp("real"), catalog, "--ray", env=env) as found:
        yield found


MANY = """
models:
  slow: {engine: fake, replicas: 2, options: {delay: 0.02, reply: "one two three four five six seven eight nine ten"}}
"""


@pytest.fixture
def many(tmp_path: Path) -> Iterator[Server]:
    with served(tmp_path, MANY, "--ray") as found:
        yield found


def replicas(server: Server, name: str) -> list[int]:
    """The processes of a deployment."""
    return [
        one.pid
        for one in psutil.Process(server.process.pid).children(recursive=True)
        if f"ServeReplica:modelyard:{name}" in " ".join(one.cmdline())
    ]


WHOLE = "one two three four five six seven eight nine ten"


@pytest.mark.parametrize("which", ["slow", "server"])
def test_a_replica_killed_under_load_loses_nobody(many: Server, which: str) -> None:
    ends: Counter[str] = Counter()

    async def client(stop: asyncio.Event) -> None:
        async with openai.AsyncOpenAI(
            base_url=f"{many.url}/v1", api_key="none", max_retries=0, timeout=60
        ) as ai:
            while not stop.is_set():
                try:
                    made = await ai.chat.completions.create(
                        model="slow", messages=[{"role": "user", "content": "Go."}], max_tokens=20
                    )
                    assert made.choices[0].message.content == WHOLE, made
                    ends["answered"] += 1
                except openai.APIStatusError as error:
                    # What the client itself would send again.
                    assert error.status_code in (429, 500, 502, 503, 504), error
                    ends[f"refused {error.status_code}"] += 1
                except openai.APIConnectionError:
                    ends["connection lost"] += 1

    async def all_() -> None:
        stop = asyncio.Event()
        clients = [asyncio.create_task(client(stop)) for _ in range(32)]
        await asyncio.sleep(4)
        before = ends["answered"]
        victims = replicas(many, which)
        assert victims, which
        os.kill(victims[0], signal.SIGKILL)
        until = asyncio.get_running_loop().time() + 60
        while ends["answered"] < before + 200 and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.2)
        assert ends["answered"] >= before + 200, ends
        await asyncio.sleep(3)
        stop.set()
        await asyncio.gather(*clients)

    asyncio.run(all_())
    print(which, dict(ends))
    assert ends["answered"] > 200
    assert ends.total() - ends["answered"] <= 64, ends
    with contextlib.closing(many.client()) as plain:
        assert plain.get("/readyz").status_code == 200
