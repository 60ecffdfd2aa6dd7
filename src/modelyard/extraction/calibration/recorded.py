"""Recorded: votes that were written down, a line of JSON for each thing that was asked about.

    {"document": "PMC1", "item": "20", "outcome": "Pain", "intervention": "Laser", "comparator": "Placebo",
     "gold": {"events": 3, "size": 30}, "votes": {"a": {"events": 3, "size": 30}, "b": {"events": null, "size": 30}}}

`gold` holds the right values, null where the document gives none; a vote of null is a vote. Texts beside the known
keys say what was asked: those whose key is part of a field's name describe that field (`comparator` the field
`comparator_size`), those whose key is part of none describe all. Where the documents' texts are there, each value
is looked for, and its quote is the line that holds it and most of those words.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from modelyard.errors import InvalidArgumentError, nearest
from modelyard.extraction.calibration.ballot import Ballot, Ballots, grouped
from modelyard.extraction.calibration.evidence import stems
from modelyard.extraction.context import line_around
from modelyard.extraction.ground import GroundingIndex, ground_all
from modelyard.extraction.merging.equality import same_value
from modelyard.extraction.result import Candidate
from modelyard.extraction.schema import Field

_KNOWN = ("document", "item", "gold", "votes")
_TYPES = ("number", "string", "boolean", "array", "object")
_ENDINGS = (".md", ".txt")
_HINT = 'A row is {"document": "a", "gold": {"eps": 1.2}, "votes": {"voter": {"eps": 1.2}}, …}.'


@dataclass(frozen=True, slots=True)
class Recorded:
    """Rows of recorded votes, and the texts of their documents.

    Attributes:
        rows: with the line of each.
        texts: by document; empty where no folder was given.
    """

    path: Path
    rows: tuple[tuple[int, dict[str, Any]], ...]
    texts: Mapping[str, GroundingIndex]
    sha256: str
    folder: Path | None = None

    @property
    def voters(self) -> tuple[str, ...]:
        """All that vote in any row, in the order in which they come."""
        return tuple(dict.fromkeys(who for _, row in self.rows for who in row["votes"]))

    def ballots(self, voters: Sequence[str], *, tolerance: float = 0.0) -> Ballots:
        """What these voters say; only the ballots in which at least one of them votes.

        Raises:
            InvalidArgumentError: no row has such a voter, or one is named twice.
        """
        for at, who in enumerate(voters):
            if who not in self.voters:
                known = ", ".join(self.voters)
                raise InvalidArgumentError(
                    f"{self.path} has no voter '{who}'.{nearest(who, self.voters)}", hint=f"It has {known}."
                )
            if who in voters[:at]:
                raise InvalidArgumentError(f"voter '{who}' is named twice", hint="Name each voter once.")
        found: list[Ballot] = []
        silent = absent = 0
        for number, row in self.rows:
            for name, gold in row["gold"].items():
                said = {who: row["votes"][who] for who in voters if who in row["votes"]}
                said = {who: answers for who, answers in said.items() if name in answers}
                absent += len(voters) - len(said)
                if not said:
                    silent += 1
                    continue
                found.append(self._ballot(number, row, name, gold, said, tolerance))
        left_out = []
        if silent:
            left_out.append(f"{silent} values that none of these voters says anything about")
        if absent - silent * len(voters):
            left_out.append(
                f"{absent - silent * len(voters)} votes that are not recorded; the others vote alone"
            )
        if self.folder and (missing := sorted({row["document"] for _, row in self.rows} - set(self.texts))):
            left_out.append(
                f"the grounding of {len(missing)} documents without a text in {self.folder}: {_some(missing)}"
            )
        if not self.folder:
            left_out.append("the grounding of all values: no texts were given")
        return Ballots(tuple(voters), tuple(found), tuple(left_out), self.sha256)

    def _ballot(
        self,
        number: int,
        row: dict[str, Any],
        name: str,
        gold: Any,
        said: Mapping[str, Any],
        tolerance: float,
    ) -> Ballot:
        of = Field(name, _type_of([gold, *(one[name] for one in said.values())]), _context(row, name) or None)
        index = self.texts.get(row["document"])
        quotes: dict[str, _Place] = {}
        candidates = []
        for who, answers in said.items():
            key = repr(answers[name])
            if key not in quotes:
                quotes[key] = _place(index, of, answers[name])
            place = quotes[key]
            status = (
                "not_found" if answers[name] is None else "ungrounded" if place.start is None else "found"
            )
            candidates.append(
                Candidate(who, row["document"], answers[name], status, place.quote, place.start, place.end)  # type: ignore[arg-type]
            )
        groups = grouped(of, candidates, tolerance)
        right = tuple(same_value(of, one[0].value, gold, tolerance) for one in groups)
        return Ballot(row["document"], str(row.get("item", number)), of, groups, right)


def read_recorded(path: Path, folder: Path | None = None) -> Recorded:
    """The recorded votes of a file.

    Args:
        path: JSON Lines as above.
        folder: where the documents' texts are, as `NAME`, `NAME.md` or `NAME.txt`.

    Raises:
        InvalidArgumentError: a row with a mistake; says file, line, key and what to do.
    """
    try:
        raw = path.read_bytes()
        lines = raw.decode("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"{path} cannot be read: {error}", hint="Check the path.") from None
    rows = tuple((number, _row(line, path, number)) for number, line in enumerate(lines, 1) if line.strip())
    if not rows:
        raise InvalidArgumentError(f"{path} has no rows", hint=_HINT)
    names = dict.fromkeys(row["document"] for _, row in rows)
    texts = {} if folder is None else dict(_texts(folder, list(names)))
    if folder is not None and not texts:
        raise InvalidArgumentError(
            f"{folder} has no text of any document of {path}",
            hint=f"A document named {next(iter(names))!r} is looked for as {next(iter(names))}.md or .txt.",
        )
    return Recorded(path, rows, texts, hashlib.sha256(raw).hexdigest(), folder)


def _row(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        _wrong(path, number, "is not JSON")
    if not isinstance(row, dict):
        _wrong(path, number, "is no JSON object")
    if not isinstance(row.get("document"), str):
        _wrong(
            path,
            number,
            f"'document' is {row.get('document')!r:.60}, no text"
            if "document" in row
            else _gone(row, "document"),
        )
    for key in ("gold", "votes"):
        if not isinstance(row.get(key), dict) or not row[key]:
            _wrong(
                path, number, f"'{key}' is {row[key]!r:.60}, no mapping" if key in row else _gone(row, key)
            )
    for who, answers in row["votes"].items():
        if not isinstance(answers, dict):
            _wrong(path, number, f"'votes' of '{who}' is {answers!r:.60}, no mapping of fields to values")
        for name in answers:
            if name not in row["gold"]:
                guess = nearest(name, row["gold"])
                _wrong(path, number, f"'votes' of '{who}' has field '{name}', which 'gold' does not.{guess}")
    return row


def _gone(row: Mapping[str, Any], key: str) -> str:
    rest = [one for one in row if one not in _KNOWN]
    return f"has no '{key}'.{nearest(key, rest)}"


def _wrong(path: Path, number: int, said: str) -> NoReturn:
    raise InvalidArgumentError(f"{path}:{number}: {said}", hint=_HINT)


def _texts(folder: Path, names: Sequence[str]) -> Iterator[tuple[str, GroundingIndex]]:
    if not folder.is_dir():
        raise InvalidArgumentError(
            f"{folder} is no folder", hint="Name the folder with the documents' texts."
        )
    for name in names:
        for path in (folder / name, *(folder / f"{name}{ending}" for ending in _ENDINGS)):
            if path.is_file():
                try:
                    yield name, GroundingIndex(path.read_text("utf-8"))
                except (OSError, UnicodeDecodeError) as error:
                    raise InvalidArgumentError(
                        f"{path} cannot be read: {error}", hint="Give it as UTF-8."
                    ) from None
                break


def _context(row: Mapping[str, Any], name: str) -> str:
    """What the row says about a field; a key that is part of another field's name alone is not about it."""
    texts = {key: one for key, one in row.items() if key not in _KNOWN and isinstance(one, str)}
    own = [one for key, one in texts.items() if key in name]
    shared = [one for key, one in texts.items() if not any(key in other for other in row["gold"])]
    return " ".join((*own, *shared))


@dataclass(frozen=True, slots=True)
class _Place:
    quote: str | None = None
    start: int | None = None
    end: int | None = None


def _place(index: GroundingIndex | None, of: Field, value: Any) -> _Place:
    """The line that holds a value and most of what the field is about; the first of equals."""
    if index is None or value is None or isinstance(value, bool | list | dict):
        return _Place()
    words = stems([of.description or of.name])
    best, most = _Place(), (-1, -1)
    text = index.text
    for span in ground_all(index, str(value), value=value):
        start, end = line_around(text, span.start, span.end)
        plain = not text[span.end : span.end + 2].lstrip().startswith("%") and text[span.end - 1] != "%"
        count = (int(plain), len(words & stems([text[start:end]])))
        if count > most:
            best, most = _Place(text[start:end], start, end), count
    return best


def _type_of(values: Sequence[Any]) -> str:
    kinds = {bool: "boolean", int: "number", float: "number", list: "array", dict: "object"}
    found = {kinds.get(type(one), "string") for one in values if one is not None}
    return found.pop() if len(found) == 1 else "string"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
