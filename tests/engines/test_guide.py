"""Guides: what llguidance accepts, token by token, is what the grammar says."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.engines.test_grammar import SOUND, Reader

from modelyard.engines.grammar import Grammar, check_answer, compile_constraint
from modelyard.engines.transformers.guide import Guide, Guides, allow, apply, bits
from modelyard.errors import EngineError, SchemaError, UnsupportedError
from modelyard.types import Constraint

VOCABULARY = 49_160  # eight logits more than there are tokens
EOS = (2, 0)


@pytest.fixture(scope="module")
def tokenizer(smollm2_tokenizer: Any) -> Any:
    return smollm2_tokenizer


@pytest.fixture(scope="module")
def guides(tokenizer: Any) -> Guides:
    return Guides(tokenizer, VOCABULARY, EOS)


def allowed(guide: Guide) -> set[int]:
    """The tokens that may come next."""
    row = bits(1, guide.size)[0]
    guide.mask(row)
    octets = row.numpy().view(np.uint8)
    return {int(at) for at in np.flatnonzero(np.unpackbits(octets, bitorder="little"))}


def accepts(guides: Guides, tokenizer: Any, constraint: Constraint, text: str) -> bool:
    """Whether the text's tokens, and then the end, are allowed one after the other."""
    guide = guides.open(compile_constraint(constraint))
    ids = tokenizer(text, add_special_tokens=False).input_ids
    for token in (*ids, EOS[0]):
        if token not in allowed(guide):
            return False
        guide.accept(token)
    return guide.finished


def writable(tokenizer: Any, text: str) -> bool:
    """Whether the tokenizer has tokens for the text; it has none for some of UTF-8's bytes."""
    return bool(tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text)


def walk(guides: Guides, tokenizer: Any, grammar: Grammar, draw: random.Random) -> str:
    """A text written by choosing among what is allowed; after a while what leads to the end is preferred."""
    guide = guides.open(grammar)
    made: list[int] = []
    closing = tokenizer.convert_tokens_to_ids([*'"]}:0n', "null", "b"])
    while not guide.finished:
        ways = allowed(guide)
        assert ways, "there is a way on"
        assert ways & set(EOS) == (set(EOS) if guide.allows_end else set())
        late = len(made) > 25
        if guide.allows_end and (late or draw.random() < 0.2):
            break
        ends = [token for token in closing if late and token in ways]
        made.append(draw.choice(ends or sorted(ways - set(EOS))))
        guide.accept(made[-1])
    return str(tokenizer.decode(made))


# Constraints at random

_KEYS = st.sampled_from(["a", "b", 'q"\\', "é", "a-b"])


def _bounded(kind: str, least: str, most: str, top: int) -> st.SearchStrategy[dict[str, Any]]:
    pairs = st.tuples(st.integers(0, top), st.integers(0, top)).map(sorted)
    return st.one_of(
        st.just({"type": kind}), pairs.map(lambda pair: {"type": kind, least: pair[0], most: pair[1]})
    )


_SCALARS = st.one_of(
    st.sampled_from(
        [{}, {"type": "null"}, {"type": "boolean"}, {"type": "string", "pattern": '^[a-c"]{1,3}$'}]
    ),
    st.sampled_from([{"const": "x"}, {"enum": ["x", 1, 1.5, {"a": [1, "x"]}, []]}, {"$ref": "#/$defs/node"}]),
    st.sampled_from([{"type": "string", "format": name} for name in ("date", "uuid", "ipv4")]),
    _bounded("string", "minLength", "maxLength", 40),
    _bounded("integer", "minimum", "maximum", 2000),
    _bounded("number", "minimum", "maximum", 30),
)
_SCHEMAS = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.tuples(inner, _bounded("array", "minItems", "maxItems", 3)).map(
            lambda pair: {**pair[1], "items": pair[0]}
        ),
        st.lists(inner, min_size=1, max_size=2).map(lambda parts: {"anyOf": parts}),
        st.tuples(st.dictionaries(_KEYS, inner, max_size=3), st.sets(_KEYS)).map(
            lambda pair: {
                "type": "object",
                "properties": pair[0],
                "required": sorted(pair[1] & pair[0].keys()),
                "additionalProperties": False,
            }
        ),
        inner.map(lambda one: {"type": "object", "additionalProperties": one}),
    ),
    max_leaves=6,
)
_NODE = {
    "type": "object",
    "properties": {"v": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
    "required": ["v"],
    "additionalProperties": False,
}
_REGEXES = st.sampled_from(
    [r"a(b|c\d)[^\w\n]{2,3}?", r"^(yes|no|yesno)$", r"((a|b?)*c*)*d", r"[a-z]{0,200}", ".{3,40}", "[^é]",
     r"\W\D\S[^\d\s]\w\s", "[é-ü一-龥]{2,6}😀", r"(?:ab){17,35}", r"[\s\S]{2}", r"(x{3}){0,5}", r"^a|b$",
     r"[\]\[^\-/]+", r"a?", r"\d+(\.\d+)?", "a*ab"]
)  # fmt: skip
_PRINTED = st.characters(categories=("L", "N", "P", "S"))
CONSTRAINTS = st.one_of(
    _SCHEMAS.map(lambda schema: Constraint(schema={**schema, "$defs": {"node": _NODE}})),
    _REGEXES.map(lambda regex: Constraint(regex=regex)),
    st.lists(st.text(_PRINTED, min_size=1, max_size=5), min_size=1, max_size=5, unique=True).map(
        lambda choices: Constraint(choices=tuple(choices))
    ),
)


@settings(max_examples=100, deadline=None)
@given(constraint=CONSTRAINTS, seed=st.integers(0, 2**32))
def test_a_walk_through_what_is_allowed_ends_in_an_answer_that_passes_the_check(
    guides: Guides, tokenizer: Any, constraint: Constraint, seed: int
) -> None:
    text = walk(guides, tokenizer, compile_constraint(constraint), random.Random(seed))
    assert check_answer(constraint, text) is None, text


@settings(max_examples=200, deadline=None)
@given(constraint=CONSTRAINTS, seed=st.integers(0, 2**32), change=st.integers(0, 2**32))
def test_a_text_is_accepted_exactly_where_the_other_engines_grammar_has_it(
    guides: Guides, tokenizer: Any, constraint: Constraint, seed: int, change: int
) -> None:
    reader = Reader(compile_constraint(constraint).text)
    text = reader.sentence(random.Random(seed))
    other = _changed(text, random.Random(change))
    assume(writable(tokenizer, text) and writable(tokenizer, other))
    assert accepts(guides, tokenizer, constraint, text), text
    assert accepts(guides, tokenizer, constraint, other) == reader.accepts(other), other


def _changed(text: str, draw: random.Random) -> str:
    """The text with a character more, less or other."""
    at = draw.randrange(len(text) + 1)
    return (
        text[:at] + draw.choice(["", "1", '"', ",", "}", "]", "x", "é", " "]) + text[at + draw.randrange(2) :]
    )


@pytest.mark.parametrize("schema", SOUND, ids=json.dumps)
def test_the_schemas_of_the_other_tests_have_the_same_sentences(
    guides: Guides, tokenizer: Any, schema: dict[str, Any]
) -> None:
    constraint = Constraint(schema=schema)
    grammar = compile_constraint(constraint)
    reader = Reader(grammar.text)
    for seed in range(4):
        text = reader.sentence(random.Random(seed))
        assert accepts(guides, tokenizer, constraint, text) or not writable(tokenizer, text), text
    assert check_answer(constraint, walk(guides, tokenizer, grammar, random.Random(1))) is None


STRING = {"type": "string"}
NAMES = [f"p{number:04}" for number in range(1900)]


@pytest.mark.parametrize(
    "constraint",
    [
        Constraint(schema={"type": "object", "properties": dict.fromkeys(NAMES, STRING)}),
        Constraint(schema={"type": "object", "properties": dict.fromkeys(NAMES, STRING), "required": NAMES}),
        Constraint(schema={"type": "object", "properties": {**dict.fromkeys(NAMES, STRING), "rest": {}}}),
        Constraint(schema={"enum": [f"{number} {'x' * 55}" for number in range(1000)]}),
        Constraint(choices=tuple(f"{number} {'x' * 55}" for number in range(1000))),
        Constraint(schema={"type": "string", "minLength": 9_000, "maxLength": 10_000}),
        Constraint(schema={"type": "array", "items": {"type": "array"}, "minItems": 5, "maxItems": 100_000}),
        Constraint(regex="(?:ab|c){0,50000}"),
        Constraint(regex="|".join(f".*{number:04}.*" for number in range(1000))),
    ],
    ids=["optional", "required", "recursive", "enum", "choices", "length", "items", "count", "alternatives"],
)
def test_a_large_constraint_is_followed_at_every_step(guides: Guides, constraint: Constraint) -> None:
    grammar = compile_constraint(constraint)
    assert len(grammar.lark) < 2 * len(grammar.text) + 1000
    guide, draw = guides.open(grammar), random.Random(3)
    for _ in range(60):
        ways = sorted(allowed(guide) - set(EOS))
        assert guide.error is None
        if not ways:
            break
        guide.accept(draw.choice(ways))


def test_a_grammar_too_involved_at_some_place_says_so_and_allows_the_end_alone(guides: Guides) -> None:
    guide, draw = (
        guides.open(compile_constraint(Constraint(regex="(?:.*a.{1,300}){1,300}"))),
        random.Random(2),
    )
    while guide.error is None:
        ways = allowed(guide)
        if guide.error is None:
            guide.accept(draw.choice(sorted(ways - set(EOS))))
    assert isinstance(guide.error, SchemaError)
    assert allowed(guide) == set(EOS)
    other = guides.open(compile_constraint(Constraint(choices=("yes",))))
    assert other.error is None


def test_a_grammar_that_is_refused_is_a_schema_error(guides: Guides) -> None:
    grammar = compile_constraint(Constraint(regex="never used elsewhere"))
    grammar.__dict__["lark"] = "start: missing_rule\n"
    with pytest.raises(SchemaError, match="missing_rule"):
        guides.open(grammar)


def test_every_way_to_write_what_has_to_come_is_allowed(guides: Guides, tokenizer: Any) -> None:
    guide = guides.open(compile_constraint(Constraint(choices=("yes",))))
    assert allowed(guide) == set(tokenizer.convert_tokens_to_ids(["y", "ye", "yes"]))


def test_a_special_token_is_never_text(guides: Guides, tokenizer: Any) -> None:
    guide = guides.open(compile_constraint(Constraint(regex="[^a]+")))
    ways = allowed(guide)
    assert not ways & set(tokenizer.all_special_ids)
    assert max(ways) < len(tokenizer) < VOCABULARY
    assert len(ways) > 20_000


def test_every_end_is_allowed_exactly_where_the_answer_is_whole(guides: Guides, tokenizer: Any) -> None:
    yes, no = tokenizer.convert_tokens_to_ids(["yes", "no"])
    for end in EOS:
        guide = guides.open(compile_constraint(Constraint(choices=("yes", "yesno"))))
        assert not allowed(guide) & set(EOS)
        assert not guide.allows_end
        guide.accept(yes)
        assert allowed(guide) >= {*EOS, no}
        assert guide.allows_end
        assert not guide.finished
        guide.accept(end)
        assert guide.finished


def test_an_answer_that_nothing_can_follow_is_finished(guides: Guides, tokenizer: Any) -> None:
    guide = guides.open(compile_constraint(Constraint(choices=("yes", "no"))))
    guide.accept(tokenizer.convert_tokens_to_ids("yes"))
    assert guide.finished
    assert guide.allows_end


def test_a_token_against_the_grammar_is_an_error(guides: Guides, tokenizer: Any) -> None:
    guide = guides.open(compile_constraint(Constraint(choices=("yes", "no"))))
    with pytest.raises(EngineError, match="does not follow"):
        guide.accept(tokenizer.convert_tokens_to_ids("maybe"))


def test_two_answers_under_one_grammar_do_not_share_their_place(guides: Guides, tokenizer: Any) -> None:
    grammar = compile_constraint(Constraint(choices=("yes", "no")))
    one, other = guides.open(grammar), guides.open(grammar)
    one.accept(tokenizer.convert_tokens_to_ids("yes"))
    assert not other.finished
    assert allowed(other) == allowed(guides.open(grammar))


def test_scores_are_kept_where_a_bit_is_set_and_nowhere_else() -> None:
    rows = bits(2, 70)
    rows[1] = 0
    rows[1, 0], rows[1, 2] = 5, 1 << 5
    scores = torch.arange(140.0).view(2, 70)
    apply(scores, rows)
    assert torch.equal(scores[0], torch.arange(70.0))
    assert scores[1].isfinite().nonzero().flatten().tolist() == [0, 2, 69]
    assert scores[1, [0, 2, 69]].tolist() == [70.0, 72.0, 139.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("at", [[0, 1, 2], [1]])
def test_rows_with_a_guide_are_held_to_it_and_the_others_are_left(
    guides: Guides, at: list[int], dtype: torch.dtype
) -> None:
    chosen = [guides.open(compile_constraint(Constraint(choices=(f"{row}",)))) for row in at]
    scores = torch.zeros((3, VOCABULARY), dtype=dtype)
    allow(scores, at, chosen)
    for row in range(3):
        kept = set(scores[row].isfinite().nonzero().flatten().tolist())
        assert kept == (allowed(chosen[at.index(row)]) if row in at else set(range(VOCABULARY)))


@pytest.mark.parametrize(
    ("constraint", "spaced", "text"),
    [
        (Constraint(choices=("yes", "no")), True, "yes"),
        (Constraint(choices=("yes", "no")), False, "yes"),
        (Constraint(schema={"type": "boolean"}), True, "true"),
        (Constraint(schema={"enum": ["x", "y"]}), True, '"x"'),
    ],
)
def test_one_space_before_the_answer_is_allowed_where_it_is_not_part_of_the_text(
    tokenizer: Any, constraint: Constraint, spaced: bool, text: str
) -> None:
    stripping = Guides(tokenizer, VOCABULARY, EOS, strips_space=True)
    assert accepts(stripping, tokenizer, constraint, " " * spaced + text)
    assert not accepts(stripping, tokenizer, constraint, "  " + text)


def test_a_space_that_the_grammar_asks_for_is_not_the_one_taken_off(tokenizer: Any) -> None:
    stripping = Guides(tokenizer, VOCABULARY, EOS, strips_space=True)
    constraint = Constraint(regex=" ?yes| no")
    found = [text for text in ("yes", " yes", "  yes", "no", " no", "  no")
             if accepts(stripping, tokenizer, constraint, text)]  # fmt: skip
    assert found == ["yes", " yes", "  yes", "  no"]


def test_a_tokenizer_whose_bytes_nobody_knows_is_refused() -> None:
    class Unknown:
        def __len__(self) -> int:
            return 5

    with pytest.raises(UnsupportedError, match="Unknown cannot be held"):
        Guides(Unknown(), 5, [0])


def test_a_model_without_an_end_is_refused(tokenizer: Any) -> None:
    with pytest.raises(UnsupportedError, match="no token that ends"):
        Guides(tokenizer, VOCABULARY, [])
