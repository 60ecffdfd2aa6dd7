"""The live page: what is decided is in the file at once, and nobody else may decide."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.extraction.review.results import make_result

from modelyard.errors import InvalidArgumentError
from modelyard.extraction.review.corrections import read_corrections
from modelyard.extraction.review.journal import Journal
from modelyard.extraction.review.serve import ReviewServer
from modelyard.extraction.review.sheet import Sheet

ROW = {"document": "doc-0001.txt", "record": None, "field": "eps_basic", "action": "accept", "value": 1.25}


@dataclass
class Served:
    """A running server and its file."""

    server: ReviewServer
    file: Path

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, str]:
        """A request as a browser on the page makes it, but for what is given."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=120)
        sent = {"Content-Type": "application/json"} if method == "POST" else {}
        sent |= {key.replace("_", "-"): value for key, value in headers.items()}
        data = body if isinstance(body, str | bytes | None) else json.dumps(body)
        connection.request(method, path, data, sent)
        reply = connection.getresponse()
        text = reply.read().decode()
        connection.close()
        return reply.status, text

    def decide(self, **changes: Any) -> tuple[int, str]:
        return self.ask("POST", f"/decisions?token={self.server.token}", ROW | changes)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    file = tmp_path / "c.jsonl"
    server = ReviewServer(Sheet(make_result(3, record=True)), Journal(file), reviewer="eve")
    ready = threading.Event()
    thread = threading.Thread(target=server.run, args=(lambda _: ready.set(),))
    thread.start()
    assert ready.wait(10)
    yield Served(server, file)
    server.shutdown()
    thread.join(10)


def test_a_decision_is_in_the_file_when_it_is_confirmed(served: Served) -> None:
    assert served.decide(document="doc-0003.txt", value=None) == (200, "{}")
    (row,) = read_corrections(served.file).rows
    assert (row.document, row.action, row.value, row.previous) == ("doc-0003.txt", "accept", 3.25, 3.25)
    assert row.reviewer == "eve" and row.time is not None


def test_a_record_is_decided_under_its_name(served: Served) -> None:
    assert served.decide(record="both", action="correct", value=1.5)[0] == 200
    (row,) = read_corrections(served.file).rows
    assert (row.record, row.document, row.value, row.previous) == ("both", "doc-0001.txt", 1.5, 1.25)


def test_a_reload_shows_what_was_decided(served: Served) -> None:
    path = f"/?token={served.server.token}"
    assert '"action":"correct"' not in served.ask("GET", path)[1]
    served.decide(document="doc-0003.txt", action="correct", value=7)
    assert '"action":"correct","value":"7.0"' in served.ask("GET", path)[1]
    served.decide(document="doc-0003.txt", action="withdraw")
    assert '"action":"correct"' not in served.ask("GET", path)[1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"document": "none.txt"}, "no such field"),
        ({"field": "none"}, "no such field"),
        ({"action": "ok"}, "'action' is 'ok'"),
        ({"action": "correct", "value": "a lot"}, "'a lot' is no number"),
        ({"action": "correct", "field": "audited", "value": "perhaps"}, "none of audited, unaudited"),
        ({"record": ["both"]}, "no such field"),
    ],
)
def test_what_is_no_decision_is_refused_with_a_reason(
    served: Served, changes: dict[str, Any], said: str
) -> None:
    status, text = served.decide(**{"document": "doc-0003.txt", **changes})
    assert (status, said in text) == (422, True), text
    assert not served.file.exists()


@pytest.mark.parametrize("path", ["/", "/?token=", "/?token=guessed", "/?other=1"])
def test_without_the_token_there_is_nothing(served: Served, path: str) -> None:
    status, text = served.ask("GET", path)
    assert status == 403 and "doc-0001" not in text
    assert served.ask("POST", path.replace("/", "/decisions", 1), ROW)[0] == 403
    assert not served.file.exists()


def test_another_host_name_is_refused(served: Served) -> None:
    path = f"/?token={served.server.token}"
    port = served.server.server_port
    for host, status in (
        (f"127.0.0.1:{port}", 200),
        (f"LOCALHOST:{port}", 200),
        ("evil.example", 421),
        (f"evil.example:{port}", 421),
    ):
        assert served.ask("GET", path, Host=host)[0] == status


def test_another_sites_page_is_refused(served: Served) -> None:
    path = f"/decisions?token={served.server.token}"
    own = f"http://127.0.0.1:{served.server.server_port}"
    row = ROW | {"document": "doc-0003.txt"}
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
    ):
        assert served.ask("POST", path, row, **headers)[0] == 403
    assert served.ask("POST", path, row, Content_Type="text/plain")[0] == 415
    assert not served.file.exists()
    assert served.ask("POST", path, row, Origin=own, Sec_Fetch_Site="same-origin")[0] == 200


def test_bodies_that_are_no_decision_are_refused(served: Served) -> None:
    path = f"/decisions?token={served.server.token}"
    assert served.ask("POST", path, "{")[0] == 400
    assert served.ask("POST", path, "[" * 100_000)[0] == 400
    assert served.ask("POST", path, "[1]")[0] == 422
    assert served.ask("POST", path, "x", Content_Length=str(2**21))[0] == 413
    assert served.ask("POST", "/other?token=" + served.server.token, ROW)[0] == 404
    assert served.ask("GET", "/favicon.ico?token=" + served.server.token)[0] == 404
    assert not served.file.exists()


def test_many_decisions_at_once_are_each_on_a_line(served: Served) -> None:
    threads = [
        threading.Thread(
            target=served.decide, kwargs={"document": "doc-0003.txt", "action": "correct", "value": at}
        )
        for at in range(20)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(one.value for one in read_corrections(served.file).rows) == [float(at) for at in range(20)]


def test_a_file_that_cannot_be_written_is_said_and_nothing_is_taken_for_decided(served: Served) -> None:
    served.file.mkdir()
    status, text = served.decide(document="doc-0003.txt")
    assert status == 422 and "cannot be written" in text
    assert served.server.journal.decisions == {}


def test_a_port_that_is_taken_is_named(served: Served, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=f"port {served.server.server_port} cannot be listened on"):
        ReviewServer(Sheet(make_result(1)), Journal(tmp_path / "d.jsonl"), port=served.server.server_port)
