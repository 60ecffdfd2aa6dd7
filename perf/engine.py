"""Our asynchronous interface against the raw OpenVINO pipeline, interleaved in one run.

    python perf/engine.py [--rounds 5]

Both sides run SmolLM2-135M from the same converted files with the same prompts, lengths and sampling, and
read every token and its logprob. A third side is the raw pipeline on the GGUF file as OpenVINO's reader takes it, zero
points rounded (docs/decisions/0028-zero-points.md): what keeping them costs. Sides take turns, so that a drift of the
machine hits all; the ratios are of the medians. Run it alone: a second busy process on two cores ruins every figure.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from typing import Any

import openvino
import openvino_genai as genai

from modelyard.catalog.load import load_catalog
from modelyard.engines.openvino import OpenVINOEngine
from modelyard.pool import load_engine
from streams import our_round, prompts

TOKENS = 96
STREAMS = (1, 16, 64)


def raw_round(pipeline: Any, texts: list[str]) -> tuple[float, float]:
    """Tokens a second and seconds to the first token, on the pipeline as its makers give it."""
    began = time.perf_counter()
    handles = []
    for at, text in enumerate(texts):
        config = genai.GenerationConfig(max_new_tokens=TOKENS, ignore_eos=True, logprobs=1)
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
    assert made == TOKENS * len(texts), made
    return made / (time.perf_counter() - began), first


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    engine = load_engine(load_catalog().get("smollm2-135m"), {})
    assert isinstance(engine, OpenVINOEngine)
    scheduler = genai.SchedulerConfig()
    scheduler.enable_prefix_caching = True
    pipelines = {
        "raw": genai.ContinuousBatchingPipeline(str(engine.folder), scheduler, "CPU"),
        "rounded": genai.ContinuousBatchingPipeline(str(engine.model.path), scheduler, "CPU"),
    }
    found: dict[str, Any] = {"what": "engine", "model": "smollm2-135m", "openvino": openvino.__version__}
    print(
        f"{'streams':>7} {'ours tok/s':>11} {'raw tok/s':>11} {'ratio':>6} {'rounded tok/s':>14} {'ratio':>6} "
        f"{'TTFT ours ms':>13} {'raw ms':>8} {'added ms':>9}"
    )
    for count in STREAMS:
        sides: dict[str, list[tuple[float, float]]] = {"ours": [], "raw": [], "rounded": []}
        repeats = rounds * (3 if count == 1 else 1)
        for at in range(repeats + 1):
            texts = prompts(count, at * 1000 + count)
            for side in sides if at % 2 else reversed(sides):
                if side == "ours":
                    sides[side].append(asyncio.run(our_round(engine, texts, TOKENS)))
                else:
                    sides[side].append(raw_round(pipelines[side], texts))
        speed = {side: statistics.median(one[0] for one in many[1:]) for side, many in sides.items()}
        first = {side: statistics.median(one[1] for one in many[1:]) * 1000 for side, many in sides.items()}
        row = {side: round(value, 1) for side, value in speed.items()}
        row |= {"ratio": round(speed["ours"] / speed["raw"], 3)}
        row |= {"ratio_to_rounded": round(speed["ours"] / speed["rounded"], 3)}
        row |= {"ttft_ours_ms": round(first["ours"], 2), "ttft_raw_ms": round(first["raw"], 2)}
        row["ttft_added_ms"] = round(first["ours"] - first["raw"], 2)
        found[str(count)] = row
        print(
            f"{count:>7} {speed['ours']:>11.1f} {speed['raw']:>11.1f} {row['ratio']:>6.3f} {speed['rounded']:>14.1f} "
            f"{row['ratio_to_rounded']:>6.3f} {first['ours']:>13.2f} {first['raw']:>8.2f} {row['ttft_added_ms']:>9.2f}"
        )
    engine.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
