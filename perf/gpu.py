"""The transformers engine on a GPU beside transformers itself: 16, 8 and 4 bits, and with adapters.

    python perf/gpu.py [--shape 7b] [--streams 1 16 64] [--rounds 2] [--warm 2] [--tokens 64] [--weights bfloat16 8bit 4bit] [--worker]

The model has random weights in the shape of a known one: what a step costs and how much memory it takes does not
depend on them. Ours: requests that arrive 1 ms apart, each a stream with texts and logprobs. The peer: `model.generate`
on the same files in the same precision, all prompts at once in one static batch. Tokens a second of whole rounds; sides
take turns, `--warm` rounds of each are not counted (a GPU loads a kernel when it is first used), and the ratios are of the medians. Then the same engine with half of
the requests on a LoRA adapter. Weights are quantised by bitsandbytes on both sides. Run it alone.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import transformers

from modelyard.catalog.spec import ModelSpec
from modelyard.engines.base import Engine
from modelyard.params import SamplingParams
from modelyard.pool import load_engine
from modelyard.types import Adapter, Request
from streams import our_round
from torch_engine import prompts, static

GAP = 0.001
WORDS = 32_000
SHAPES: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4},
    "1b": {"hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22, "num_attention_heads": 32,
           "num_key_value_heads": 4},
    "7b": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
           "num_key_value_heads": 8},
}  # fmt: skip
"""TinyLlama's and Mistral 7B's; tiny is for trying the script."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, default="7b")
    parser.add_argument("--streams", type=int, nargs="*", default=(1, 16, 64))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--warm", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--weights", nargs="*", default=("bfloat16", "8bit", "4bit"))
    parser.add_argument("--worker", action="store_true", help="our engine in a process of its own")
    given = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, transformers {transformers.__version__}, shape {given.shape}")
    with tempfile.TemporaryDirectory() as folder:
        files, adapter = Path(folder, "model"), Path(folder, "adapter")
        make(files, adapter, SHAPES[given.shape], device)
        exact: list[float] | None = None
        for weights in given.weights:
            found, scores = measured(files, adapter, weights, device, given)
            exact = exact or scores
            found["nats_from_first"] = round(
                max(abs(one - two) for one, two in zip(scores, exact, strict=True)), 4
            )
            print(json.dumps({"what": "gpu", "device": name, "shape": given.shape, **found}), flush=True)


def make(files: Path, adapter: Path, shape: dict[str, int], device: str) -> None:
    """The model and an adapter of it, as the Hub has them."""
    import peft

    tokenizer(files)
    config = transformers.LlamaConfig(vocab_size=WORDS, max_position_embeddings=4096, eos_token_id=0, **shape)
    with torch.device(device):
        torch.manual_seed(7)
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
        model.save_pretrained(files)
        low = peft.LoraConfig(
            r=16, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"
        )
        peft.get_peft_model(model, low).save_pretrained(adapter)
    del model
    free()


def tokenizer(files: Path) -> None:
    """Words for single bytes, and made-up ones up to the model's vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = ["</s>", *bytes_, *(f"w{at}" for at in range(WORDS - 1 - len(bytes_)))]
    made = Tokenizer(models.BPE(vocab={word: at for at, word in enumerate(words)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="</s>", pad_token="</s>"
    ).save_pretrained(files)


def measured(
    files: Path, adapter: Path, weights: str, device: str, given: argparse.Namespace
) -> tuple[dict[str, Any], list[float]]:
    """What these weights cost on both sides, and scores of ours."""
    free()
    how = {} if weights == "bfloat16" else {"quantization": weights}
    spec = {"alias": "m", "sources": [{"kind": "path", "path": str(files)}], "engine": "transformers", **how}
    began = time.perf_counter()
    options = {"dtype": "bfloat16", "device": device, "worker": given.worker}
    engine = load_engine(ModelSpec.model_validate(spec), options)
    found: dict[str, Any] = {
        "weights": weights,
        "worker": given.worker,
        "load_s": round(time.perf_counter() - began, 1),
    }
    found["weights_gib"] = round(engine.memory.weights / 2**30, 2)
    model = peer(files, weights, device)
    words = transformers.AutoTokenizer.from_pretrained(files, padding_side="left")
    for count in given.streams:
        ours, theirs = [], []
        for at in range(given.warm + given.rounds):
            texts = prompts(count, at)
            ours.append(asyncio.run(our_round(engine, texts, given.tokens, GAP))[0])
            theirs.append(static(model, words, texts, given.tokens))
        one, two = statistics.median(ours[given.warm :]), statistics.median(theirs[given.warm :])
        found[str(count)] = {"ours": round(one, 1), "generate": round(two, 1), "ratio": round(one / two, 3)}
    del model
    free()
    low = Adapter("low", str(adapter))
    plain, mixed = [], []
    for at in range(given.warm + given.rounds):
        plain.append(asyncio.run(adapted(engine, prompts(16, at), None, given.tokens)))
        mixed.append(asyncio.run(adapted(engine, prompts(16, at), low, given.tokens)))
    one, two = statistics.median(plain[given.warm :]), statistics.median(mixed[given.warm :])
    found["half_of_16_with_lora"] = round(two / one, 3)
    scores = asyncio.run(scored(engine))
    if device == "cuda":
        found["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    engine.close()
    return found, scores


def peer(files: Path, weights: str, device: str) -> Any:
    quantised: dict[str, Any] = {}
    if weights == "8bit":
        quantised["quantization_config"] = transformers.BitsAndBytesConfig(load_in_8bit=True)
    elif weights == "4bit":
        quantised["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    return transformers.AutoModelForCausalLM.from_pretrained(
        files, dtype=torch.bfloat16, device_map=device, **quantised
    ).eval()


async def adapted(engine: Engine, texts: list[str], adapter: Adapter | None, tokens: int) -> float:
    """Tokens a second with every second request on the adapter."""
    params = SamplingParams(max_new_tokens=tokens, min_new_tokens=tokens, temperature=0)
    began = time.perf_counter()

    async def one(at: int, text: str) -> None:
        request = Request(prompt=text, params=params, adapter=adapter if at % 2 else None)
        async for _ in engine.generate(request):
            pass

    await asyncio.gather(*(one(at, text) for at, text in enumerate(texts)))
    return tokens * len(texts) / (time.perf_counter() - began)


async def scored(engine: Engine) -> list[float]:
    """Scores of sixteen continuations, in nats a token."""
    asked = (engine.score(text, (" the end", " and so on")) for text in prompts(8, 0))
    return [one.total / len(one.token_ids) for many in await asyncio.gather(*asked) for one in many]


def free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


if __name__ == "__main__":
    main()
