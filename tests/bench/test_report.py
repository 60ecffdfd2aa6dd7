"""The report: all of a result is in it, nothing of a sample is lost, and nothing of it runs."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from itertools import combinations, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.bench.results import ABSTRACTS, EARNINGS, MODELS, make_result

from modelyard.bench.outcome import OUTCOMES
from modelyard.bench.report import standings
from modelyard.bench.report.labels import Box, place
from modelyard.bench.report.markdown import render_markdown
from modelyard.bench.report.page import render_page
from modelyard.bench.report.plot import Point, scatter
from modelyard.bench.report.samples import BLOCK, pack
from modelyard.errors import InvalidArgumentError

HOSTILE = (
    "</script><script>alert(1)</script><!-- <img src=x onerror=alert(2)> {{ 77*77 }} & \"quotes\" 'too' | `x`"
)
ODD = "\0 \ud83d half, \U0001f600 whole, \u202e turned, \u2028 line, ]]> &amp; </SCRIPT "


class Reader(HTMLParser):
    """Reads the page as a browser would."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = attributes, text + data
        elif self.cdata_elem is None:
            self.text += data

    @property
    def words(self) -> str:
        return " ".join(self.text.split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def script(self, name: str) -> Any:
        return json.loads(next(text for attributes, text in self.scripts if attributes.get("id") == name))

    def blocks(self) -> list[dict[str, Any]]:
        packed = [text for attributes, text in self.scripts if attributes.get("class") == "block"]
        return [json.loads(gzip.decompress(base64.b64decode(one))) for one in packed]


def hostile(text: str = HOSTILE) -> dict[str, Any]:
    """A result in which everything that is text is this one."""
    result = make_result(samples=3, failed=["broken"])
    result["run"].update(name=text, description=text, modelyard=text, created=text)
    result["run"]["machine"]["cpu"] = text
    for model in result["models"]:
        model["display_name"] = text
        model["error"] = model["error"] and text
        model["fingerprint"] = model["fingerprint"] and dict.fromkeys(model["fingerprint"], text)
        for task in model["tasks"].values():
            task["parts"] = {text: {"right": 1}}
            task["score"]["method"] = text
    for task in result["tasks"]:
        task.update(title=text, about=text, kind=text, source=text, licence=text)
        for one in task["comparisons"]:
            one["test"] = text
    for row in result["samples"]:
        row.update(prompt=text, answer=text, expected=text, found=text, reason=text, document=text)
        row.update(tokens=[[text, -0.5]], warnings=[text], parts={text: "right"})
    return result


# -- what is in it -----------------------------------------------------------------------------------------


def test_every_model_and_every_task_is_on_the_page() -> None:
    result = make_result()
    words = Reader(render_page(result)).words
    for model in result["models"]:
        final = model["final_score"]
        assert model["display_name"] in words
        assert f"{final['value']:.3f} {final['low']:.3f}–{final['high']:.3f}" in words
        assert model["fingerprint"]["revision"] in words
    for task in result["tasks"]:
        assert all(task[one] in words for one in ("title", "about", "source", "licence"))


def test_the_outcomes_of_every_model_are_there_in_words() -> None:
    result = make_result()
    words = Reader(render_page(result)).words
    counts = result["models"][0]["tasks"][EARNINGS]["outcomes"]
    said = " ".join(f"{standings.SIGNS[one]} {counts[one]} {one}" for one in OUTCOMES if counts[one])
    assert said in re.sub(r"([✓✗–?…!])(\d)", r"\1 \2", words)


@pytest.mark.parametrize("render", [render_page, render_markdown])
def test_a_model_that_could_not_be_loaded_says_why(render: Any) -> None:
    text = render(make_result(failed=["broken-7b"]))
    words = Reader(text).words if render is render_page else text
    assert "broken-7b" in words
    assert "could not be run" in words
    assert "there is no file or folder /models/broken-7b.gguf" in words


@pytest.mark.parametrize("render", [render_page, render_markdown])
def test_a_result_in_which_every_model_failed_can_be_shown(render: Any) -> None:
    result = make_result(samples=1)
    failed = make_result(samples=1, failed=MODELS)["models"][len(MODELS) :]
    result.update(models=failed, samples=[])
    for task in result["tasks"]:
        task["comparisons"], task["smallest_difference"] = [], None
    text = render(result)
    assert all(name in text for name in MODELS)
    assert "No model ran this task." in text


@pytest.mark.parametrize("render", [render_page, render_markdown])
def test_a_task_that_a_model_did_not_run_is_left_open(render: Any) -> None:
    result = make_result()
    del result["models"][1]["tasks"][ABSTRACTS]
    result["tasks"][1]["comparisons"] = [
        one for one in result["tasks"][1]["comparisons"] if MODELS[1] not in (one["a"], one["b"])
    ]
    result["samples"] = [
        row for row in result["samples"] if (row["model"], row["task"]) != (MODELS[1], ABSTRACTS)
    ]
    text = render(result)
    assert text.count(result["models"][1]["display_name"]) > 0
    if render is render_page:
        assert "not run" in Reader(text).words


@pytest.mark.parametrize("render", [render_page, render_markdown])
def test_what_a_model_did_not_do_is_said_with_the_reason(render: Any) -> None:
    result = make_result()
    skipping, stopping = result["models"][1], result["models"][2]
    del skipping["tasks"][ABSTRACTS]
    skipping.update(rank=None, skipped={ABSTRACTS: "its engine gives no logprobs"})
    stopping.update(error="out of memory")
    stopping["tasks"][EARNINGS]["missing"] = 7
    text = render(result)
    words = Reader(text).words if render is render_page else text
    assert "its engine gives no logprobs" in words
    assert "stopped early: out of memory" in words
    assert "7 samples" in words
    assert "did not answer every task that others did" in words


@pytest.mark.parametrize("render", [render_page, render_markdown])
def test_the_final_scores_are_compared_too(render: Any) -> None:
    result = make_result()
    alone = {**result, "comparisons": []}
    assert (
        render(result).count("Which can be told apart") == render(alone).count("Which can be told apart") + 1
    )


@pytest.mark.parametrize("render", [render_page, render_markdown])
def test_a_result_without_its_samples_is_shown_without_them(render: Any) -> None:
    result = make_result(samples=2)
    del result["samples"]
    assert MODELS[0] in render(result)


@pytest.mark.parametrize("render", [render_page, render_markdown])
def test_models_that_share_a_rank_are_said_to_be_alike(render: Any) -> None:
    result = make_result(["a", "b", "c", "d"])
    for model, rank in zip(result["models"], (1, 2, 2, 4), strict=True):
        model["rank"] = rank
    text = render(result)
    assert "2–3 cannot be told apart" in text
    assert text.count("cannot be told apart") == 2  # and once in the note on ranks


def test_groups_go_by_rank_and_then_by_score() -> None:
    result = make_result(["a", "b", "c"], failed=["d"])
    for model, rank, value in zip(result["models"], (3, 1, 1), (0.1, 0.5, 0.6), strict=False):
        model.update(rank=rank, final_score={"value": value, "low": 0, "high": 1})
    found = standings.groups(result["models"])
    assert [(one.places, [model["alias"] for model in one.models]) for one in found] == [
        ("1–2", ["c", "b"]),
        ("3", ["a"]),
        ("–", ["d"]),
    ]


def test_a_comparison_is_mirrored_for_the_other_model() -> None:
    task = make_result()["tasks"][0]
    one, other = MODELS[:2]
    there, back = (standings.comparison(task["comparisons"], *pair) for pair in ((one, other), (other, one)))
    assert there and back
    assert (back["difference"], back["low"], back["high"]) == (
        -there["difference"],
        -there["high"],
        -there["low"],
    )
    assert standings.comparison(task["comparisons"], one, "nobody") is None


def test_costs_over_several_tasks_weigh_by_samples_and_tokens() -> None:
    task = {
        "samples": 10,
        "seconds_per_sample": 1.0,
        "tokens_per_second": 10.0,
        "prompt_tokens": 60,
        "completion_tokens": 40,
    }
    other = {
        "samples": 30,
        "seconds_per_sample": 2.0,
        "tokens_per_second": 50.0,
        "prompt_tokens": 300,
        "completion_tokens": 200,
    }
    unknown = {
        "samples": 5,
        "seconds_per_sample": None,
        "tokens_per_second": None,
        "prompt_tokens": 0,
        "completion_tokens": 0,
    }
    model = {"tasks": {"a": task, "b": other, "c": unknown}}
    assert standings.cost(model, "seconds_per_sample") == pytest.approx(1.75)
    assert standings.cost(model, "tokens_per_second") == pytest.approx(600 / 20)
    assert standings.cost({"tasks": {}}, "seconds_per_sample") is None


def test_two_models_of_one_display_name_are_told_apart_by_their_aliases() -> None:
    result = make_result(["a", "b"])
    for model in result["models"]:
        model["display_name"] = "Same"
    words = Reader(render_page(result)).words
    assert "Same (a)" in words and "Same (b)" in words


@pytest.mark.parametrize("render", [render_page, render_markdown])
def test_the_legacy_score_says_its_formula(render: Any) -> None:
    assert "0.9 × quality + 0.1 × efficiency" in render({**make_result(samples=2), "score": "legacy"})


@pytest.mark.parametrize("render", [render_page, render_markdown])
def test_a_result_of_another_format_is_refused_with_what_to_do(render: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="format 2; this modelyard reads 1") as refused:
        render({**make_result(samples=1), "format": 2})
    assert "run.modelyard" in refused.value.hint


@pytest.mark.parametrize("render", [render_page, render_markdown])
def test_figures_that_are_not_numbers_become_a_dash(render: Any) -> None:
    result = make_result(samples=2)
    nan = float("nan")
    model = result["models"][0]
    model.update(load_seconds=nan, peak_memory=None, final_score={"value": nan, "low": nan, "high": nan})
    model["tasks"][EARNINGS]["score"].update(value=0.5, low=nan, high=nan)
    model["tasks"][EARNINGS].update(tokens_per_second=nan, seconds_per_sample=float("inf"))
    result["tasks"][0]["comparisons"][0].update(difference=nan, low=nan, high=nan, p=nan, p_holm=nan)
    for row in result["samples"]:
        row.update(score=nan, seconds=nan, found=nan, tokens=[["a", nan], ["b", float("-inf")], ["c", None]])
    text = render(result)
    assert not re.search(r"\bnan\b|\binf\b", Reader(text).text)
    if render is render_page:
        assert Reader(text).script("index")["answers"]["score"] == [None] * len(result["samples"])
        assert Reader(text).blocks()[0]["answers"][0]["logprobs"] == [None, -100, None]


# -- what may not happen -----------------------------------------------------------------------------------


def test_nothing_hostile_becomes_an_element() -> None:
    tame = Reader(render_page(hostile(re.sub(r"\S", "x", HOSTILE))))
    reader = Reader(render_page(hostile()))
    assert [tag for tag, _ in reader.elements] == [tag for tag, _ in tame.elements]
    assert not reader.all("img")
    assert not [key for _, attributes in reader.elements for key in attributes if key.startswith("on")]
    assert "5929" not in reader.text.replace(HOSTILE, "")


def test_the_page_asks_for_nothing_outside_and_runs_only_its_own_script() -> None:
    reader = Reader(render_page(make_result(samples=2)))
    policy = next(one["content"] for one in reader.all("meta") if one.get("http-equiv"))
    script = next(text for attributes, text in reader.scripts if not attributes)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy is not None
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy
    assert not [key for _, attributes in reader.elements for key in attributes if key in ("src", "style-src")]
    assert all((link["href"] or "").startswith("#") for link in reader.all("a"))
    assert not reader.all("link")


def test_every_link_within_the_page_has_its_target() -> None:
    reader = Reader(render_page(make_result(samples=2)))
    targets = {attributes["id"] for _, attributes in reader.elements if "id" in attributes}
    assert {(link["href"] or "")[1:] for link in reader.all("a")} <= targets


def test_a_page_with_odd_characters_everywhere_can_be_written_as_utf_8() -> None:
    page = render_page(hostile(ODD))
    assert "\0" not in page
    page.encode("utf-8")
    render_markdown(hostile(ODD)).encode("utf-8")


@given(st.lists(st.text(st.characters()), min_size=1, max_size=6))
def test_no_character_of_a_sample_is_lost(texts: list[str]) -> None:
    result = make_result(["a"], samples=len(texts), prompt=10)
    rows = result["samples"][: len(texts)]
    for row, text in zip(rows, texts, strict=True):
        row.update(prompt=text, answer=text, found=text, reason=text, tokens=[[text, -1.0]], warnings=[text])
    index, blocks = unpacked({**result, "samples": rows})
    assert [one["prompt"] for block in blocks for one in block["questions"]] == texts
    answers = [one for block in blocks for one in block["answers"]]
    for name in ("answer", "found", "reason"):
        assert [one[name] for one in answers] == texts
    assert (
        [one["texts"] for one in answers]
        == [one["warnings"] for one in answers]
        == [[text] for text in texts]
    )
    assert len(index["answers"]["found"]) == len(texts)


def unpacked(result: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    packed = pack(result)
    return json.loads(packed.index), [
        json.loads(gzip.decompress(base64.b64decode(one))) for one in packed.blocks
    ]


def test_the_half_characters_of_a_sample_survive_the_page() -> None:
    result = make_result(["a"], samples=1)
    result["samples"][0].update(prompt=ODD, sample=ODD)
    reader = Reader(render_page(result))
    assert reader.blocks()[0]["questions"][0]["prompt"] == ODD
    assert reader.script("index")["questions"]["sample"][0] == ODD


# -- how samples are packed --------------------------------------------------------------------------------


def test_a_prompt_is_kept_once_for_all_models() -> None:
    result = make_result(["a", "b", "c"], samples=5)
    _, blocks = unpacked(result)
    assert sum(len(block["questions"]) for block in blocks) == 10
    assert not [one for block in blocks for one in block["answers"] if "prompt" in one]


def test_a_prompt_that_only_one_model_was_given_is_kept_with_its_answer() -> None:
    result = make_result(["a", "b"], samples=1)
    result["samples"][1]["prompt"] = "in its own words"
    _, blocks = unpacked(result)
    assert [one.get("prompt") for one in blocks[0]["answers"]] == [None, "in its own words", None, None]


@pytest.mark.parametrize("repeats", [1, 3])
def test_a_question_and_all_its_answers_stand_in_one_block(repeats: int) -> None:
    result = make_result(samples=70, repeats=repeats, tokens=False)
    index, blocks = unpacked(result)
    assert len(blocks) > 1
    for number, block in enumerate(blocks):
        first, last = block["question"], block["question"] + len(block["questions"])
        assert index["questions"]["block"][first:last] == [number] * (last - first)
        mine = index["answers"]["question"][block["answer"] : block["answer"] + len(block["answers"])]
        assert set(mine) == set(range(first, last))
        assert len(block["answers"]) < BLOCK + 3 * repeats
    assert sum(len(block["answers"]) for block in blocks) == len(result["samples"])


def test_samples_in_any_order_make_the_same_page() -> None:
    result = make_result(["a", "b"], samples=4, repeats=2)
    turned = {
        **result,
        "samples": sorted(result["samples"], key=lambda row: (row["task"], row["sample"], -row["repeat"])),
    }
    turned["samples"].sort(key=lambda row: row["model"], reverse=True)
    turned["samples"].sort(key=lambda row: row["sample"])
    assert unpacked(turned) == unpacked(result)


def test_what_is_read_at_once_is_a_small_share_of_a_large_page() -> None:
    result = make_result(samples=200, prompt=1500)
    packed = pack(result)
    texts = sum(len(row["prompt"]) + len(row["answer"]) for row in result["samples"])
    assert len(packed.index) < 90 * len(result["samples"])
    assert sum(map(len, packed.blocks)) < texts / 3


def test_the_fields_of_a_value_are_named_in_the_detail_and_short_in_the_list() -> None:
    result = make_result(["a"], samples=1)
    result["samples"][0].update(expected={"x": 1.0, "y": None}, found={"y": "n/a", "x": 2})
    index, blocks = unpacked(result)
    assert index["questions"]["expected"][0] == "1 · –"
    assert index["answers"]["found"][0] == "2 · n/a"
    assert blocks[0]["answers"][0]["found"] == {"y": "n/a", "x": "2"}


# -- the plot ----------------------------------------------------------------------------------------------

costs = st.floats(0.001, 10_000)
shares = st.floats(0, 1)


@st.composite
def points(draw: st.DrawFn, most: int = 12) -> list[Point]:
    values = draw(st.lists(st.tuples(costs, shares, shares, shares), min_size=1, max_size=most))
    return [
        Point(f"a-model-of-{at}b", at, cost, sorted(three)[1], min(three), max(three))
        for at, (cost, *three) in enumerate(values)
    ]


@settings(deadline=None, max_examples=40)
@given(points(), st.sampled_from([(548.0, 340.0), (356.0, 320.0)]))
def test_no_label_of_a_plot_covers_another_or_leaves_it(
    given_: list[Point], size: tuple[float, float]
) -> None:
    plot = scatter(given_, "time", str, size=size)
    boxes = [mark.label.box for mark in plot.marks if mark.label]
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    assert all(plot.frame.holds(box) for box in boxes)
    for mark in plot.marks:
        assert plot.frame.left <= mark.x <= plot.frame.right
        assert plot.frame.top <= mark.top <= mark.y <= mark.bottom <= plot.frame.bottom


@settings(deadline=None, max_examples=40)
@given(points())
def test_every_point_of_a_plot_has_a_name_or_a_number(given_: list[Point]) -> None:
    plot = scatter(given_, "time", str, size=(548.0, 340.0))
    names = [str(at) if plot.numbered else mark.name for at, mark in enumerate(plot.marks, 1)]
    assert [mark.label.text for mark in plot.marks if mark.label] == names


@settings(deadline=None, max_examples=40)
@given(points())
def test_the_ticks_of_a_plot_stand_apart_and_inside(given_: list[Point]) -> None:
    plot = scatter(given_, "time", str, size=(548.0, 340.0))
    ats = [tick.at for tick in plot.x_ticks]
    assert len(ats) >= 1
    assert all(plot.frame.left <= at <= plot.frame.right for at in ats)
    assert all(after - before > 50 for before, after in pairwise(ats))
    assert 2 <= len(plot.y_ticks) <= 9


def test_a_name_that_stands_apart_has_a_line_to_its_point() -> None:
    crowd = [Point(f"model-{at}", 0, 1 + at / 1000, 0.5, 0.45, 0.55) for at in range(9)]
    plot = scatter(crowd, "time", str, size=(548.0, 340.0))
    assert not plot.numbered
    assert any(mark.label and mark.label.line for mark in plot.marks)


def test_in_a_crowd_points_have_numbers_and_the_page_a_key_to_them() -> None:
    result = make_result([f"a-model-with-a-longer-name-{at}" for at in range(12)])
    for model in result["models"]:
        model["final_score"] = {"value": 0.5, "low": 0.4, "high": 0.6}
    words = Reader(render_page(result)).words
    assert all(f"{at + 1} A Model With A Longer Name {at}" in words for at in range(12))


def test_where_nothing_is_free_a_label_is_left_out() -> None:
    assert place([(50, 50)], ["a name"], [Box(0, 0, 100, 100)], Box(0, 0, 100, 100)) == [None]


def test_a_model_whose_memory_is_not_known_is_named_below_the_plot() -> None:
    result = make_result()
    result["models"][0]["peak_memory"] = None
    assert f"Not known of {result['models'][0]['display_name']}." in Reader(render_page(result)).words


# -- Markdown ----------------------------------------------------------------------------------------------


def tables(text: str) -> list[list[str]]:
    found = [part.splitlines() for part in text.split("\n\n")]
    return [lines for lines in found if lines and lines[0].startswith("|")]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


@pytest.mark.parametrize("result", [make_result(failed=["broken"]), hostile()])
def test_every_row_of_a_table_has_as_many_cells_as_its_head(result: dict[str, Any]) -> None:
    found = tables(render_markdown(result))
    assert len(found) >= 7
    for lines in found:
        assert {len(cells(line)) for line in lines} == {len(cells(lines[0]))}


def test_markdown_has_ranks_intervals_outcomes_and_comparisons() -> None:
    result = make_result()
    text = render_markdown(result)
    board, _, outcomes, scores, _, pairs, *_ = tables(text)
    by_name = {cells(line)[1]: cells(line) for line in board[2:]}
    for model in result["models"]:
        final = model["final_score"]
        said = f"{final['value']:.3f} ({final['low']:.3f}–{final['high']:.3f})"
        row = by_name[model["display_name"]]
        assert (row[0], row[2]) == (str(model["rank"]), said)
    assert cells(outcomes[0])[1:7] == list(OUTCOMES)
    counts = {model["display_name"]: model["tasks"][EARNINGS]["outcomes"] for model in result["models"]}
    for line in scores[2:]:
        _, name, _, *found = cells(line)
        assert found[:6] == [str(counts[name][one]) for one in OUTCOMES]
    assert len(pairs) == 2 + len(result["tasks"][0]["comparisons"])
    assert "exact McNemar" in text


def test_nothing_of_a_model_is_markdown_or_html() -> None:
    text = render_markdown(hostile("<b>|*_x_*[a](b)`"))
    assert "<b>" not in text
    assert r"&lt;b&gt;\|\*\_x\_\*\[a\](b)\`" in text
