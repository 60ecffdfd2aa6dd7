"""Our asynchronous interface on llama.cpp against xllamacpp itself, interleaved in one run.

    python perf/llamacpp.py [--rounds 3] [--slots 4]

Both sides run SmolLM2-135M from the same file with the same prompts, lengths, slots and step size, and read
every token and its logprob. Sides take turns, so that a drift of the machine hits both; the ratio is the
median of the rounds' ratios. Run it alone: a second busy process on two cores ruins every figure here.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import threading
import time
from typing import Any

import xllamacpp

from modelyard.catalog.load import load_catalog
from modelyard.engines.llamacpp import LlamaCppEngine
from modelyard.pool import load_engine
from streams import our_round, prompts

TOKENS = 48
STREAMS = (1, 8, 32)
CONTEXT = 1024
STEP = 64


def raw_server(path: str, slots: int) -> Any:
    """xllamacpp with the settings that the engine gives it."""
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_parallel, params.n_ctx = slots, slots * CONTEXT
    params.n_batch = params.n_ubatch = STEP
    params.cache_ram_mib, params.verbosity = 0, -1
    return xllamacpp.Server(params)


def raw_round(server: Any, texts: list[str]) -> tuple[float, float]:
    """Tokens a second and seconds to the first token, one thread a request."""
    began = time.perf_counter()
    firsts: list[float] = []
    made: list[int] = []

    def one(text: str) -> None:
        seen: list[Any] = []

        def read(message: dict[str, Any]) -> bool:
            if not seen:
                firsts.append(time.perf_counter() - began)
            seen.append(message["choices"][0]["logprobs"])
            if "usage" in message:
                made.append(message["usage"]["completion_tokens"])
            return False

        body = {"prompt": text, "max_tokens": TOKENS, "ignore_eos": True, "temperature": 0, "logprobs": 1}
        server.handle_completions(body | {"samplers": ["temperature"], "stream": True}, read)

    threads = [threading.Thread(target=one, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(made) == TOKENS * len(texts), made
    return sum(made) / (time.perf_counter() - began), min(firsts)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slots", type=int, default=4)
    given = parser.parse_args()
    spec = load_catalog().get("smollm2-135m").model_copy(update={"engine": "llamacpp"})
    options = {"slots": given.slots, "context_length": CONTEXT, "max_batch_tokens": STEP}
    engine = load_engine(spec, options)
    assert isinstance(engine, LlamaCppEngine)
    server = raw_server(str(engine.model.path), given.slots)
    found: dict[str, Any] = {"what": "llamacpp", "model": spec.alias, "xllamacpp": engine.version()}
    found["slots"] = given.slots
    print(
        f"{'streams':>7} {'ours tok/s':>11} {'raw tok/s':>11} {'ratio':>6} {'TTFT ours ms':>13} {'raw ms':>8}"
    )
    for count in STREAMS:
        ours, raw = [], []
        for at in range(given.rounds * (3 if count == 1 else 1) + 1):
            texts = prompts(count, at * 1000 + count)
            for side in ("ours", "raw") if at % 2 else ("raw", "ours"):
                if side == "raw":
                    raw.append(raw_round(server, texts))
                else:
                    ours.append(asyncio.run(our_round(engine, texts, TOKENS)))
        speed = [statistics.median(one[0] for one in side[1:]) for side in (ours, raw)]
        first = [statistics.median(one[1] for one in side[1:]) * 1000 for side in (ours, raw)]
        ratio = statistics.median(a[0] / b[0] for a, b in zip(ours[1:], raw[1:], strict=True))
        row = {"ours": round(speed[0], 1), "raw": round(speed[1], 1), "ratio": round(ratio, 3)}
        row |= {"ttft_ours_ms": round(first[0], 2), "ttft_raw_ms": round(first[1], 2)}
        found[str(count)] = row
        print(
            f"{count:>7} {speed[0]:>11.1f} {speed[1]:>11.1f} {ratio:>6.3f} {first[0]:>13.2f} {first[1]:>8.2f}"
        )
    engine.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
