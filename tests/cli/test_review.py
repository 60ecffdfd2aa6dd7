"""`review` as its users run it: the page, the tables, the live server and its end."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conftest import COMMAND, clean_environment
from tests.extraction.review.results import make_result

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "r.json").write_text(json.dumps(make_result(3)))
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    processes: list[subprocess.Popen[str]] = []

    def started(*arguments: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        processes.append(
            subprocess.Popen(
                [COMMAND, "review", *arguments],
                cwd=folder,
                env=clean_environment(),
                stdout=pipe,
                stderr=pipe,
                text=True,
            )
        )
        return processes[-1]

    yield started
    for one in processes:
        one.kill()
        one.communicate()


def run(start: Start, *arguments: str) -> tuple[int, str, str]:
    process = start(*arguments)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_a_page_and_tables_are_written(start: Start, folder: Path) -> None:
    code, out, err = run(start, "r.json", "--html", "p.html", "--export", "a.csv", "--export", "b.json")
    assert (code, err) == (0, "")
    assert out.splitlines() == ["p.html: 12 fields of 3 documents", "a.csv", "b.json"]
    assert (folder / "p.html").read_text().startswith("<!doctype html>")
    assert len((folder / "a.csv").read_text().splitlines()) == 13


def test_decisions_made_before_are_in_the_tables(start: Start, folder: Path) -> None:
    row = {"document": "doc-0001.txt", "field": "shares", "action": "correct", "value": 7}
    strange = {"document": "other.txt", "field": "shares", "action": "reject"}
    (folder / "r.corrections.jsonl").write_text(f'{json.dumps(row)}\n{json.dumps(strange)}\n{{"docu')
    code, _, err = run(start, "r.json", "--export", "w.csv", "--wide")
    assert code == 0
    assert (folder / "w.csv").read_text().splitlines()[1] == ",doc-0001.txt,1.25,7,,notes"
    assert "1 decision about fields that r.json does not have, passed over" in err
    assert "the last line is unfinished and passed over: '{\"docu'" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("none.json",), "none.json cannot be read"),
        (("r.json", "--export", "a.xlsx"), "what a.xlsx is to be does not follow from its name"),
        (("r.json", "--html", "none/p.html"), "there is no folder"),
        (("r.json", "--corrections", "none/c.jsonl"), "there is no folder"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(
    start: Start, arguments: tuple[str, ...], said: str
) -> None:
    code, _, err = run(start, *arguments, *(() if "--export" in arguments else ("--no-open",)))
    assert (code, said in err, "Traceback" in err) == (2, True, False), err


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_server_says_where_it_is_and_ends_in_good_order(
    start: Start, folder: Path, how: signal.Signals
) -> None:
    process = start("r.json", "--no-open", "--reviewer", "eve")
    assert process.stdout is not None
    first, second = process.stdout.readline(), process.stdout.readline()
    url = re.fullmatch(r"review: (http://127\.0\.0\.1:\d+/\?token=[\w-]{32})\n", first)
    assert url is not None, first
    assert second == "corrections: r.corrections.jsonl\n"
    with urllib.request.urlopen(url[1], timeout=10) as reply:
        assert b"<title>Review: eps</title>" in reply.read()
    row = {"document": "doc-0001.txt", "record": None, "field": "shares", "action": "reject"}
    target = url[1].replace("/?", "/decisions?")
    asked = urllib.request.Request(target, json.dumps(row).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=10) as reply:
        assert reply.status == 200
    process.send_signal(how)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert out.splitlines()[-1] == "1 of 12 reviewed, in r.corrections.jsonl"
    assert '"reviewer": "eve"' in (folder / "r.corrections.jsonl").read_text()
