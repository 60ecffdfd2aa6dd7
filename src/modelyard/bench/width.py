"""Width: how many samples are asked at once."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.bench.task import BenchTask, Sample, as_text
from modelyard.catalog.memory.facts import of_path
from modelyard.catalog.memory.footprint import Workload
from modelyard.catalog.memory.verdict import largest_batch
from modelyard.catalog.plan import run_how
from modelyard.catalog.pull import find_local
from modelyard.extraction.ask import PASSAGE_TOKENS
from modelyard.llm import LLM

MOST = 64
"""More at once makes no engine here faster; measured on a CPU, and a GPU's engine waits for nobody at this width."""
ELSEWHERE = 16  # of a server whose memory is not known
SCORES = 16  # prompts that wait, so that those of like length are read in one pass
_CHARACTERS = 3  # a token, at least: numbers and tables have fewer
_ANSWER = 512


def widest(llm: LLM, task: BenchTask, samples: Sequence[Sample]) -> int:
    """As many as the memory of the pool holds beside the model, at most `MOST`.

    The prediction is that of `modelyard plan`: weights, KV cache and activations of so many requests with the
    longest prompt of the samples.
    """
    if task.work == "score":
        return SCORES
    if llm.spec.elsewhere:
        return max(1, ELSEWHERE // task.requests)
    model = find_local(llm.spec)
    engine = next((row.engine for row in llm.pool.status() if row.alias == llm.spec.alias), "")
    if model is None or not engine:
        return MOST
    facts = of_path(model.path, model.revision)
    limit = facts.architecture.context_length if facts.architecture else 0
    tokens = min(_longest(task, samples), limit or PASSAGE_TOKENS + _ANSWER)
    work = Workload(1, max(2, tokens), min(_ANSWER, tokens // 2))
    found = largest_batch(facts, run_how(llm.spec, engine, facts), llm.pool.memory_budget, work)
    # 0 is said where too little is known of the architecture, too: it was loaded, so one fits.
    most = min(MOST, found) if facts.architecture else ELSEWHERE
    return max(1, most // task.requests)


def _longest(task: BenchTask, samples: Sequence[Sample]) -> int:
    """Tokens of the longest prompt with its answer, guessed by its characters."""
    prompt = getattr(task, "prompt", None)
    if prompt is None:
        return PASSAGE_TOKENS + 2 * _ANSWER
    return max(len(as_text(prompt(one))) for one in samples) // _CHARACTERS + _ANSWER
