"""Files that the user names: whole or not at all, and refused before the work where they cannot be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.errors import InvalidArgumentError
from modelyard.output import check_writable, write_page


def test_a_page_replaces_the_one_before_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")
    write_page(path, "new — page")
    assert path.read_text("utf-8") == "new — page"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_keeps_the_page_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InvalidArgumentError, match="No space left on device"):
        write_page(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_character_without_utf8_is_no_failure(tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", "a\ud800b")
    assert (tmp_path / "page.html").read_text("utf-8") == "a&#55296;b"


def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="there is no folder"):
        check_writable(tmp_path / "missing" / "page.html")
    with pytest.raises(InvalidArgumentError, match="it is a folder"):
        check_writable(tmp_path)
