"""Under load and in trouble: queues, deadlines, clients who leave, engines that crash or hang, the stop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from tests.served import FAKES, Server, ask, events, served

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two places a model and a short queue."""
    with served(tmp_path_factory.mktemp("busy"), FAKES, "--running", "2", "--queue", "2") as found:
        yield found


async def until(condition: Callable[[], object], seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.02)


def nobody(server: Server, name: str) -> Callable[[], bool]:
    def look() -> bool:
        found = server.model(name)
        return found["running"] == found["waiting"] == 0 and found["state"] == "idle"

    return look


async def reading(client: httpx2.AsyncClient, body: dict[str, Any]) -> AsyncIterator[str]:
    async with client.stream("POST", CHAT, json={**body, "stream": True}) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            yield line


# -- the queue ---------------------------------------------------------------------------------------------


def test_a_full_queue_is_a_429_that_says_when_to_come_back(busy: Server) -> None:
    async def run() -> list[httpx2.Response]:
        async with busy.async_client() as client:
            await client.post("/models/slow/load")
            return await asyncio.gather(*(client.post(CHAT, json=ask("slow")) for _ in range(8)))

    replies = asyncio.run(run())
    refused = [one for one in replies if one.status_code == 429]
    answered = [one for one in replies if one.status_code == 200]
    assert (len(refused), len(answered)) == (4, 4)
    assert all(1 <= int(one.headers["retry-after"]) <= 60 for one in refused)
    assert all(one.json()["error"]["type"] == "rate_limit_error" for one in refused)
    assert busy.metric("refused_total", model="slow") >= 4


def test_one_models_queue_is_not_anothers(busy: Server) -> None:
    async def run() -> float:
        async with busy.async_client() as client:
            await client.post("/models/words/load")
            crowd = [asyncio.create_task(client.post(CHAT, json=ask("slow"))) for _ in range(4)]
            await until(lambda: busy.model("slow")["waiting"] == 2)
            began = time.monotonic()
            assert (await client.post(CHAT, json=ask("words"))).status_code == 200
            took = time.monotonic() - began
            await asyncio.gather(*crowd)
            return took

    assert asyncio.run(run()) < 0.6


def test_a_deadline_that_passes_is_a_504(busy: Server) -> None:
    async def run() -> list[int]:
        async with busy.async_client() as client:
            bodies = [ask("stories", timeout=1) for _ in range(4)]
            return [
                one.status_code
                for one in await asyncio.gather(*(client.post(CHAT, json=one) for one in bodies))
            ]

    assert asyncio.run(run()) == [504] * 4
    asyncio.run(until(nobody(busy, "stories")))


def test_a_deadline_in_mid_stream_is_an_event_and_no_done(busy: Server) -> None:
    with busy.client() as client:
        response = client.post(CHAT, json=ask("stories", timeout=1, stream=True))
    assert response.status_code == 200
    found = events(response)
    assert found[-1]["error"]["code"] == "deadline_exceeded"
    assert len(found) > 3
    assert "[DONE]" not in response.text


# -- clients who leave -------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_who_leaves_in_mid_answer_frees_his_place_at_once(busy: Server, stream: bool) -> None:
    async def run() -> None:
        async with busy.async_client() as client:
            await client.post("/models/stories/load")
            before = busy.metric("cancelled_total", model="stories")
            task = asyncio.create_task(client.post(CHAT, json=ask("stories", stream=stream, max_tokens=3000)))
            await until(lambda: busy.model("stories")["running"] == 1)
            await asyncio.sleep(0.2)
            task.cancel()
            await until(nobody(busy, "stories"), 2)
            await until(lambda: busy.metric("cancelled_total", model="stories") == before + 1, 2)

    asyncio.run(run())


def test_a_client_who_leaves_the_queue_was_never_there(busy: Server) -> None:
    async def run() -> None:
        async with busy.async_client() as client:
            tasks = [asyncio.create_task(client.post(CHAT, json=ask("stories"))) for _ in range(4)]
            await until(lambda: busy.model("stories")["waiting"] == 2)
            for task in tasks[2:]:
                task.cancel()
            await until(lambda: busy.model("stories")["waiting"] == 0, 2)
            for task in tasks[:2]:
                task.cancel()
            await until(nobody(busy, "stories"), 2)

    asyncio.run(run())


@pytest.mark.slow
def test_a_reader_who_takes_nothing_is_dropped(tmp_path: Path) -> None:
    catalog = 'models:\n  flood: {engine: fake, options: {context_length: 100000000, reply: "%s"}}\n' % (
        "w" * 8000
    )
    with served(tmp_path, catalog, "--send-timeout", "0.5") as found:
        host, _, port = found.url.removeprefix("http://").partition(":")
        body = '{"model":"flood","prompt":"x","stream":true,"min_tokens":1500,"max_tokens":1500}'
        head = f"POST /v1/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        with socket.create_connection((host, int(port))) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall((head + body).encode())
            line = found.log.wait_for("request", 30, route="/v1/completions")
            assert line["error"] == "SlowReader"
            assert found.model("flood")["running"] == 0
            mine = connection.getsockname()[1]
            theirs = [
                one.raddr.port for one in psutil.Process(found.process.pid).net_connections() if one.raddr
            ]
            assert (
                mine not in theirs
            )  # hung up, and not closed in good order: what he has does not look whole


# -- a bad request harms nobody ----------------------------------------------------------------------------


def test_a_bad_schema_harms_no_other_request(busy: Server) -> None:
    bad = {
        "type": "json_schema",
        "json_schema": {"name": "x", "schema": {"type": "string", "pattern": "(((("}},
    }

    async def run() -> tuple[httpx2.Response, list[httpx2.Response]]:
        async with busy.async_client() as client:
            good = [asyncio.create_task(client.post(CHAT, json=ask("slow"))) for _ in range(2)]
            refused = await client.post(CHAT, json=ask("words", response_format=bad))
            return refused, await asyncio.gather(*good)

    refused, good = asyncio.run(run())
    assert refused.status_code == 400
    assert all(one.status_code == 200 for one in good)


# -- engines in trouble ------------------------------------------------------------------------------------


def test_a_killed_engine_is_a_503_and_the_next_request_is_answered(busy: Server) -> None:
    async def run() -> None:
        async with busy.async_client() as client:
            await asyncio.gather(client.post("/models/stories/load"), client.post("/models/slow/load"))
            other = asyncio.create_task(client.post(CHAT, json=ask("slow")))
            doomed = [asyncio.create_task(client.post(CHAT, json=ask("stories"))) for _ in range(2)]
            await until(lambda: busy.model("stories")["running"] == 2)
            os.kill(busy.pid_of("stories"), signal.SIGKILL)
            replies = await asyncio.gather(*doomed)
            assert [one.status_code for one in replies] == [503, 503]
            assert all(int(one.headers["retry-after"]) >= 1 for one in replies)
            assert (await other).status_code == 200
            assert (await client.post(CHAT, json=ask("stories", max_tokens=2))).status_code == 200
        assert busy.metric("engine_crashes_total", model="stories") == 2

    asyncio.run(run())


def test_a_crash_in_mid_stream_is_an_event(busy: Server) -> None:
    async def run() -> list[str]:
        lines = []
        async with busy.async_client() as client:
            async for line in reading(client, ask("stories")):
                lines.append(line)
                if len(lines) == 8:
                    os.kill(busy.pid_of("stories"), signal.SIGKILL)
        return lines

    lines = [line for line in asyncio.run(run()) if line]
    assert '"code":"engine_crashed"' in lines[-1]


@pytest.mark.slow
def test_a_hanging_engine_is_found_stuck_and_started_again_and_a_busy_one_is_not(tmp_path: Path) -> None:
    with served(tmp_path, FAKES, "--stuck-after", "2") as found:

        async def run() -> None:
            async with found.async_client() as client:
                await asyncio.gather(client.post("/models/stories/load"), client.post("/models/slow/load"))
                asking = asyncio.create_task(client.post(CHAT, json=ask("stories", max_tokens=3000)))
                busy = asyncio.create_task(client.post(CHAT, json=ask("slow", n=4)))
                await until(lambda: found.model("stories")["running"] == 1)
                os.kill(found.pid_of("stories"), signal.SIGSTOP)
                await until(lambda: httpx2.get(f"{found.url}/readyz/stories").status_code == 503)
                assert found.model("stories")["state"] == "stuck"
                assert (await client.get("/readyz/slow")).status_code == 200
                assert (await client.get("/readyz")).json()["models"]["stories"]["ready"] is False
                assert (await asking).status_code == 503
                assert (await busy).status_code == 200
                assert (await client.post(CHAT, json=ask("stories", max_tokens=2))).status_code == 200
                await until(lambda: httpx2.get(f"{found.url}/readyz/stories").status_code == 200)

        asyncio.run(run())
        assert found.metric("stuck_total") == 1


def test_a_model_that_cannot_be_loaded_says_why_and_is_not_tried_for_each_request(tmp_path: Path) -> None:
    catalog = FAKES + "  broken: {engine: llamacpp, source: {path: %s}}\n" % (tmp_path / "broken.gguf")
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + b"\x03\x00\x00\x00" + b"\xff" * 64)
    with served(tmp_path, catalog) as found, found.client() as client:
        first = client.post(CHAT, json=ask("broken"))
        assert first.status_code >= 400
        again = client.post(CHAT, json=ask("broken"))
        assert again.status_code == 503
        assert "tried again" in again.json()["error"]["message"]
        assert client.get("/readyz/broken").status_code == 503
        assert client.get("/readyz").status_code == 200
        assert client.post(CHAT, json=ask("words")).status_code == 200
        assert found.metric("loads_total", model="broken", outcome="failed") == 1


# -- alive -------------------------------------------------------------------------------------------------


def test_livez_answers_at_once_while_models_load_and_answer(busy: Server) -> None:
    async def run() -> list[float]:
        took = []
        async with busy.async_client() as client:
            work = [
                asyncio.create_task(client.post(CHAT, json=ask("stories", timeout=1.5))) for _ in range(4)
            ]
            for _ in range(40):
                began = time.monotonic()
                assert (await client.get("/livez")).json() == {"status": "live"}
                took.append(time.monotonic() - began)
                await asyncio.sleep(0.02)
            await asyncio.gather(*work)
        return took

    assert sorted(asyncio.run(run()))[36] < 0.05  # nine of ten: this machine may be busy with another test


# -- the stop ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_finishes_what_runs_refuses_what_is_new_and_exits_with_0(tmp_path: Path, sign: int) -> None:
    with served(tmp_path) as found:

        async def run() -> None:
            async with found.async_client() as client:
                await client.post("/models/slow/load")
                running = [asyncio.create_task(client.post(CHAT, json=ask("slow"))) for _ in range(3)]
                streamed = [line async for line in _then_stop(client, found, sign)]
                assert streamed[-1] == "data: [DONE]"
                for one in await asyncio.gather(*running):
                    assert one.json()["choices"][0]["message"]["content"].endswith("twelve")

        asyncio.run(run())
        assert found.process.wait(10) == 0
        assert found.log.wait_for("stopping")["running"] >= 4
        assert not processes_of(found.process.pid)


async def _then_stop(client: httpx2.AsyncClient, server: Server, sign: int) -> AsyncIterator[str]:
    told = False
    async for line in reading(client, ask("slow")):
        if line:
            yield line
        if not told and "one" in line:
            told = True
            server.process.send_signal(sign)
            server.log.wait_for("stopping")
            refused = await client.post(CHAT, json=ask("slow"))
            assert refused.status_code == 503
            assert "retry-after" in refused.headers
            assert (await client.get("/readyz")).status_code == 503
            assert (await client.get("/livez")).status_code == 200


def test_what_outlasts_the_drain_is_ended_with_a_retryable_error(tmp_path: Path) -> None:
    with served(tmp_path, FAKES, "--drain", "0.5") as found:

        async def run() -> tuple[httpx2.Response, list[str]]:
            async with found.async_client() as client:
                await client.post("/models/stories/load")
                whole = asyncio.create_task(client.post(CHAT, json=ask("stories", max_tokens=3000)))
                lines = []
                async for line in reading(client, ask("stories", max_tokens=3000)):
                    lines.append(line)
                    if len(lines) == 4:
                        found.process.send_signal(signal.SIGTERM)
                return await whole, lines

        whole, lines = asyncio.run(run())
        assert whole.status_code == 503
        assert '"code":"unavailable"' in [line for line in lines if line][-1]
        assert found.process.wait(10) == 0
        assert found.log.wait_for("drain deadline")["ended"] == 2


def test_a_second_signal_stops_at_once_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with served(tmp_path) as found:

        async def run() -> None:
            async with found.async_client() as client:
                await client.post("/models/stories/load")
                task = asyncio.create_task(client.post(CHAT, json=ask("stories", max_tokens=3000)))
                await until(lambda: found.model("stories")["running"] == 1)
                found.process.send_signal(signal.SIGINT)
                found.log.wait_for("stopping")
                began = time.monotonic()
                found.process.send_signal(signal.SIGINT)
                code = await asyncio.to_thread(found.process.wait, 10)
                assert code == 130
                assert time.monotonic() - began < 5
                with pytest.raises(httpx2.TransportError):
                    await task

        asyncio.run(run())
        assert not processes_of(found.process.pid)


def test_a_taken_port_is_said_in_one_line(command: Any, server: Server) -> None:
    port = server.url.rpartition(":")[2]
    done = command("serve", "--port", port)
    assert done.returncode == 2
    assert f"port {port}" in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_endpoint_that_is_a_route_of_the_servers_own_is_refused(command: Any, tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text("models:\n  a: {engine: fake, endpoint: v1/chat/completions}\n")
    done = command("serve", str(file), "--port", "0")
    assert done.returncode == 2
    assert "v1/chat/completions" in done.stderr


def test_the_server_is_left_out_without_its_packages(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['fastapi'] = None; sys.argv[1:] = ['serve'];"
        "from modelyard.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 7
    assert "modelyard[serve]" in done.stderr


def processes_of(parent: int) -> list[str]:
    """Command lines of processes whose parent was this one or whose arguments name it."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                line = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"modelyard.engines.worker.child" in line and str(parent).encode() in line:
                found.append(" ".join(part.decode() for part in line))
    return found
