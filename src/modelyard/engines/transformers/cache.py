"""The KV cache of a batch whose rows come and go.

All rows end at the same column and begin where their own length says, as in a left-padded batch: so every
architecture's own masks hold, and a step writes one column in place. A row joins by a copy of its columns,
and leaves by the last row's moving into its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

_SPARE = 64  # columns beyond the present need, at least
_GROWTH = 1.5


class SlotLayer(CacheLayerMixin):  # type: ignore[misc]  # torch and transformers are read as untyped
    """One layer's keys and values, `[rows, heads, columns, width]`, more of both than are in use."""

    is_sliding = False

    def __init__(self, cache: SlotCache) -> None:
        super().__init__()
        self._cache = cache

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        rows, columns = self._cache.capacity
        self.keys = _empty_like(key_states, rows, columns)
        self.values = _empty_like(value_states, rows, columns)
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        rows, width = key_states.shape[0], key_states.shape[-2]
        start, end = self._cache.start, self._cache.end
        self.keys[:rows, :, end : end + width] = key_states
        self.values[:rows, :, end : end + width] = value_states
        return self.keys[:rows, :, start : end + width], self.values[:rows, :, start : end + width]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._cache.end - self._cache.start + query_length, 0

    def get_seq_length(self) -> int:
        return self._cache.end - self._cache.start

    def get_max_length(self) -> int:
        return -1

    def resize(self, rows: int, columns: int, used: int, source: int, target: int, width: int) -> None:
        """Moves `width` columns of the used rows into new buffers."""
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = _empty_like(old, rows, columns)
            new[:used, :, target : target + width] = old[:used, :, source : source + width]
            setattr(self, name, new)


def _empty_like(states: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    # Zeros, not whatever lies in memory: a masked column is still multiplied, and NaN times 0 is NaN.
    return states.new_zeros((rows, states.shape[1], columns, states.shape[-1]))


class SlotCache(Cache):  # type: ignore[misc]
    """The cache of a batch.

    Args:
        layers: of the model.
        begins: of each row, the column where its tokens begin.
        columns: to make room for.
    """

    def __init__(self, layers: int, begins: Sequence[int] = (), columns: int = 0) -> None:
        self.layers: list[SlotLayer]
        super().__init__(layers=[SlotLayer(self) for _ in range(layers)])
        self.begins = list(begins)
        self.start = min(self.begins, default=0)
        self.end = 0
        self.capacity = (max(len(self.begins), 1), columns + _SPARE)

    @property
    def rows(self) -> int:
        return len(self.begins)

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers."""
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self.layers if layer.is_initialized)

    def mask(self, width: int, device: Any) -> torch.Tensor:
        """The attention mask for the next `width` columns, `[rows, columns]`: 1 where a row has tokens."""
        columns = torch.arange(self.start, self.end + width, device=device)
        return (columns[None, :] >= torch.tensor(self.begins, device=device)[:, None]).long()

    def advance(self, width: int) -> None:
        """Counts the columns that a forward pass has written."""
        self.end += width

    def reserve(self, width: int) -> None:
        """Makes room for `width` more columns."""
        if self.end + width > self.capacity[1]:
            used = self.end - self.start
            self._move(self.rows, int((used + width) * _GROWTH) + _SPARE, 0)

    def remove(self, row: int) -> None:
        """Takes a row out; the last row takes its place."""
        last = self.rows - 1
        if row != last:
            begin = self.begins[last]
            for layer in self.layers:
                for states in (layer.keys, layer.values):
                    states[row, :, begin : self.end] = states[last, :, begin : self.end]
            self.begins[row] = begin
        self.begins.pop()
        if not self.begins:
            self.end = 0
        self.start = min(self.begins, default=0)

    def absorb(self, other: SlotCache) -> None:
        """Takes the other cache's rows behind its own; the other one is used up."""
        if not self.begins:
            self._adopt(other)
            return
        width, rows = other.end - other.start, self.rows + other.rows
        if rows > self.capacity[0] or width > self.end:
            target = max(self.end - self.start, width)
            columns = max(self.capacity[1], int(target * _GROWTH) + _SPARE)
            self._move(
                max(rows, min(2 * self.capacity[0], rows + 8)), columns, target - (self.end - self.start)
            )
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            for name in ("keys", "values"):
                block = getattr(theirs, name)[: other.rows, :, other.start : other.end]
                getattr(mine, name)[self.rows : rows, :, self.end - width : self.end] = block
        self.begins += [self.end - (other.end - begin) for begin in other.begins]
        self.start = min(self.begins)

    def _adopt(self, other: SlotCache) -> None:
        for layer in other.layers:
            layer._cache = self
        self.layers = other.layers
        self.begins, self.start, self.end = other.begins, other.start, other.end
        self.capacity = other.capacity

    def _move(self, rows: int, columns: int, target: int) -> None:
        """New buffers; what is used now begins at column `target` there."""
        width, by = self.end - self.start, target - self.start
        for layer in self.layers:
            layer.resize(rows, columns, self.rows, self.start, target, width)
        self.begins = [begin + by for begin in self.begins]
        self.start, self.end = self.start + by, self.end + by
        self.capacity = (rows, columns)
