"""`modelyard serve` against the engine alone and against the servers that people run, in one run.

    python perf/serving.py [--rounds 5] [--peers raw llama.cpp transformers vllm]

SmolLM2-135M, streamed completions of 64 tokens, greedy, at 1, 8 and 64 streams that arrive together; prompts of
about 60 tokens that share nothing, and prompts of about 500 that share all but their last line. The raw engine
is OpenVINO GenAI's pipeline stepped in this process, with no server and no client. All servers are read by the
same client, which does as little as can be. Our side and a peer take turns; the ratio is the median of the
rounds' own ratios, and above 1 says that ours made more tokens a second. A peer that is not installed is said.

`added` is the time to the first token beyond the other side's, medians of 40 requests at one stream. Run it alone: a second busy process
on two cores ruins every figure here.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import openvino_genai as genai

from modelyard.catalog.load import load_catalog
from modelyard.catalog.pull import pull
from modelyard.engines import environments
from modelyard.engines.openvino import OpenVINOEngine
from modelyard.pool import load_engine
from torch_engine import small_model

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.servers import free_port, llama_server, vllm_server, wait_for

STREAMS = (1, 8, 64)
TOKENS = 64
PREFIX = " ".join(
    f"Line {at}: the harbour was quiet, and nobody had seen the old ship for {at} days." for at in range(24)
)
LONGEST = 150.0  # seconds that a round may take
FIRSTS = 40  # requests whose first tokens are waited for
Round = Callable[[Sequence[str], int], tuple[float, float]]
"""From prompts and the tokens of each answer to tokens a second and seconds to the first token."""
BODY = {"temperature": 0, "stream": True, "stream_options": {"include_usage": True}}


class Side(NamedTuple):
    """One that answers: how a round on it is run."""

    name: str
    run: Round


def prompts(count: int, round_: int, *, shared: bool) -> list[str]:
    """Prompts that no earlier round has left in a cache, or whose first 480 tokens all rounds have."""
    if shared:
        return [f"{PREFIX}\nRound {round_}, question {at}: where did the ship go?" for at in range(count)]
    opening = (
        "one morning the old ship left the harbour, and the keeper of the lighthouse wrote in his book that"
    )
    return [
        f"Round {round_}, story {at}, told by {at * 7919 % 1000}: {opening} {opening}" for at in range(count)
    ]


def client(url: str, model: str, more: dict[str, Any]) -> Round:
    """A round over HTTP: tokens a second, and seconds to the first token."""
    host, _, rest = url.removeprefix("http://").partition("/")
    name, _, port = host.partition(":")
    path = f"/{rest}/completions"

    async def one(text: str, tokens: int, reader: Any, writer: Any, began: float) -> tuple[int, float]:
        least = {name: tokens for name in ("min_tokens",) if name in more}
        body = json.dumps(
            {"model": model, "prompt": text, "max_tokens": tokens, **BODY, **more, **least}
        ).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        first, tail = 0.0, b""
        while piece := await reader.read(65536):
            if not first and b"data: {" in piece:
                first = time.perf_counter() - began
            tail = (tail + piece)[-4000:]
        writer.close()
        said = tail.rpartition(b'"completion_tokens":')[2]
        return int(said.lstrip().split(b",")[0].split(b"}")[0]), first

    def run(texts: Sequence[str], tokens: int) -> tuple[float, float]:
        async def all_() -> tuple[float, float]:
            # Connected beforehand, as clients are that keep their connections.
            open_ = [await asyncio.open_connection(name, int(port)) for _ in texts]
            began = time.perf_counter()
            asked = (one(text, tokens, *ends, began) for text, ends in zip(texts, open_, strict=True))
            async with asyncio.timeout(LONGEST):
                found = await asyncio.gather(*asked)
            passed = time.perf_counter() - began
            return sum(made for made, _ in found) / passed, min(first for _, first in found)

        return asyncio.run(all_())

    return run


def raw(pipeline: Any) -> Round:
    """A round on the pipeline as its makers give it."""

    def run(texts: Sequence[str], tokens: int) -> tuple[float, float]:
        began = time.perf_counter()
        handles = []
        for at, text in enumerate(texts):
            config = genai.GenerationConfig(max_new_tokens=tokens, ignore_eos=True)
            config.apply_chat_template = False
            handles.append(pipeline.add_request(at, pipeline.get_tokenizer().encode(text).input_ids, config))
        first, made = 0.0, 0
        while pipeline.has_non_finished_requests():
            pipeline.step()
            for handle in handles:
                while handle.can_read():
                    for output in handle.read().values():
                        made += len(output.generated_ids)
                        first = first or time.perf_counter() - began
        return made / (time.perf_counter() - began), first

    return run


@contextlib.contextmanager
def process(line: list[str], url: str, **env: str) -> Iterator[str]:
    """A server that is a process of ours; gives its address."""
    started = subprocess.Popen(
        line, env={**os.environ, **env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(url, started, 180)
        yield url
    finally:
        started.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.wait(10)
        started.kill()
        started.wait()


@contextlib.contextmanager
def ours() -> Iterator[Side]:
    """`modelyard serve` as a user starts it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "models.yaml"
        file.write_text("models:\n  small: {source: smollm2-135m}\n")
        port = free_port()
        line = [str(Path(sys.executable).with_name("modelyard")), "serve", str(file), "--port", str(port)]
        with process([*line, "--load", "small"], f"http://127.0.0.1:{port}/livez"):
            yield Side("ours", client(f"http://127.0.0.1:{port}/v1", "small", {"min_tokens": TOKENS}))


@contextlib.contextmanager
def peer(name: str, pipeline: Any) -> Iterator[Side]:
    """A peer, started."""
    if name == "raw":
        yield Side("raw", raw(pipeline))
    elif name == "llama.cpp":
        file = pull(load_catalog().get("smollm2-135m")).path
        with llama_server(file, slots=64, context=768) as url:
            yield Side(name, client(url, "small", {"ignore_eos": True}))
    elif name == "transformers":
        port = free_port()
        model = str(small_model())
        line = [str(Path(sys.executable).with_name("transformers")), "serve", model, "--continuous-batching"]
        line += ["--dtype", "bfloat16", "--device", "cpu", "--port", str(port), "--host", "127.0.0.1"]
        more = {"generation_config": json.dumps({"min_new_tokens": TOKENS, "do_sample": False})}
        with process(line, f"http://127.0.0.1:{port}/health", HF_HUB_OFFLINE="1"):
            yield Side(name, client(f"http://127.0.0.1:{port}/v1", model, more))
    else:
        environment = environments.find("vllm")
        if environment is None:
            raise LookupError("`modelyard engines install vllm` makes its environment")
        with vllm_server(environment.python, small_model(), "small", "bfloat16") as url:
            yield Side(name, client(url, "small", {"min_tokens": TOKENS, "ignore_eos": True}))


def compare(mine: Side, other: Side, streams: int, rounds: int, *, shared: bool) -> dict[str, float]:
    """A row: medians of both sides, and the median of the rounds' ratios."""
    rows: dict[str, list[tuple[float, float]]] = {mine.name: [], other.name: []}
    for at in range(rounds + 1):
        for side in (mine, other) if at % 2 else (other, mine):
            rows[side.name].append(side.run(prompts(streams, _fresh(), shared=shared), TOKENS))
    us, them = rows[mine.name][1:], rows[other.name][1:]
    firsts = (us, them)
    if streams == 1:  # cheap, and what a person waits for: measured often
        firsts = ([], [])
        for at in range(FIRSTS):
            for side, times in ((mine, firsts[0]), (other, firsts[1]))[:: 1 if at % 2 else -1]:
                times.append(side.run(prompts(1, _fresh(), shared=shared), 2))
    first = [statistics.median(one[1] for one in times) * 1000 for times in firsts]
    return {
        "ours": round(statistics.median(one[0] for one in us), 1),
        "theirs": round(statistics.median(one[0] for one in them), 1),
        "ratio": round(statistics.median(a[0] / b[0] for a, b in zip(us, them, strict=True)), 3),
        "ttft_ours_ms": round(first[0], 2),
        "ttft_theirs_ms": round(first[1], 2),
        "ttft_added_ms": round(first[0] - first[1], 2),
    }


def _fresh() -> int:
    """A number that no prompt has had."""
    return time.time_ns() % 10**9


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", nargs="+", default=["raw", "llama.cpp", "transformers", "vllm"])
    given = parser.parse_args()
    engine = load_engine(load_catalog().get("smollm2-135m"), {})
    assert isinstance(engine, OpenVINOEngine)
    folder = str(engine.folder)
    engine.close()
    scheduler = genai.SchedulerConfig()
    scheduler.enable_prefix_caching = True
    pipeline = genai.ContinuousBatchingPipeline(folder, scheduler, "CPU")
    found: dict[str, Any] = {"what": "serving"}
    print(
        f"{'peer':>13} {'prompts':>8} {'streams':>7} {'ours tok/s':>11} {'theirs':>9} {'ratio':>6} {'TTFT ms':>8} {'theirs':>8} {'added':>7}"
    )
    with ours() as mine:
        mine.run(prompts(1, 0, shared=False), TOKENS)
        for name in given.peers:
            try:
                with peer(name, pipeline) as other:
                    other.run(prompts(1, 0, shared=False), TOKENS)
                    for shared in (False, True):
                        for streams in STREAMS:
                            rounds = given.rounds if name == "raw" else max(1, given.rounds // 2)
                            kind = "shared" if shared else "apart"
                            repeats = rounds * (3 if streams == 1 else 1)
                            row = compare(mine, other, streams, repeats, shared=shared)
                            found[f"{name} {kind} {streams}"] = row
                            print(
                                f"{name:>13} {kind:>8} {streams:>7} {row['ours']:>11.1f} {row['theirs']:>9.1f} {row['ratio']:>6.3f} "
                                f"{row['ttft_ours_ms']:>8.1f} {row['ttft_theirs_ms']:>8.1f} {row['ttft_added_ms']:>7.2f}",
                                flush=True,
                            )
            except LookupError as error:
                print(f"{name:>13} not run: {error}")
                found[name] = f"not run: {error}"
            except TimeoutError:
                print(f"{name:>13} {kind:>8} {streams:>7} was not done after {LONGEST:.0f} s: given up")
                found[f"{name} {kind} {streams}"] = f"not done after {LONGEST:.0f} s"
    print(json.dumps(found))


if __name__ == "__main__":
    main()
