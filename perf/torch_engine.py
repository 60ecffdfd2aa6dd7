"""The transformers engine against transformers itself, interleaved in one run.

    python perf/torch_engine.py [--rounds 3] [--streams 1 8 32] [--model FOLDER]

Ours: requests that arrive one by one, 10 ms apart, each a stream with texts and logprobs. The peers, in the
same precision and on the same weights: `model.generate` with all prompts at once in one static batch that is
padded to one length, which knows the whole batch beforehand; and `model.generate_batch`, the library's own
continuous batching. Tokens a second of whole rounds, from the first arrival to the last token; sides take
turns, and the ratios are of the medians. Run it alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
import transformers

from modelyard.catalog.spec import ModelSpec
from modelyard.pool import load_engine
from streams import our_round

TOKENS = 64
STREAMS = (1, 8, 32)
GAP = 0.01  # seconds between two arrivals


def prompts(count: int, round_: int) -> list[str]:
    """Prompts of different lengths."""
    middle = ["one morning", "early in the spring of a cold year", "at last"]
    return [f"Round {round_}, story {at}: {middle[at % 3]} the old ship left" for at in range(count)]


def static(model: Any, tokenizer: Any, texts: list[str], tokens: int = TOKENS) -> float:
    began = time.perf_counter()
    inputs = tokenizer(texts, return_tensors="pt", padding=True).to(model.device)
    with torch.inference_mode():
        answers = model.generate(**inputs, do_sample=False, max_new_tokens=tokens, min_new_tokens=tokens)
    tokenizer.batch_decode(answers[:, inputs["input_ids"].shape[1] :])
    return tokens * len(texts) / (time.perf_counter() - began)


def batched(model: Any, tokenizer: Any, texts: list[str]) -> float:
    began = time.perf_counter()
    ids = [tokenizer(text)["input_ids"] for text in texts]
    config = transformers.GenerationConfig(do_sample=False, max_new_tokens=TOKENS, eos_token_id=-1)
    answers = model.generate_batch(ids, generation_config=config, progress_bar=False)
    made = sum(len(answer.generated_tokens) for answer in answers.values())
    assert made == TOKENS * len(texts), made
    return made / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--streams", type=int, nargs="*", default=STREAMS)
    parser.add_argument("--model", type=Path, help="a folder in the Hub's form; SmolLM2 by default")
    given = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    folder = given.model or small_model()
    spec = ModelSpec.model_validate({"alias": "small", "sources": [{"kind": "path", "path": str(folder)}]})
    engine = load_engine(spec.model_copy(update={"engine": "transformers"}), {})
    dtype = getattr(torch, engine.fingerprint.precision)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    found: dict[str, Any] = {"what": "torch_engine", "precision": engine.fingerprint.precision}
    print(f"{'streams':>7} {'ours':>8} {'static':>8} {'generate_batch':>15} {'/static':>8} {'/batch':>8}")
    for count in given.streams:
        sides: dict[str, list[float]] = {"ours": [], "static": [], "batched": []}
        for at in range(given.rounds + 1):
            texts = prompts(count, at)
            for side in list(sides) if at % 2 else list(reversed(sides)):
                sides[side].append(
                    asyncio.run(our_round(engine, texts, TOKENS, GAP))[0]
                    if side == "ours"
                    else (static if side == "static" else batched)(model, tokenizer, texts)
                )
        one, two, three = (statistics.median(speeds[1:]) for speeds in sides.values())
        found[str(count)] = {
            "ours": round(one, 1), "static": round(two, 1), "generate_batch": round(three, 1),
            "of_static": round(one / two, 3), "of_generate_batch": round(one / three, 3),
        }  # fmt: skip
        print(f"{count:>7} {one:>8.1f} {two:>8.1f} {three:>15.1f} {one / two:>8.3f} {one / three:>8.3f}")
    engine.close()
    print(json.dumps(found))


def small_model() -> Path:
    """SmolLM2 as safetensors, made from its GGUF file."""
    from modelyard.catalog.load import load_catalog
    from modelyard.catalog.pull import pull
    from modelyard.paths import cache_dir

    folder = cache_dir() / "perf" / "smollm2-safetensors"
    if not (folder / "config.json").is_file():
        gguf = pull(load_catalog().get("smollm2-135m")).path
        how = {"gguf_file": gguf.name}
        model = transformers.AutoModelForCausalLM.from_pretrained(
            gguf.parent,
            **how,
            dtype=torch.float32,
            quantization_config=transformers.GgufConfig(dequantize=True),
        )
        transformers.AutoTokenizer.from_pretrained(gguf.parent, **how).save_pretrained(folder)
        model.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main()
