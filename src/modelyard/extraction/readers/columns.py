"""Columns: the rows of a page whose cells stand below each other as a table, by where their edges are.

>>> rows = [[(60, 90, "EPS"), (200, 220, "0.41")], [(60, 90, "DPS"), (200, 220, "0.10"), (300, 320, "0.20")],
...         [(60, 85, "BVS"), (301, 320, "9.10")]]
>>> lines(rows)
['EPS | 0.41', 'DPS | 0.10 | 0.20', 'BVS | | 9.10']
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelyard.extraction.readers import tables
from modelyard.extraction.readers.tables import Cell

Row = list[tuple[float, float, str]]
"""Cells from left to right: left edge, right edge, text; in points."""

_LONGEST_LABEL = 90  # characters; a longer line that stands alone is running text, and ends a table


def lines(rows: Sequence[Row]) -> list[str]:
    """One line a row; the cells of a table at the same place in every row."""
    found: list[str] = []
    for run in _runs([_joined(row) for row in rows]):
        found += _table(run) if sum(len(row) > 1 for row in run) > 1 else [_plain(row) for row in run]
    return found


def _joined(row: Row) -> Row:
    """The cells with their numbers in one piece."""
    cells = tables.joined([Cell(at, at + 1, text) for at, (_, _, text) in enumerate(row)])
    return [(row[cell.start][0], row[cell.end - 1][1], cell.text) for cell in cells]


def _runs(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Stretches of rows that may be one table each."""
    run: list[Row] = []
    for row in rows:
        if len(row) == 1 and len(row[0][2]) > _LONGEST_LABEL:
            yield run
            yield [row]
            run = []
        else:
            run.append(row)
    yield run


def _table(run: Sequence[Row]) -> list[str]:
    """The rows as a table; a title over label and figures alike belongs to none of its columns."""
    values = min(row[1][0] for row in run if len(row) > 1)
    in_columns = [len(row) > 1 or row[0][1] <= values or _heads(row, values) for row in run]
    grid = [
        [Cell(int(left), max(int(left) + 1, int(right)), text) for left, right, text in row]
        for row, inside in zip(run, in_columns, strict=True)
        if inside
    ]
    said = iter(tables.lines(grid))
    return [next(said) if inside else _plain(row) for row, inside in zip(run, in_columns, strict=True)]


def _heads(row: Row, values: float) -> bool:
    """Whether the only cell of a row stands over the figures; centred there, it may begin a little before."""
    left, right, _ = row[0]
    return left >= values - (right - left) / 4


def _plain(row: Row) -> str:
    return " | ".join(text for _, _, text in row)
