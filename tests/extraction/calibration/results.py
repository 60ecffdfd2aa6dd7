"""A result of several documents with two voters each, as `extract` writes it, and its labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from tests.extraction.calibration.ballots import EPS, read

from modelyard.extraction.merging.rules import MergeRules
from modelyard.extraction.merging.settle import settle
from modelyard.extraction.result import DocumentResult, Extraction
from modelyard.extraction.schema import read_schema

SCHEMA = read_schema(
    {"name": "figures", "fields": {"eps": {"type": "number", "description": EPS.description}}}
)


def result(documents: int = 30, seed: int = 0) -> tuple[dict[str, Any], dict[str, float]]:
    """The result as plain data, and the right value of each document."""
    rng = np.random.default_rng(seed)
    found, labels = [], {}
    for number in range(documents):
        name = f"d{number}.html"
        labels[name] = 1.25 + number
        said = [labels[name] if rng.random() < share else 0.5 for share in (0.9, 0.7)]
        candidates = [read(who, value) for who, value in zip("ab", said, strict=True)]
        fields = {"eps": settle(EPS, candidates, MergeRules(weights={"a": 2.0}))}
        found.append(DocumentResult(name, "0" * 64, fields, (), 0.1, "", "text"))
    extraction = Extraction("figures", tuple(found), None, SCHEMA, voters=("a", "b"))
    return extraction.to_dict(text=True), labels


def written(folder: Path, documents: int = 30) -> tuple[Path, Path]:
    """The result and its labels as files."""
    data, labels = result(documents)
    (folder / "result.json").write_text(json.dumps(data))
    rows = [json.dumps({"document": name, "labels": {"eps": value}}) for name, value in labels.items()]
    (folder / "labels.jsonl").write_text("\n".join(rows) + "\n")
    return folder / "result.json", folder / "labels.jsonl"
