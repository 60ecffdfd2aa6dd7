"""The matrix that `make contract` prints: engines down, behaviours across; no cell may be empty."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

BEHAVIOURS = (
    "generate", "stream", "cancel", "stop", "seed", "schema", "regex", "choices", "logprobs",
    "top_logprobs", "score", "tools", "adapters", "images", "concurrent", "over-long prompt", "bad schema", "unknown parameter", "crash",
)  # fmt: skip


class Matrix:
    """Collects what each test says about a behaviour of an engine."""

    def __init__(self, rows: list[str]) -> None:
        self._rows = rows
        self._about: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._found: dict[tuple[str, str], set[str]] = defaultdict(set)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            row = getattr(item, "callspec", None)
            said = [name for mark in item.iter_markers("behaviour") for name in mark.args]
            if row is None or "row" not in row.params or not said:
                continue
            assert set(said) <= set(BEHAVIOURS), said
            self._about[item.nodeid] = (row.params["row"], tuple(said))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.nodeid not in self._about or (report.when != "call" and report.passed):
            return
        row, said = self._about[report.nodeid]
        refused = ("refused", True) in report.user_properties
        word = ("refused" if refused else "pass") if report.passed else "skip" if report.skipped else "FAIL"
        for name in said:
            self._found[row, name].add(word)

    def _cell(self, row: str, name: str) -> str:
        found = self._found.get((row, name), set())
        return next((word for word in ("FAIL", "skip", "refused", "pass") if word in found), "")

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        from rich.console import Console
        from rich.table import Table

        table = Table(title="What each engine promises", show_lines=False)
        table.add_column("engine", no_wrap=True)
        for name in BEHAVIOURS:
            table.add_column(name, justify="center", overflow="fold")
        for row in self._rows:
            table.add_row(row, *(self._cell(row, name) or "EMPTY" for name in BEHAVIOURS))
        terminalreporter.ensure_newline()
        Console(width=210).print(table)
        print("refused: a typed error that a test checks")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        cells = [self._cell(row, name) for row in self._rows for name in BEHAVIOURS]
        if not all(cells) or "skip" in cells:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
