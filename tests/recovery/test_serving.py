"""A server under load from clients of whom a third leave, with its engine killed twice, and at last told to stop."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from tests.served import Server, served

REQUESTS = 5000
CLIENTS = 64
CATALOG = """
models:
  small: {source: smollm2-135m}
"""
WORDS = ("apple", "bread", "cloud", "daisy", "eagle", "flame", "grape", "house")
RETRYABLE = {429, 503}


def body(client: int, number: int, stream: bool) -> dict[str, Any]:
    """A request whose right answer only its own client can get: a form of his own."""
    return {
        "model": "small",
        "messages": [
            {"role": "user", "content": f"Story {number % 50}: one morning the old ship left the harbour."}
        ],
        "regex": f"{WORDS[client % 8]}-{client}: [a-z]{{4,12}}\\.",
        "max_tokens": 40,
        "temperature": 0.8,
        "stream": stream,
    }


def right(client: int, text: str) -> bool:
    return re.fullmatch(rf"{WORDS[client % 8]}-{client}: [a-z]{{4,12}}\.", text) is not None


class Load:
    """Clients who ask, some of whom leave: before the first byte, in the prompt, in mid-answer, reading slowly."""

    def __init__(self, server: Server, seed: int) -> None:
        self.server = server
        self.random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.stopping = False

    async def run(self, requests: int) -> None:
        numbers = iter(range(requests))
        async with self.server.async_client() as http:
            await asyncio.gather(*(self._client(http, client, numbers) for client in range(CLIENTS)))

    async def _client(self, http: httpx2.AsyncClient, client: int, numbers: Any) -> None:
        for number in numbers:
            if self.stopping:
                return
            leaves = self.random.random() < 1 / 3
            kind = self.random.choice(("whole", "stream"))
            try:
                if leaves:
                    await self._leave(http, client, number)
                elif kind == "whole":
                    await self._whole(http, client, number)
                else:
                    await self._stream(http, client, number)
            except httpx2.TransportError as error:
                # Only a server that has gone may hang up on one who stays.
                self.counts["hung up" if self.stopping else "LOST"] += 1
                if not self.stopping:
                    self.wrong.append(f"{type(error).__name__}: {error}")

    async def _whole(self, http: httpx2.AsyncClient, client: int, number: int) -> None:
        response = await http.post("/v1/chat/completions", json=body(client, number, False))
        if response.status_code in RETRYABLE:
            self.counts[f"refused, to be sent again ({response.status_code})"] += 1
            await asyncio.sleep(0.2)
            return
        reply = response.json()
        choice = reply["choices"][0]
        self._judge(
            client, choice["message"]["content"], choice["finish_reason"] == "stop" and reply["usage"]
        )

    async def _stream(self, http: httpx2.AsyncClient, client: int, number: int, slow: bool = False) -> None:
        text, finish, done, failed = "", None, False, None
        async with http.stream("POST", "/v1/chat/completions", json=body(client, number, True)) as response:
            if response.status_code in RETRYABLE:
                self.counts[f"refused, to be sent again ({response.status_code})"] += 1
                await asyncio.sleep(0.2)
                return
            async for line in response.aiter_lines():
                if line == "data: [DONE]":
                    done = True
                elif line.startswith("data: "):
                    event = json.loads(line[6:])
                    if "error" in event:
                        failed = event["error"]["code"]
                        continue
                    for choice in event["choices"]:
                        text += choice["delta"].get("content", "")
                        finish = choice["finish_reason"] or finish
        if failed is not None:
            self.counts[f"ended by an error event ({failed})"] += 1
        else:
            self._judge(client, text, done and finish == "stop")

    async def _leave(self, http: httpx2.AsyncClient, client: int, number: int) -> None:
        how = self.random.choice(
            ("before the first byte", "in the prompt", "in mid-answer", "reading slowly")
        )
        self.counts[f"left {how}"] += 1
        asked = body(client, number, True)
        if how == "in the prompt":
            asked["messages"][0]["content"] *= 60
        after = {"before the first byte": 0.0, "in the prompt": 0.05}.get(how, 30.0)

        async def read() -> None:
            async with http.stream("POST", "/v1/chat/completions", json=asked) as response:
                seen = 0
                async for _ in response.aiter_bytes():
                    seen += 1
                    if how == "reading slowly":
                        await asyncio.sleep(0.3)
                    if seen == 3:
                        return

        task = asyncio.create_task(read())
        await asyncio.wait({task}, timeout=after)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def _judge(self, client: int, text: str, whole: object) -> None:
        if whole and right(client, text):
            self.counts["complete and right"] += 1
        else:
            self.counts["WRONG"] += 1
            self.wrong.append(f"{client}: {text!r}")


def memory(server: Server) -> int:
    """Bytes that the server's own process holds."""
    found: int = psutil.Process(server.process.pid).memory_info().rss
    return found


def show(title: str, counts: Counter[str]) -> None:
    print(f"\n{title}")
    for name, count in sorted(counts.items()):
        print(f"  {count:>6}  {name}")


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.timeout(1500)
def test_a_third_of_64_clients_leave_and_every_other_answer_is_complete_and_right(tmp_path: Path) -> None:
    with served(tmp_path, CATALOG, "--load", "small") as server:
        server.log.wait_for("loaded", 60)
        warm = Load(server, 0)
        asyncio.run(warm.run(300))
        before = memory(server)
        load = Load(server, 1)

        async def run() -> None:
            asking = asyncio.create_task(load.run(REQUESTS))
            for share in (0.3, 0.6):
                while load.counts.total() < share * REQUESTS:
                    await asyncio.sleep(0.05)
                os.kill(await asyncio.to_thread(server.pid_of, "small"), signal.SIGKILL)
                load.counts["engine killed"] += 1
            await asking

        began = time.monotonic()
        asyncio.run(run())
        took = time.monotonic() - began
        end = time.monotonic() + 10
        while time.monotonic() < end and (
            server.model("small")["running"] or server.model("small")["waiting"]
        ):
            time.sleep(0.05)
        grown = memory(server) - before
        show(
            f"{REQUESTS} requests of {CLIENTS} clients in {took:.0f} s; the server grew by {grown / 1e6:.1f} MB",
            load.counts,
        )
        state = server.model("small")
        asked = sum(count for name, count in load.counts.items() if name != "engine killed")
        assert asked == REQUESTS
        assert not load.wrong, load.wrong[:5]
        assert (state["running"], state["waiting"]) == (0, 0)
        assert server.metric("running", model="small") == 0
        assert state["state"] == "idle"
        left = sum(count for name, count in load.counts.items() if name.startswith("left"))
        assert REQUESTS / 4 < left < REQUESTS / 2
        assert load.counts["complete and right"] > REQUESTS / 2
        assert grown < 40e6
        assert server.metric("requests_total", status="500") == 0


@pytest.mark.slow
@pytest.mark.model
def test_livez_answers_at_once_while_an_engine_reads_a_long_prompt_and_a_model_loads(tmp_path: Path) -> None:
    catalog = CATALOG + "  other: {source: smollm2-135m, options: {precision: exact}}\n"
    with served(tmp_path, catalog, "--load", "small") as server:
        server.log.wait_for("loaded", 60)

        async def run() -> dict[str, list[float]]:
            took: dict[str, list[float]] = {"in the prompt": [], "in a load": []}
            async with server.async_client() as http:
                await http.get("/livez")  # the client's own first steps are not the server's
                long = {"model": "small", "prompt": "one more word " * 2300, "max_tokens": 1}
                reading = asyncio.create_task(http.post("/v1/completions", json=long))
                loading: asyncio.Task[Any] | None = None
                while not reading.done() or loading is None or not loading.done():
                    if reading.done() and loading is None:
                        assert reading.result().status_code == 200
                        loading = asyncio.create_task(http.post("/models/other/load"))
                    began = time.monotonic()
                    assert (await http.get("/livez")).status_code == 200
                    took["in a load" if loading else "in the prompt"].append(time.monotonic() - began)
                    await asyncio.sleep(0.02)
                assert loading.result().status_code == 200
            return took

        for when, times in asyncio.run(run()).items():
            times.sort()
            print(
                f"/livez {when}: {len(times)} asked, median {times[len(times) // 2] * 1000:.1f} ms, ", end=""
            )
            print(f"slowest {times[-1] * 1000:.1f} ms")
            assert len(times) > 10
            assert times[-1] < 0.05, when


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.timeout(600)
def test_sigterm_under_load_finishes_what_runs(tmp_path: Path) -> None:
    with served(tmp_path, CATALOG, "--load", "small") as server:
        server.log.wait_for("loaded", 60)
        load = Load(server, 2)

        async def run() -> None:
            asking = asyncio.create_task(load.run(REQUESTS))
            while load.counts.total() < 300:
                await asyncio.sleep(0.02)
            server.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(server.log.wait_for, "stopping")
            load.stopping = True
            await asking

        asyncio.run(run())
        code = server.process.wait(30)
        stopping = server.log.wait_for("stopping")
        show(f"SIGTERM with {stopping['running']} requests running", load.counts)
        assert code == 0
        assert not load.wrong, load.wrong[:5]
        assert not [line for line in server.log.lines if line["event"] == "drain deadline"]
        assert load.counts["complete and right"] > 100
