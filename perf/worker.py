"""An engine in a child process against the same engine in this one, interleaved in one run.

    python perf/worker.py [--rounds 5] [--engine openvino]

Both sides answer the same prompts at the same lengths through `Engine.generate`, every token with its
logprob. Sides take turns, so that a drift of the machine hits both; the ratio is the median of the rounds'
own ratios. The fake engine has no model: its rows say what the pipe itself can carry. Run it alone: a second
busy process on two cores ruins every figure here.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
from typing import Any

from modelyard.catalog.load import load_catalog
from modelyard.pool import load_engine
from streams import our_round, prompts

STREAMS = (1, 16, 64)
TOKENS = {"openvino": 96, "fake": 400}
MODELS = {"openvino": ("smollm2-135m", {}), "fake": ("fake", {"reply": "word " * 400})}


def measure(name: str, rounds: int) -> dict[str, Any]:
    """The table of one engine."""
    alias, options = MODELS[name]
    spec = load_catalog().get(alias)
    sides = {"inside": load_engine(spec, options), "worker": load_engine(spec, options, worker=True)}
    found: dict[str, Any] = {}
    for streams in STREAMS:
        rows: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
        for at in range(rounds * (3 if streams == 1 else 1) + 1):
            for side in sorted(sides, reverse=bool(at % 2)):
                rows[side].append(
                    asyncio.run(our_round(sides[side], prompts(streams, at * 1000 + streams), TOKENS[name]))
                )
        pairs = list(zip(rows["worker"][1:], rows["inside"][1:], strict=True))
        ratio = statistics.median(worker[0] / inside[0] for worker, inside in pairs)
        added = statistics.median(worker[1] - inside[1] for worker, inside in pairs) * 1000
        speed = {side: statistics.median(one[0] for one in made[1:]) for side, made in rows.items()}
        found[str(streams)] = {side: round(value, 1) for side, value in speed.items()} | {
            "ratio": round(ratio, 3),
            "ttft_added_ms": round(added, 2),
        }
        print(
            f"{name:>9} {streams:>7} {speed['worker']:>12.1f} {speed['inside']:>12.1f} {ratio:>6.3f} {added:>9.2f}"
        )
    for engine in sides.values():
        engine.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--engine", choices=sorted(MODELS))
    given = parser.parse_args()
    print(
        f"{'engine':>9} {'streams':>7} {'worker tok/s':>12} {'inside tok/s':>12} {'ratio':>6} {'TTFT + ms':>9}"
    )
    names = [given.engine] if given.engine else sorted(MODELS)
    print(json.dumps({"what": "worker", **{name: measure(name, given.rounds) for name in names}}))


if __name__ == "__main__":
    main()
