"""The endpoint engine against a plain client, in front of the same server, interleaved in one run.

    python perf/endpoint.py [--rounds 5]

The server is vLLM where its environment is installed, else llama.cpp's own. The plain client is httpx2 and
`json.loads`: it streams the same bodies and keeps nothing. Ours gives texts, tokens with their places and
logprobs, usage. Sides take turns; the ratio is the median of the rounds' own ratios. Run it alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2

from modelyard.catalog.load import load_catalog
from modelyard.catalog.pull import pull
from modelyard.catalog.spec import ModelSpec
from modelyard.engines import environments
from modelyard.engines.base import Engine
from modelyard.pool import load_engine
from streams import our_round, prompts
from torch_engine import small_model

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.servers import llama_server, vllm_server

STREAMS = (1, 16, 64)
TOKENS = 64


async def plain_round(url: str, model: str, texts: Sequence[str], *, ids: bool) -> tuple[float, float]:
    """Tokens a second and seconds to the first token of a client that keeps nothing."""
    began = time.perf_counter()
    firsts: list[float] = []
    made = 0

    async def one(client: httpx2.AsyncClient, text: str) -> None:
        nonlocal made
        body = {
            "model": model, "prompt": text, "max_tokens": TOKENS, "temperature": 0, "stream": True,
            "stream_options": {"include_usage": True}, "logprobs": 0 if ids else 1,
        }  # fmt: skip
        body |= {"min_tokens": TOKENS, "return_token_ids": True} if ids else {"ignore_eos": True}
        begun = False
        async with client.stream("POST", f"{url}/completions", json=body, timeout=600) as response:
            async for line in response.aiter_lines():
                if not line.startswith("data: {"):
                    continue
                if not begun:
                    begun = True
                    firsts.append(time.perf_counter() - began)
                usage = json.loads(line[6:]).get("usage")
                if usage:
                    made += usage["completion_tokens"]

    async with httpx2.AsyncClient(limits=httpx2.Limits(max_connections=256)) as client:
        await asyncio.gather(*(one(client, text) for text in texts))
    assert made == TOKENS * len(texts), made
    return made / (time.perf_counter() - began), min(firsts)


def measure(engine: Engine, url: str, model: str, rounds: int, *, ids: bool) -> dict[str, Any]:
    """The table."""
    found: dict[str, Any] = {}
    for streams in STREAMS:
        rows: dict[str, list[tuple[float, float]]] = {"ours": [], "plain": []}
        for at in range(rounds + 1):
            for side in sorted(rows, reverse=bool(at % 2)):
                texts = prompts(streams, at * 1000 + streams + (500 if side == "ours" else 0))
                if side == "ours":
                    rows[side].append(asyncio.run(our_round(engine, texts, TOKENS)))
                else:
                    rows[side].append(asyncio.run(plain_round(url, model, texts, ids=ids)))
        pairs = list(zip(rows["ours"][1:], rows["plain"][1:], strict=True))
        ratio = statistics.median(ours[0] / plain[0] for ours, plain in pairs)
        added = statistics.median(ours[1] - plain[1] for ours, plain in pairs) * 1000
        speed = {side: statistics.median(one[0] for one in made[1:]) for side, made in rows.items()}
        print(f"{streams:>7} {speed['ours']:>12.1f} {speed['plain']:>12.1f} {ratio:>6.3f} {added:>9.2f}")
        found[str(streams)] = {"ours": round(speed["ours"], 1), "plain": round(speed["plain"], 1)} | {
            "ratio": round(ratio, 3),
            "ttft_added_ms": round(added, 2),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    file = pull(load_catalog().get("smollm2-135m")).path
    environment = environments.find("vllm")
    if environment is not None:
        server, name = vllm_server(environment.python, small_model(), "small", "bfloat16"), "vllm"
    else:
        server, name = llama_server(Path(file), slots=64, context=256), "llama.cpp"
    with server as url:
        engine = load_engine(
            ModelSpec.model_validate({"alias": "small", "url": url, "engine": "endpoint"}), {}
        )
        model = engine.fingerprint.revision.removeprefix("remote: ")
        print(f"{name}\n{'streams':>7} {'ours tok/s':>12} {'plain tok/s':>12} {'ratio':>6} {'TTFT + ms':>9}")
        rows = measure(engine, url, model, given.rounds, ids=environment is not None)
        engine.close()
    print(json.dumps({"what": "endpoint", "server": name, **rows}))


if __name__ == "__main__":
    main()
