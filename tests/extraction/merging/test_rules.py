"""Rules: what may stand in them, and errors that name key, value and remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelyard.errors import InvalidArgumentError, SchemaError
from modelyard.extraction.merging.rules import MergeRules, matches, read_rules
from modelyard.extraction.taskfile import TaskFile


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"strategy": "agrement"}, "strategy has value 'agrement'. Did you mean 'agreement'?"),
        ({"margin": 1.5}, "margin has value 1.5"),
        ({"margin": True}, "margin has value True"),
        ({"tolerance": -1}, "tolerance has value -1"),
        ({"priority": 3}, "priority has value 3"),
        ({"priority": {"eps": [1]}}, "priority: 'eps' has value [1]"),
        ({"weights": {"a": "high"}}, "weights: 'a' has value 'high'"),
        ({"weights": ["a"]}, "weights has value ['a']"),
    ],
)
def test_a_wrong_value_is_named_with_its_key(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        MergeRules(**given)
    assert said in raised.value.message and raised.value.hint
    with pytest.raises(InvalidArgumentError) as raised:
        read_rules(given)
    assert said in raised.value.message


def test_a_wrong_key_is_named_with_the_nearest() -> None:
    with pytest.raises(InvalidArgumentError, match=r"'merge' has 'priorities'\. Did you mean 'priority'"):
        read_rules({"priorities": []})


@pytest.mark.parametrize("given", [3, ["auto"], None])
def test_rules_that_are_no_mapping_are_refused(given: object) -> None:
    with pytest.raises(InvalidArgumentError, match="'merge' has value"):
        read_rules(given)


def test_a_task_files_mistake_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text("name: t\nmerge:\n  strategy: auto\n  margin: much\n")
    file = TaskFile(path)
    with pytest.raises(SchemaError, match=r"task\.yaml:4: merge: margin has value 'much'"):
        read_rules(file.values["merge"], file.error)


def test_a_fields_own_list_goes_before_that_of_all() -> None:
    rules = read_rules({"priority": {"*": ["*.pdf"], "eps": "statement*"}})
    assert (rules.patterns("eps"), rules.patterns("revenue")) == (("statement*",), ("*.pdf",))


def test_a_strategy_alone_may_be_its_name() -> None:
    assert read_rules("agreement") == MergeRules("agreement")


def test_a_pattern_is_of_the_whole_name_or_its_last_part() -> None:
    assert matches("2020/q1/statement.html", "statement*")
    assert matches("2020/q1/statement.html", "2020/*")
    assert not matches("2020/q1/statement.html", "q1*")
