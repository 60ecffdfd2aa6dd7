"""Samples, packed for the page: a compact index of all, and blocks with their texts that are unpacked on demand.

A browser reads the index when the page opens. What is long (prompts, answers, tokens) stands in blocks of about
a hundred answers, each as gzip in base64, and a prompt stands there once for all models that were given it.
"""

from __future__ import annotations

import base64
import gzip
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.bench.outcome import OUTCOMES
from modelyard.bench.report.figures import brief, shortened, value
from modelyard.extraction.pages.markup import script_json

BLOCK = 100
"""How many answers a block has, about: all answers to one question stand in the same."""

_SHORT = 60  # characters of a value in the list
_IMPOSSIBLE = -100.0  # stands for the logarithm of 0, which JSON cannot say


@dataclass(slots=True, frozen=True)
class Packed:
    """What the page carries of the samples: the index as JSON, the blocks as base64."""

    index: str
    blocks: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class _Question:
    """One sample of a task, with all answers to it in the order of models and repeats."""

    task: int
    name: str
    answers: tuple[Mapping[str, Any], ...]

    @property
    def first(self) -> Mapping[str, Any]:
        """The answer whose prompt and label stand for all."""
        return self.answers[0]


def pack(result: Mapping[str, Any]) -> Packed:
    """The samples of a result as the page carries them.

    >>> pack({"models": [], "tasks": [], "samples": []}).blocks
    ()
    """
    models = {model["alias"]: at for at, model in enumerate(result["models"])}
    questions = _questions(result, models)
    blocks = _blocks(questions)
    answers = [(at, one) for at, question in enumerate(questions) for one in question.answers]
    outcomes = {outcome: at for at, outcome in enumerate(OUTCOMES)}
    index = {
        "questions": {
            "task": [one.task for one in questions],
            "sample": [one.name for one in questions],
            "document": [str(one.first["document"]) for one in questions],
            "expected": [_short(one.first["expected"], one.first) for one in questions],
            "block": [at for at, block in enumerate(blocks) for _ in block],
        },
        "answers": {
            "question": [at for at, _ in answers],
            "model": [models[one["model"]] for _, one in answers],
            "repeat": [one["repeat"] for _, one in answers],
            "outcome": [outcomes[one["outcome"]] for _, one in answers],
            "score": [_number(one["score"]) for _, one in answers],
            "found": [_short(one["found"], one) for _, one in answers],
        },
    }
    return Packed(script_json(index), tuple(_texts(blocks)))


def _short(given: Any, answer: Mapping[str, Any]) -> str:
    return shortened(brief(given, answer["expected"]), _SHORT)


def _questions(result: Mapping[str, Any], models: Mapping[str, int]) -> list[_Question]:
    """All answers by question: in the order of the tasks, then as they come."""
    tasks = {task["name"]: at for at, task in enumerate(result["tasks"])}
    found: dict[tuple[int, str], list[Mapping[str, Any]]] = {}
    for one in result.get("samples", ()):
        found.setdefault((tasks[one["task"]], str(one["sample"])), []).append(one)
    return [
        _Question(task, name, tuple(sorted(answers, key=lambda one: (models[one["model"]], one["repeat"]))))
        for (task, name), answers in sorted(found.items(), key=lambda item: item[0][0])
    ]


def _blocks(questions: Iterable[_Question]) -> list[list[_Question]]:
    blocks: list[list[_Question]] = []
    room = 0
    for question in questions:
        if room <= 0:
            blocks.append([])
            room = BLOCK
        blocks[-1].append(question)
        room -= len(question.answers)
    return blocks


def _texts(blocks: Iterable[Sequence[_Question]]) -> Iterator[str]:
    """The blocks, packed; each says with which question and answer it begins."""
    first_question = first_answer = 0
    for block in blocks:
        questions = [_question(one) for one in block]
        answers = [_answer(one, question.first) for question in block for one in question.answers]
        texts = {
            "question": first_question,
            "answer": first_answer,
            "questions": questions,
            "answers": answers,
        }
        packed = gzip.compress(script_json(texts).encode(), compresslevel=6, mtime=0)
        yield base64.b64encode(packed).decode()
        first_question += len(questions)
        first_answer += len(answers)


def _question(question: _Question) -> dict[str, Any]:
    return {"prompt": question.first["prompt"], "expected": _long(question.first["expected"])}


def _answer(one: Mapping[str, Any], first: Mapping[str, Any]) -> dict[str, Any]:
    packed = {
        "answer": one["answer"],
        "found": _long(one["found"]),
        "reason": one["reason"],
        "parts": one["parts"],
        "texts": [text for text, _ in one["tokens"]],
        "logprobs": [_logprob(logprob) for _, logprob in one["tokens"]],
        "seconds": _number(one["seconds"]),
        "warnings": one["warnings"],
    }
    if one["prompt"] != first["prompt"]:
        packed["prompt"] = one["prompt"]
    return packed


def _long(given: Any) -> str | dict[str, str]:
    """A value for the detail: of fields without others inside each as text, else all of it as text."""
    if isinstance(given, Mapping) and not any(
        isinstance(one, Mapping | list | tuple) for one in given.values()
    ):
        return {str(name): value(one) for name, one in given.items()}
    return value(given, wide=True)


def _logprob(logprob: float | None) -> float | None:
    if logprob is None or math.isnan(logprob):
        return None
    return round(max(logprob, _IMPOSSIBLE), 4)


def _number(given: float | None) -> float | None:
    return None if given is None or not math.isfinite(given) else round(given, 4)
