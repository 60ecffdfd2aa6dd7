"""Decoder-only models: rows of any length join one batch and leave it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from modelyard.engines.transformers.backend import Batch, Reading, Row
from modelyard.engines.transformers.cache import SlotCache
from modelyard.engines.transformers.net import Net

_PADDED = (
    2.0  # most columns read for each token of a prompt, where prompts of different lengths are read together
)
_LEAST_COLUMNS = 32


class SharedMachine:
    """One batch for all, on a cache of rows that come and go.

    Args:
        net: the model.
        layers: that keep keys and values.
        eos: ids that end an answer.
        row_bytes: of cache, one token of one row.
    """

    def __init__(self, net: Net, layers: int, eos: frozenset[int], row_bytes: int) -> None:
        self.net, self.layers, self.eos, self.row_bytes = net, layers, eos, row_bytes

    def together(self, rows: Sequence[Row], row: Row) -> bool:
        if row.inputs or any(one.inputs for one in rows):
            return False  # images are read one by one: their inputs differ in shape
        lengths = [len(one.ids) for one in (*rows, row)]
        return max(lengths) * len(lengths) <= _PADDED * sum(lengths)

    def read(self, rows: list[Row]) -> Reading:
        return _Reading(self, rows)

    def join(self, batches: list[Batch], reading: Reading) -> None:
        assert isinstance(reading, _Reading)
        batch = batches[0] if batches else SharedBatch(self)
        assert isinstance(batch, SharedBatch)
        batch.cache.absorb(reading.cache)
        batch.rows += reading.rows
        if not batches:
            batches.append(batch)


class _Reading:
    """Prompts padded on the left to one length, read in pieces."""

    def __init__(self, machine: SharedMachine, rows: list[Row]) -> None:
        self.rows = rows
        self._machine = machine
        self._length = max(len(row.ids) for row in rows)
        begins = [self._length - len(row.ids) for row in rows]
        self.cache = SlotCache(machine.layers, begins, self._length)
        device = machine.net.device
        ids = [[0] * begin + list(row.ids) for begin, row in zip(begins, rows, strict=True)]
        self._ids = torch.tensor(ids, device=device)
        columns = torch.arange(self._length, device=device)
        self._positions = (columns[None, :] - torch.tensor(begins, device=device)[:, None]).clamp(min=0)

    def advance(self, tokens: int) -> torch.Tensor | None:
        net, at = self._machine.net, self.cache.end
        width = self._length if self.rows[0].inputs else max(_LEAST_COLUMNS, tokens // len(self.rows))
        width = min(width, self._length - at)
        inputs: dict[str, Any] = {
            "input_ids": self._ids[:, at : at + width],
            "attention_mask": self.cache.mask(width, net.device),
            "position_ids": self._positions[:, at : at + width],
            **self._images(),
        }
        output = net([row.adapter for row in self.rows], cache=self.cache, **inputs)
        self.cache.advance(width)
        return output.logits[:, -1] if self.cache.end == self._length else None

    def _images(self) -> dict[str, Any]:
        """The pixels of a prompt with images, and the positions that its model gives them."""
        row = self.rows[0]
        if not row.inputs:
            return {}
        inputs = {name: value.to(self._machine.net.device) for name, value in row.inputs.items()}
        indexer = getattr(getattr(self._machine.net.model, "model", None), "get_rope_index", None)
        if indexer is None:
            return inputs
        import inspect

        accepted = inspect.signature(indexer).parameters
        known = {name: value for name, value in inputs.items() if name in accepted}
        positions, deltas = indexer(
            input_ids=self._ids, **{**known, "attention_mask": torch.ones_like(self._ids)}
        )
        row.delta = int(deltas.flatten()[0])
        return {**inputs, "position_ids": positions}


class SharedBatch:
    """The rows that answer."""

    def __init__(self, machine: SharedMachine) -> None:
        self.rows: list[Row] = []
        self.cache = SlotCache(machine.layers)
        self._net = machine.net

    @property
    def nbytes(self) -> int:
        return self.cache.nbytes

    def step(self) -> torch.Tensor:
        device = self._net.device
        self.cache.reserve(1)
        ids = torch.tensor([[row.choice.made[-1]] for row in self.rows], device=device)
        positions = [[len(row.ids) + row.made - 1 + row.delta] for row in self.rows]
        output = self._net(
            [row.adapter for row in self.rows],
            input_ids=ids,
            attention_mask=self.cache.mask(1, device),
            position_ids=torch.tensor(positions, device=device),
            cache=self.cache,
        )
        self.cache.advance(1)
        scores: torch.Tensor = output.logits[:, -1]
        return scores

    def remove(self, row: Row) -> None:
        at = self.rows.index(row)
        last = self.rows.pop()
        if last is not row:
            self.rows[at] = last
        self.cache.remove(at)


class AloneMachine:
    """For models whose state is no plain cache (state spaces, hybrids): each row is a batch of its own."""

    def __init__(self, net: Net, eos: frozenset[int], row_bytes: int) -> None:
        self.net, self.eos, self.row_bytes = net, eos, row_bytes

    def together(self, rows: Sequence[Row], row: Row) -> bool:
        return False

    def read(self, rows: list[Row]) -> Reading:
        return AloneBatch(self.net, rows)

    def join(self, batches: list[Batch], reading: Reading) -> None:
        assert isinstance(reading, AloneBatch)
        batches.append(reading)


class AloneBatch:
    """One row, advanced as the model's own `generate` would advance it."""

    def __init__(self, net: Net, rows: list[Row]) -> None:
        self.rows = rows
        self._net = net
        self._ids = torch.tensor([list(rows[0].ids)], device=net.device)
        inputs = {name: value.to(net.device) for name, value in rows[0].inputs.items()}
        self._state: dict[str, Any] = {
            "attention_mask": torch.ones_like(self._ids), "use_cache": True, **inputs,
        }  # fmt: skip
        self._first = True

    @property
    def nbytes(self) -> int:
        return 0  # a state of a fixed size, which each architecture keeps in its own form

    def advance(self, tokens: int) -> torch.Tensor | None:
        return self._forward()

    def step(self) -> torch.Tensor:
        token = torch.tensor([[self.rows[0].choice.made[-1]]], device=self._net.device)
        self._ids = torch.cat([self._ids, token], dim=1)
        return self._forward()

    def remove(self, row: Row) -> None:
        self.rows.remove(row)

    def _forward(self) -> torch.Tensor:
        model = self._net.model
        inputs = model.prepare_inputs_for_generation(
            self._ids,
            is_first_iteration=self._first,
            next_sequence_length=None if self._first else 1,
            **self._state,
        )
        output = self._net([self.rows[0].adapter], **inputs)
        self._state = model._update_model_kwargs_for_generation(output, self._state, is_encoder_decoder=False)
        self._first = False
        scores: torch.Tensor = output.logits[:, -1]
        return scores
