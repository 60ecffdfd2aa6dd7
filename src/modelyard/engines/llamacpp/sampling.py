"""Our sampling parameters as llama.cpp's server takes them."""

from __future__ import annotations

import secrets
from typing import Any

from modelyard.params import SamplingParams
from modelyard.types import Warning

NEUTRAL: dict[str, Any] = {
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "min_keep": 0,
    "repeat_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "repeat_last_n": 0,
    "typical_p": 1.0,
    "top_n_sigma": -1.0,
    "xtc_probability": 0.0,
    "dynatemp_range": 0.0,
    "dry_multiplier": 0.0,
    "mirostat": 0,
    "adaptive_target": -1.0,
    "n_keep": 0,
    "n_indent": 0,
    "t_max_predict_ms": -1,
    "cache_prompt": True,
    "post_sampling_probs": False,
}
"""Every parameter where it changes nothing: the server's own defaults cut, penalise and limit."""

_PROMPT_COUNTS = Warning(
    "penalties_count_prompt",
    "llama.cpp applies presence_penalty and frequency_penalty to the prompt's tokens as well",
)
_SEEDS = 2**32 - 1  # the highest number of 32 bits asks llama.cpp for a random seed


def sampling(params: SamplingParams, context: int) -> tuple[dict[str, Any], tuple[Warning, ...]]:
    """The fields of a request, and warnings.

    Penalties look back over the whole context, prompt included; the order is that of transformers:
    penalties, temperature, top-k, top-p, min-p.
    """
    body = dict(NEUTRAL)
    steps = []
    if (params.repetition_penalty, params.presence_penalty, params.frequency_penalty) != (1.0, 0.0, 0.0):
        steps.append("penalties")
        body["repeat_penalty"] = params.repetition_penalty
        body["presence_penalty"] = params.presence_penalty
        body["frequency_penalty"] = params.frequency_penalty
        body["repeat_last_n"] = context
    steps.append("temperature")
    if params.greedy:
        body["temperature"] = 0.0
    else:
        body["temperature"] = params.temperature
        body["top_k"], body["top_p"], body["min_p"] = params.top_k, params.top_p, params.min_p
        steps += [
            name
            for name, used in (("top_k", params.top_k), ("top_p", params.top_p < 1), ("min_p", params.min_p))
            if used
        ]
    body["samplers"] = steps
    body["seed"] = secrets.randbelow(_SEEDS) if params.seed is None else params.seed % _SEEDS
    counted = params.presence_penalty or params.frequency_penalty
    return body, ((_PROMPT_COUNTS,) if counted else ())


def later_seed(seed: int) -> int:
    """The seed of an answer's second part, which has a sampler of its own."""
    return (seed * 6364136223846793005 + 1442695040888963407) % _SEEDS
