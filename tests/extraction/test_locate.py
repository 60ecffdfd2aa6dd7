"""Locate: files, folders and patterns become documents, none twice, and nothing is passed over in silence."""

import os
from pathlib import Path

import pytest

from modelyard.errors import DocumentError
from modelyard.extraction.locate import locate, locate_documents


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (
        "b.txt",
        "a.html",
        "deep/c.PDF",
        "deep/er/d.docx",
        "photo.png",
        "deep/~$c.docx",
        ".hidden.txt",
    ):
        file = tmp_path / "in" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
    return tmp_path / "in"


def names(paths: tuple[Path, ...]) -> list[str]:
    return [path.name for path in paths]


def test_a_folder_is_opened_to_the_bottom_and_says_what_it_left_out(folder: Path) -> None:
    located = locate([folder])
    assert names(located.files) == ["a.html", "b.txt", "c.PDF", "d.docx"]
    assert sorted(names(located.left_out)) == [".hidden.txt", "photo.png", "~$c.docx"]
    assert "photo.png" in located.warning and not locate([folder / "b.txt"]).warning


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("**/*.docx", ["d.docx"]),
        ("*.txt", ["b.txt"]),
        ("*", ["a.html", "b.txt", "c.PDF", "d.docx"]),
        ("**", 4),
    ],
)
def test_a_pattern_finds_what_fits(folder: Path, pattern: str, found: list[str] | int) -> None:
    files = locate([f"{folder}/{pattern}"]).files
    assert len(files) == found if isinstance(found, int) else names(files) == found


def test_a_pattern_that_nothing_fits_is_an_error_that_names_it(folder: Path) -> None:
    for pattern in (f"{folder}/*.xyz", f"{folder}/nowhere/**/*.pdf"):
        with pytest.raises(DocumentError) as caught:
            locate([folder / "b.txt", pattern])
        assert pattern in caught.value.message and caught.value.hint


def test_a_pattern_or_folder_with_nothing_readable_is_an_error(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "a.png").write_text("x")
    for path in (f"{folder}/*.png", tmp_path / "none"):
        with pytest.raises(DocumentError, match="1 files of other types"):
            locate([path])


def test_no_file_comes_twice(folder: Path) -> None:
    (folder / "same.txt").symlink_to(folder / "b.txt")
    files = locate([folder / "b.txt", folder, f"{folder}/*.txt", str(folder / "deep" / ".." / "b.txt")]).files
    assert names(files) == ["b.txt", "a.html", "c.PDF", "d.docx"]


def test_a_file_that_is_named_is_taken_whatever_its_type(folder: Path) -> None:
    assert names(locate([folder / "photo.png", folder / ".hidden.txt"]).files) == ["photo.png", ".hidden.txt"]
    assert "photo.png" not in names(locate([folder / "photo.png", folder]).left_out)


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(folder: Path) -> None:
    odd = folder / "report[1].txt"
    odd.write_text("x")
    assert locate([odd]).files == (odd,)


def test_a_missing_path_is_an_error_that_names_it(folder: Path) -> None:
    with pytest.raises(DocumentError, match=r"no file .*missing"):
        locate_documents([folder / "missing.txt"])


def test_a_folder_that_may_not_be_opened_is_left_out_by_name(folder: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may open every folder")
    closed = folder / "deep" / "er"
    closed.chmod(0)
    try:
        assert closed in locate([folder]).left_out
    finally:
        closed.chmod(0o755)
