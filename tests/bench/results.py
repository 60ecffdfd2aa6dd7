"""Results of benchmarks that never ran: realistic, drawn at random from a seed, for the tests of the report."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from statistics import NormalDist
from typing import Any

from modelyard.bench.outcome import OUTCOMES

MODELS = ("qwen2.5-coder-1.5b", "gemma3-270m", "smollm2-135m")
EARNINGS, ABSTRACTS = "eps_extraction", "pubmedqa"
_WORDS = (
    *(
        "net",
        "income",
        "per",
        "share",
        "basic",
        "diluted",
        "quarter",
        "ended",
        "three",
        "months",
        "revenue",
        "and",
    ),
    *(
        "compared",
        "with",
        "prior",
        "year",
        "the",
        "company",
        "reported",
        "earnings",
        "of",
        "patients",
        "was",
        "in",
    ),
    *("randomised", "placebo", "outcome", "group", "treatment", "for", "to"),
)
_TASKS: dict[str, dict[str, Any]] = {
    EARNINGS: {
        "title": "Earnings per share",
        "kind": "extraction",
        "about": "The share of values that are right: a value counts where it is within 0.005 of its label.",
        "weight": 1.0,
        "source": "SEC EDGAR, 10-Q filings and 8-K releases, 2020 to 2024",
        "licence": "public domain (works of the issuers, filed with the SEC)",
    },
    ABSTRACTS: {
        "title": "PubMedQA",
        "kind": "choice",
        "about": "Accuracy: yes, no or maybe, the choice that the model finds likeliest.",
        "weight": 2.0,
        "source": "PubMedQA, PQA-L test split (Jin et al. 2019)",
        "licence": "MIT",
    },
}


def make_result(
    models: Sequence[str] = MODELS,
    *,
    samples: int = 40,
    repeats: int = 1,
    failed: Sequence[str] = (),
    prompt: int = 400,
    tokens: bool = True,
    seed: int = 0,
) -> dict[str, Any]:
    """A result with two tasks.

    Args:
        models: their aliases, from the best to the worst.
        samples: of each task.
        repeats: how often each is asked.
        failed: models beyond these that could not be loaded.
        prompt: characters of each, about.
        tokens: whether answers come with their tokens.
        seed: of all that is drawn.
    """
    drawn = random.Random(seed)
    rows = [
        row
        for task in _TASKS
        for at in range(samples)
        for row in _asked(drawn, task, at, models, repeats, prompt, tokens=tokens)
    ]
    tasks = [_task(name, rows, models, samples) for name in _TASKS]
    return {
        "format": 1,
        "run": {
            "name": "Small models on filings and abstracts",
            "description": "Which small model reads numbers out of filings, and answers from abstracts, on two cores.",
            "created": "2026-03-01T14:05:00+00:00",
            "modelyard": "0.1.0",
            "machine": {"cpu": "Intel Xeon Gold 6338", "cores": 2, "memory": 16_789_000_000},
            "seed": seed,
            "repeats": repeats,
            "exact": False,
            "limit": None,
            "level": 0.95,
        },
        "score": "mean",
        "models": [_model(name, at, rows, models) for at, name in enumerate(models)]
        + [_failed(name) for name in failed],
        "tasks": tasks,
        "comparisons": [_compared(rows, None, *pair) for pair in combinations(models, 2)],
        "samples": rows,
    }


def _asked(
    drawn: random.Random,
    task: str,
    at: int,
    models: Sequence[str],
    repeats: int,
    length: int,
    *,
    tokens: bool,
) -> list[dict[str, Any]]:
    words = [f"{drawn.choice(_WORDS)} {drawn.randrange(10**5)}" for _ in range(length // 12)]
    prompt = f"Filing {at}: {' '.join(words)}\n\nWhat is asked of {task}?"
    hard = drawn.random()
    label: Any = (
        {"eps_basic": round(drawn.uniform(-2, 4), 2), "eps_diluted": round(drawn.uniform(-2, 4), 2)}
        if task == EARNINGS
        else drawn.choice(["yes", "no", "maybe"])
    )
    return [
        _answered(
            drawn,
            task,
            at,
            model,
            repeat,
            prompt,
            label,
            skill=0.95 - 0.13 * place - 0.4 * hard,
            tokens=tokens,
        )
        for place, model in enumerate(models)
        for repeat in range(repeats)
    ]


def _answered(
    drawn: random.Random,
    task: str,
    at: int,
    model: str,
    repeat: int,
    prompt: str,
    label: Any,
    *,
    skill: float,
    tokens: bool,
) -> dict[str, Any]:
    outcome = "right" if drawn.random() < skill else drawn.choices(OUTCOMES[1:], (60, 14, 12, 8, 6))[0]
    found, answer, reason = _judged(drawn, outcome, label)
    written: list[list[Any]] = []
    if tokens and task == ABSTRACTS and answer:
        weights = [drawn.expovariate(1) for _ in range(3)]
        choices = sorted(("yes", "no", "maybe"), key=lambda one: one != answer)
        totals = sorted((-weight for weight in weights), reverse=True)
        written = [[choice, total] for choice, total in zip(choices, totals, strict=True)]
    elif tokens:
        written = [[answer[at : at + 4], -drawn.expovariate(2)] for at in range(0, len(answer), 4)]
    return {
        "model": model,
        "task": task,
        "sample": f"{task.split('_')[0]}-{at:04}",
        "document": f"000095017{at // 2:04}.txt",
        "repeat": repeat,
        "outcome": outcome,
        "score": 1.0 if outcome == "right" else 0.0,
        "prompt": prompt,
        "answer": answer,
        "expected": label,
        "found": found,
        "reason": reason,
        "parts": dict.fromkeys(label, outcome) if isinstance(label, dict) else {},
        "tokens": written,
        "seconds": round(drawn.uniform(0.2, 3.0), 3),
        "warnings": ["the answer was cut at 64 tokens"] if outcome == "cut short" else [],
    }


def _judged(drawn: random.Random, outcome: str, label: Any) -> tuple[Any, str, str]:
    """What was found, what was written, and why it was judged so."""
    if outcome == "failed":
        return None, "", "EngineCrashedError: the engine's process ended"
    if outcome == "not answered":
        return None, "The text does not report it.", "the model says that there is none"
    if isinstance(label, str):
        found = label if outcome == "right" else next(one for one in ("yes", "no", "maybe") if one != label)
        return found, found, ""
    if outcome in ("unreadable", "cut short"):
        return None, '{"eps_basic": 1.4, "eps_dil', "no JSON can be read"
    found = label if outcome == "right" else {**label, "eps_diluted": round(drawn.uniform(-2, 4), 2)}
    text = f'{{"eps_basic": {found["eps_basic"]}, "eps_diluted": {found["eps_diluted"]}}}'
    return (
        found,
        text,
        "" if outcome == "right" else f"eps_diluted: {found['eps_diluted']} is not {label['eps_diluted']}",
    )


def _estimate(scores: Sequence[float]) -> dict[str, Any]:
    """Wilson's interval."""
    count, z = len(scores), NormalDist().inv_cdf(0.975)
    share = sum(scores) / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return {"value": share, "low": centre - half, "high": centre + half}


def _scores(rows: Sequence[dict[str, Any]], model: str, task: str | None = None) -> list[float]:
    return [row["score"] for row in rows if row["model"] == model and task in (None, row["task"])]


def _model(name: str, at: int, rows: Sequence[dict[str, Any]], models: Sequence[str]) -> dict[str, Any]:
    final = _estimate(_scores(rows, name))
    best = [_estimate(_scores(rows, one)) for one in models[: at + 1]]
    rank = next(place for place, one in enumerate(best, 1) if one["low"] <= final["high"])
    speed = 1 + 1.7 * (len(models) - at)
    return {
        "alias": name,
        "display_name": name.replace("-", " ").title(),
        "rank": rank,
        "final_score": final,
        "fingerprint": {
            "model": name,
            "source": f"hub:{name}",
            "revision": "f86cb2c1fa58255f8052cc32aeede1b7482d4361",
            "engine": "openvino",
            "engine_version": "2026.4.0",
            "precision": "Q4_K_M, fast",
            "adapter": None,
        },
        "error": None,
        "skipped": {},
        "load_seconds": 0.4 * speed,
        "peak_memory": int(210e6 * speed),
        "seconds": 12.0 * speed,
        "tasks": {task: _ran(rows, name, task, rank, speed) for task in _TASKS},
    }


def _ran(rows: Sequence[dict[str, Any]], name: str, task: str, rank: int, speed: float) -> dict[str, Any]:
    mine = [row for row in rows if row["model"] == name and row["task"] == task]
    counts = Counter(row["outcome"] for row in mine)
    parts = {field: dict(counts) for field in ("eps_basic", "eps_diluted")} if task == EARNINGS else {}
    return {
        "score": {**_estimate([row["score"] for row in mine]), "method": "Wilson"},
        "rank": rank,
        "outcomes": {one: counts[one] for one in OUTCOMES},
        "samples": len(mine),
        "missing": 0,
        "seconds_per_sample": 0.21 * speed,
        "tokens_per_sample": 332.0,
        "tokens_per_second": 332 / (0.21 * speed),
        "prompt_tokens": 320 * len(mine),
        "completion_tokens": 12 * len(mine),
        "parts": parts,
        "drift": {
            "samples": 10,
            "changed_outcomes": 0,
            "changed_answers": 1,
            "largest_logprob_difference": 0.0312,
        },
    }


def _failed(name: str) -> dict[str, Any]:
    return {
        "alias": name,
        "display_name": name,
        "rank": None,
        "final_score": None,
        "fingerprint": None,
        "error": f"model {name!r}: there is no file or folder /models/{name}.gguf\nCheck 'path' in the catalogue.",
        "skipped": {},
        "load_seconds": None,
        "peak_memory": None,
        "seconds": 0.1,
        "tasks": {},
    }


def _task(name: str, rows: Sequence[dict[str, Any]], models: Sequence[str], samples: int) -> dict[str, Any]:
    return {
        "name": name,
        **_TASKS[name],
        "samples": samples,
        "documents": math.ceil(samples / 2),
        "smallest_difference": 1.2 / math.sqrt(samples),
        "comparisons": [_compared(rows, name, *pair) for pair in combinations(models, 2)],
    }


def _compared(rows: Sequence[dict[str, Any]], task: str | None, first: str, second: str) -> dict[str, Any]:
    pairs = list(zip(_scores(rows, first, task), _scores(rows, second, task), strict=True))
    difference = sum(one - other for one, other in pairs) / len(pairs)
    discordant = sum(one != other for one, other in pairs)
    error = max(math.sqrt(discordant) / len(pairs), 1e-9)
    p = 2 * (1 - NormalDist().cdf(abs(difference) / error))
    return {
        "a": first,
        "b": second,
        "difference": difference,
        "low": difference - 1.96 * error,
        "high": difference + 1.96 * error,
        "p": p,
        "p_holm": min(1.0, 3 * p),
        "test": "exact McNemar",
        "told_apart": 3 * p < 0.05,
    }
