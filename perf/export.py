"""A Hub model exported for OpenVINO against our transformers engine, interleaved in one run.

    python perf/export.py [--rounds 3] [--streams 1 8 32]

All sides run SmolLM2-135M from the same safetensors, each at its own defaults: OpenVINO with weights in 16 and
in 8 bits, transformers in the number type that is fastest here. The same prompts and lengths through
`Engine.generate`, every token with its logprob. Sides take turns, so that a drift of the machine hits all; a
ratio is the median of the rounds' ratios. Before that: seconds to export and load, in an empty cache, and to
load again. It needs `modelyard engines install openvino-export`. Run it alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from modelyard.catalog.spec import ModelSpec
from modelyard.engines.base import Engine
from modelyard.pool import load_engine
from streams import our_round, prompts
from torch_engine import small_model

TOKENS = 64
STREAMS = (1, 8, 32)
SIDES = {
    "openvino16": ("openvino", None),
    "openvino8": ("openvino", "8bit"),
    "transformers": ("transformers", None),
}


def load(folder: Path, side: str) -> tuple[Engine, float]:
    """A side's engine, and how many seconds it took."""
    engine, quantization = SIDES[side]
    source = {"kind": "path", "path": str(folder)}
    given = {"alias": "small", "sources": [source], "engine": engine, "quantization": quantization}
    began = time.perf_counter()
    return load_engine(ModelSpec.model_validate(given), {}), time.perf_counter() - began


def loads(folder: Path, found: dict[str, Any]) -> dict[str, Engine]:
    """All engines; each is loaded twice, the first time from nothing."""
    engines = {}
    for side in SIDES:
        first, cold = load(folder, side)
        first.close()
        engines[side], warm = load(folder, side)
        found[f"{side}_first_s"], found[f"{side}_load_s"] = round(cold, 1), round(warm, 2)
        print(f"{side:<12} {engines[side].precision:<16} first load {cold:5.1f} s, again {warm:5.2f} s")
    return engines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--streams", type=int, nargs="*", default=STREAMS)
    given = parser.parse_args()
    folder = small_model()
    found: dict[str, Any] = {"what": "export", "model": "smollm2-135m"}
    with tempfile.TemporaryDirectory() as cache:
        os.environ["MODELYARD_CACHE"] = cache
        engines = loads(folder, found)
        found["precision"] = engines["transformers"].precision
        print(f"{'streams':>7} {'16-bit':>8} {'8-bit':>8} {'torch':>8} {'16/torch':>9} {'8/torch':>8}")
        for count in given.streams:
            made: dict[str, list[float]] = {side: [] for side in engines}
            for at in range(given.rounds * (3 if count == 1 else 1) + 1):
                texts = prompts(count, at * 1000 + count)
                for side in sorted(engines, reverse=bool(at % 2)):
                    made[side].append(asyncio.run(our_round(engines[side], texts, TOKENS))[0])
            speed = {side: statistics.median(rounds[1:]) for side, rounds in made.items()}
            torch = made["transformers"][1:]
            ratios = [
                statistics.median(a / b for a, b in zip(made[side][1:], torch, strict=True))
                for side in ("openvino16", "openvino8")
            ]
            found[str(count)] = {side: round(value, 1) for side, value in speed.items()} | {
                "ratio16": round(ratios[0], 2), "ratio8": round(ratios[1], 2),
            }  # fmt: skip
            print(
                f"{count:>7} {speed['openvino16']:>8.1f} {speed['openvino8']:>8.1f} {speed['transformers']:>8.1f} "
                f"{ratios[0]:>9.2f} {ratios[1]:>8.2f}"
            )
        for engine in engines.values():
            engine.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
