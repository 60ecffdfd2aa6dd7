"""Structured: one JSON value, compared field by field, or judged by whether it keeps its schema."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from modelyard.bench.compare import score_fields
from modelyard.bench.kinds.prompted import PROMPTED, PromptedTask
from modelyard.bench.outcome import Judgement, Outcome
from modelyard.bench.task import Asked, Sample, cut_short, generated
from modelyard.errors import SchemaError
from modelyard.extraction.taskfile import DataRow, TaskFile
from modelyard.llm import LLM

_KEYS = PROMPTED | {"schema", "enforce", "scorer", "tolerance"}
_ABOUT = {
    "fields": "Mean over the samples of the F1 of fields: of the values found and of those wanted, how many agree (numbers as decimals, dates as dates, case and white space folded, lists matched by assignment).",
    "validity": "The share of replies that are JSON and keep the schema, with no grammar to hold them to it.",
}
_FENCE = re.compile(r"\A\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)


class StructuredTask(PromptedTask):
    """One JSON value. `schema` is a JSON Schema, or the name of the column that has each row's own.

    `enforce: true` holds the reply to the schema by grammar, `false` lets the model write as it likes. `scorer` is
    `fields` (F1 against the column `answer`) or `validity` (does it keep the schema).
    """

    kind = "structured"

    def __init__(self, file: TaskFile) -> None:
        file.only(_KEYS)
        given = file.values.get("schema")
        if not isinstance(given, dict | str):
            raise file.error("there is no 'schema'", "schema", hint="A JSON Schema, or a column's name.")
        self._schema = given
        self._enforce = file.flag("enforce", True)
        self._scorer = file.text("scorer") or "fields"
        if self._scorer not in _ABOUT:
            raise file.error(
                f"key 'scorer' has value '{self._scorer}'", "scorer", hint=f"It is {' or '.join(_ABOUT)}."
            )
        if self._scorer == "validity" and self._enforce:
            raise file.error(
                "validity is scored of replies that are held to the schema", "enforce", hint="enforce: false."
            )
        self._tolerance = file.number("tolerance", 0.0)
        super().__init__(file, about=_ABOUT[self._scorer], max_tokens=512)

    def _given(self) -> frozenset[str]:
        return frozenset(("schema",))

    def _values(self, row: Mapping[str, Any]) -> dict[str, Any]:
        schema = self._of(row)
        return {**row, "schema": json.dumps(schema, ensure_ascii=False), "_schema": schema}

    def _of(self, row: Mapping[str, Any]) -> Any:
        return row.get(self._schema) if isinstance(self._schema, str) else self._schema

    def expected(self, row: DataRow, value: Any) -> Any:
        import jsonschema

        schema = self._of(row.values)
        try:
            jsonschema.Draft202012Validator.check_schema(schema)
            jsonschema.validate(value, schema)
        except jsonschema.SchemaError as error:
            raise self.file.row_error(
                row, f"its schema is none: {error.message:.120}", hint="Mend it."
            ) from None
        except jsonschema.ValidationError as error:
            raise self.file.row_error(
                row, f"the answer does not keep the schema: {error.message:.120}", hint="Mend one of them."
            ) from None
        return value

    async def ask(self, llm: LLM, sample: Sample, *, seed: int | None = None, exact: bool = False) -> Asked:
        held = {"schema": sample.values["_schema"]} if self._enforce else {}
        return await generated(llm, self.prompt(sample), max_tokens=self.max_tokens, **held, **self.how())

    def judge(self, sample: Sample, asked: Asked) -> Judgement:
        found, problem = read_json(asked.answer)
        if problem:
            if asked.finish == "length":
                return cut_short(asked)
            if not asked.answer.strip():
                return Judgement("not answered", 0.0, None, "the reply is empty")
            return Judgement("unreadable", 0.0, None, problem)
        broken = _broken(sample.values["_schema"], found)
        if self._scorer == "validity":
            agrees = score_fields(found, sample.expected, tolerance=self._tolerance).f1 == 1
            parts: dict[str, Outcome] = {
                "schema": "wrong" if broken else "right",
                "values": "right" if agrees else "wrong",
            }
            return Judgement("wrong" if broken else "right", float(not broken), found, broken, parts)
        score = score_fields(found, sample.expected, tolerance=self._tolerance)
        parts = {name: "wrong" if part == "extra" else part for name, part in score.parts.items()}
        wrong = [name for name, part in score.parts.items() if part != "right"]
        if score.found == 0 and score.expected:
            return Judgement("not answered", score.f1, found, "every field is null", parts)
        reason = broken or (f"not right: {', '.join(wrong[:8])}" if wrong else "")
        return Judgement("wrong" if wrong else "right", score.f1, found, reason, parts)


def read_json(reply: str) -> tuple[Any, str]:
    """The JSON value that a reply is, and what is wrong with it; a fence around it is taken off.

    >>> read_json('```json\\n{"a": 1}\\n```')
    ({'a': 1}, '')
    >>> read_json("Here it is: {}")[1]
    'the reply is no JSON: Expecting value, at character 0'
    """
    fenced = _FENCE.match(reply)
    try:
        return json.loads(fenced[1] if fenced else reply, parse_constant=_no_number), ""
    except SchemaError as error:
        return None, error.message
    except json.JSONDecodeError as error:
        return None, f"the reply is no JSON: {error.msg}, at character {error.pos}"
    except RecursionError:
        return None, "the reply is nested too deeply"


def _no_number(name: str) -> Any:
    raise SchemaError(f"the reply has {name}, which is no JSON", hint="")


def _broken(schema: Any, found: Any) -> str:
    import jsonschema

    checker = jsonschema.Draft202012Validator(
        schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    error = jsonschema.exceptions.best_match(checker.iter_errors(found))
    if error is None:
        return ""
    place = "/".join(str(step) for step in error.absolute_path)
    return f"at '{place}': {error.message:.200}" if place else f"{error.message:.200}"
