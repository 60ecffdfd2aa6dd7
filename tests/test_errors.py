"""The tree of errors and its table."""

from __future__ import annotations

import copy
import pickle
import re

import pytest

import modelyard.errors as errors
from modelyard.errors import TABLE, CatalogError, ModelyardError, conduct, nearest


def subclasses(cls: type[ModelyardError]) -> list[type[ModelyardError]]:
    own = [cls] if cls.__module__ == errors.__name__ else []
    return own + [found for one in cls.__subclasses__() for found in subclasses(one)]


TREE = subclasses(ModelyardError)
each = pytest.mark.parametrize("cls", TREE, ids=lambda cls: cls.__name__)


@each
def test_every_error_has_its_own_row(cls: type[ModelyardError]) -> None:
    assert conduct(cls("what happened")) is TABLE[cls]


def test_the_table_has_no_row_for_what_is_no_error() -> None:
    assert set(TABLE) == set(TREE)


def test_an_error_of_a_stranger_takes_the_row_of_its_nearest_ancestor() -> None:
    class OwnError(errors.IntegrityError):
        pass

    assert conduct(OwnError("x")) is TABLE[errors.IntegrityError]


@each
def test_an_error_survives_pickling_whole(cls: type[ModelyardError]) -> None:
    error = cls("what happened", hint="what to do")
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is cls
        assert (twin.message, twin.hint, str(twin)) == (error.message, error.hint, str(error))


def test_a_catalogue_error_keeps_its_file_and_line_when_pickled() -> None:
    twin = pickle.loads(pickle.dumps(CatalogError("bad", file="models.yaml", line=7)))
    assert (twin.file, twin.line, twin.message) == ("models.yaml", 7, "models.yaml:7: bad")


@each
def test_an_error_shows_its_hint_under_its_message(cls: type[ModelyardError]) -> None:
    assert str(cls("what happened", hint="do this")) == "what happened\ndo this"
    assert str(cls("what happened", hint="")) == "what happened"


@each
def test_statuses_and_exit_codes_are_ones_that_say_failure(cls: type[ModelyardError]) -> None:
    row = TABLE[cls]
    assert 400 <= row.http_status <= 599
    assert 1 <= row.exit_code <= 255


def test_the_tree_that_is_drawn_is_the_tree_that_is() -> None:
    drawn: list[tuple[str, str | None]] = []
    stack: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.fullmatch(r"    ([│├└─ ]*)(\w+Error)", line):
            del stack[len(match[1]) // 4 :]
            drawn.append((match[2], stack[-1] if stack else None))
            stack.append(match[2])
    real = {cls.__name__: None if cls is ModelyardError else cls.__bases__[0].__name__ for cls in TREE}
    assert len(drawn) == len(real) and dict(drawn) == real


def test_nearest_offers_what_is_near_and_nothing_else() -> None:
    assert nearest("smolm2", ["smollm2", "gpt2"]) == " Did you mean 'smollm2'?"
    assert nearest("zzz", ["smollm2", "gpt2"]) == ""
