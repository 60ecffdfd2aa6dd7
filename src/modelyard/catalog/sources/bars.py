"""Bars: the Hub client's progress bars, turned into our Progress."""

from __future__ import annotations

from typing import Any

from modelyard.catalog.progress import Progress


def bar_class(progress: Progress) -> type[Any]:
    """A bar that draws nothing and reports the bytes that reach the disk."""
    from huggingface_hub.utils import tqdm

    class Bar(tqdm):  # type: ignore[misc]  # the client's own class, of which no types are published
        def __init__(self, *args: Any, **options: Any) -> None:
            options.pop("name", None)
            # The client shows three bars; of these one counts the bytes on the disk.
            self._counts = str(options.get("desc", "")).startswith("Reconstructing")
            super().__init__(*args, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> Any:
            if self._counts and n:
                progress.advance(int(n))
            return super().update(n)

    return Bar
