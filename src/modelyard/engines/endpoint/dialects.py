"""Dialects: what servers take beyond OpenAI's protocol, and under which names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from modelyard.engines.base import MOST_TOP_LOGPROBS
from modelyard.types import LogprobOf


@dataclass(slots=True, frozen=True)
class Dialect:
    """How one kind of server is talked to.

    Attributes:
        name: as option `dialect` takes it.
        owner: `owned_by` in its list of models.
        parameters: our names of sampling parameters beyond the protocol's, with the server's.
        grammar: where a grammar of ours goes: `structured_outputs` (vLLM), `grammar` (llama.cpp), or nowhere.
        tokenizer: which routes count tokens.
        token_ids: it tells the ids of the tokens when `return_token_ids` is set.
        free_logprobs: of which distribution its logprobs are, in an answer of free form.
        bound_logprobs: likewise in one of a set form.
        seeds: how many seeds it tells apart.
        keeps: a connection can be used again; llama.cpp's server closes one without a word 5 s after it was
            opened, and a request that was just sent on it is lost.
        top_logprobs: the most of the likeliest tokens that it lists at a place.
        chosen_counts: the token that was chosen is among them, whether or not it is one of the likeliest.
        logprobs_with_tools: it gives logprobs also where tools are offered.
        exact_minimum: a least number of tokens can be kept only where it is the largest too.
    """

    name: str
    owner: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    grammar: Literal["structured_outputs", "grammar", ""] = ""
    tokenizer: Literal["vllm", "llamacpp", ""] = ""
    token_ids: bool = False
    free_logprobs: LogprobOf = "unknown"
    bound_logprobs: LogprobOf = "unknown"
    seeds: int = 2**63
    keeps: bool = True
    top_logprobs: int = MOST_TOP_LOGPROBS
    chosen_counts: bool = False
    logprobs_with_tools: bool = True
    exact_minimum: bool = False


STANDARD = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "stop")
"""The protocol's own sampling parameters, under our names."""

_OPENAI = Dialect("openai")
_AS_VLLM = {
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repetition_penalty",
    "min_new_tokens": "min_tokens",
}
_VLLM = Dialect(
    "vllm",
    owner="vllm",
    parameters=_AS_VLLM,
    grammar="structured_outputs",
    tokenizer="vllm",
    token_ids=True,
    chosen_counts=True,
    free_logprobs="model",
    bound_logprobs="masked",
)
_LLAMACPP = Dialect(
    "llamacpp",
    owner="llamacpp",
    parameters={"top_k": "top_k", "min_p": "min_p", "repetition_penalty": "repeat_penalty"},
    grammar="grammar",
    tokenizer="llamacpp",
    free_logprobs="model",
    bound_logprobs="model",
    seeds=2**32 - 1,  # the largest 32-bit number asks for a random one
    keeps=False,
    logprobs_with_tools=False,
    exact_minimum=True,
)
_SGLANG = Dialect("sglang", owner="sglang", parameters=_AS_VLLM)
_OURS = Dialect("modelyard", parameters=_AS_VLLM, tokenizer="vllm")
_TGI = Dialect("tgi", owner="tgi", free_logprobs="model", top_logprobs=5)
_OLLAMA = Dialect("ollama", owner="library", seeds=2**31)

DIALECTS: dict[str, Dialect] = {
    one.name: one for one in (_OPENAI, _OURS, _VLLM, _LLAMACPP, _SGLANG, _TGI, _OLLAMA)
}


def by_owner(owner: str) -> Dialect:
    """The dialect of a server that lists its models as this one's.

    >>> by_owner("vllm").grammar
    'structured_outputs'
    """
    return next((one for one in DIALECTS.values() if one.owner == owner), _OPENAI)
