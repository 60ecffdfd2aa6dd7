"""Labelled: the ballots of a result of `modelyard extract`, with labels from a file, a review, or a task's data."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from modelyard.errors import InvalidArgumentError
from modelyard.extraction.calibration.ballot import Ballot, Ballots, Group, grouped
from modelyard.extraction.merging.equality import same_value
from modelyard.extraction.result import Candidate, read_field
from modelyard.extraction.review.sheet import Item, Sheet
from modelyard.extraction.review.truth import Truth
from modelyard.extraction.task import Task


def ballots_of(sheet: Sheet, truth: Truth) -> Ballots:
    """The ballots of a result: of each record, and of each document that belongs to none.

    The value of a ballot is the result's own, however it was settled. Documents of one record are not independent,
    so the record stands for them.

    Args:
        sheet: the result.
        truth: its labels.

    Raises:
        InvalidArgumentError: the result keeps no candidates.
    """
    missing: Counter[str] = Counter()
    found = [one for unit in sheet.units for one in _of_unit(unit, truth, missing)]
    if not found:
        why = ", ".join(f"{count} values {said}" for said, count in missing.items()) or "it has no fields"
        raise InvalidArgumentError(
            f"{sheet.source} has nothing to calibrate on: {why}",
            hint="Give a result of `modelyard extract … --out FILE` with the labels of its documents.",
        )
    voters = dict.fromkeys(one.voter for ballot in found for of in ballot.groups for one in of)
    known = json.dumps(
        [sheet.digest, sorted(map(repr, truth.labels.items())), sorted(map(repr, truth.wrong.items()))]
    )
    names = {name for unit in sheet.units for item in unit for name in (item.name, *item.documents)}
    unused = sorted({name for name, _ in (*truth.labels, *truth.wrong)} - names)
    left_out = [f"{count} values {said}" for said, count in missing.items()]
    if unused:
        left_out.append(
            f"the labels of {len(unused)} documents that the result does not have: {', '.join(unused[:3])}"
        )
    return Ballots(tuple(voters), tuple(found), tuple(left_out), hashlib.sha256(known.encode()).hexdigest())


def truth_of(task: Task, sheet: Sheet) -> Truth:
    """The labels of a task's own data, by the names that the result's documents have.

    A document is found by its id, its path, or the last part of its path.

    Raises:
        InvalidArgumentError: the task has no labelled documents, or none of them is in the result.
    """
    if not task.documents:
        raise InvalidArgumentError(
            f"task '{task.name}' has no labelled documents", hint="Give --labels, or name them in its 'data'."
        )
    by_name: dict[str, Mapping[str, Any]] = {}
    for one in task.documents:
        by_name |= {one.path.name: one.labels, str(one.path): one.labels}
    by_name |= {one.id: one.labels for one in task.documents}
    labels: dict[tuple[str, str], Any] = {}
    for document in sheet.documents:
        name = str(document["document"])
        found = by_name.get(name, by_name.get(PurePath(name).name, {}))
        labels |= {(name, of): value for of, value in found.items()}
    if not labels:
        raise InvalidArgumentError(
            f"{sheet.source} has no document of task '{task.name}'",
            hint=f"The task's documents are {', '.join(one.id for one in task.documents[:3])}, …",
        )
    return Truth(labels, {}, task.tolerance)


def read_labels(path: Path, sheet: Sheet, *, tolerance: float = 0.0) -> Truth:
    """The labels of a file of labels or of a review's corrections.

    Raises:
        InvalidArgumentError: a row with a mistake, or no row is about the result.
    """
    from modelyard.extraction.review.truth import read_truth

    found = read_truth(path, tolerance=tolerance)
    fields = {one.name for one in sheet.fields}
    strange = sorted({of for _, of in found.labels} - fields)
    if strange and not fields & {of for _, of in found.labels}:
        raise InvalidArgumentError(
            f"{path}: field '{strange[0]}' is none of {sheet.source}",
            hint=f"Its fields are {', '.join(sorted(fields))}.",
        )
    return found


def _of_unit(unit: tuple[Item, ...], truth: Truth, missing: Counter[str]) -> Iterator[Ballot]:
    for item in unit:
        result = read_field(item.result)
        if result.status == "unresolved":
            missing["that nothing settled, which have no confidence"] += 1
            continue
        groups = grouped(item.field, result.candidates, truth.tolerance)
        at = _settled(item, groups, result.value, truth.tolerance)
        if at is None:
            missing["that no voter gives" if result.candidates else "that keep no candidates"] += 1
            continue
        right = tuple(_right(item, of[0], truth) for of in groups)
        if right[at] is None:
            missing["that no label is about"] += 1
            continue
        yield Ballot(item.name, item.name, item.field, groups, right, at)


def _settled(item: Item, groups: tuple[Group, ...], value: Any, tolerance: float) -> int | None:
    same = [at for at, of in enumerate(groups) if same_value(item.field, of[0].value, value, tolerance)]
    return same[0] if same else None


def _right(item: Item, one: Candidate, truth: Truth) -> bool | None:
    return truth.is_right(replace(item, result={**item.result, "value": one.value}))
