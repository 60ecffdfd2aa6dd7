"""Encoder-decoder models: those who are read together answer together.

Their decoders have no room for padding on the left (some count positions by columns), so that each group
keeps to its own batch until its last row has ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from modelyard.engines.transformers.backend import Batch, Reading, Row
from modelyard.engines.transformers.net import Net


class Seq2SeqMachine:
    """Groups of rows, each with its own cache.

    Args:
        net: the model.
        eos: ids that end an answer.
        start: the id that begins every answer.
        row_bytes: of cache, one token of one row.
    """

    def __init__(self, net: Net, eos: frozenset[int], start: int, row_bytes: int) -> None:
        self.net, self.eos, self.start, self.row_bytes = net, eos, start, row_bytes

    def together(self, rows: Sequence[Row], row: Row) -> bool:
        return True

    def read(self, rows: list[Row]) -> Reading:
        return Group(self, rows)

    def join(self, batches: list[Batch], reading: Reading) -> None:
        assert isinstance(reading, Group)
        batches.append(reading)


class Group:
    """Rows that were read together."""

    def __init__(self, machine: Seq2SeqMachine, rows: list[Row]) -> None:
        self.rows = rows
        self._machine = machine
        self._encoded: Any = None
        self._mask, self._ids = padded([list(row.ids) for row in rows], machine.net.device)
        self._cache = EncoderDecoderCache(DynamicCache(), DynamicCache())

    @property
    def nbytes(self) -> int:
        parts = (self._cache.self_attention_cache, self._cache.cross_attention_cache)
        layers = [layer for part in parts for layer in part.layers if layer.is_initialized]
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in layers)

    def advance(self, tokens: int) -> torch.Tensor | None:
        if self._encoded is None:
            # The encoder sees the whole prompt at once; the decoder's first step comes in the next one.
            self._encoded = self._machine.net.encode(
                [row.adapter for row in self.rows], self._ids, self._mask
            )
            return None
        return self._forward([self._machine.start] * len(self.rows))

    def step(self) -> torch.Tensor:
        return self._forward([row.choice.made[-1] for row in self.rows])

    def remove(self, row: Row) -> None:
        at = self.rows.index(row)
        self.rows.pop(at)
        if self.rows:
            kept = [one for one in range(len(self.rows) + 1) if one != at]
            index = torch.tensor(kept, device=self._machine.net.device)
            self._cache.batch_select_indices(index)
            self._mask = self._mask[index]
            self._encoded.last_hidden_state = self._encoded.last_hidden_state[index]

    def _forward(self, last: list[int]) -> torch.Tensor:
        output = self._machine.net(
            [row.adapter for row in self.rows],
            encoder_outputs=self._encoded,
            attention_mask=self._mask,
            decoder_input_ids=torch.tensor(last, device=self._machine.net.device)[:, None],
            cache=self._cache,
        )
        scores: torch.Tensor = output.logits[:, -1]
        return scores


def padded(rows: Sequence[Sequence[int]], device: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Mask and ids, `[rows, columns]`, padded on the right."""
    width = max(map(len, rows))
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device)
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=device)
    return mask, ids
