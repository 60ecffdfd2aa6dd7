"""Embeddings: a text's token vectors pooled into one, as its model was trained to pool them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from modelyard.engines.texts import batches, check_texts
from modelyard.engines.transformers.net import Net
from modelyard.engines.transformers.seq2seq import padded
from modelyard.errors import UnsupportedError

_POOLINGS = {
    "pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls", "pooling_mode_lasttoken": "last",
}  # fmt: skip


class Embedder:
    """Vectors of length 1 for texts.

    The pooling is what sentence-transformers keeps beside such a model (`1_Pooling/config.json`); without
    it the mean over the tokens, as in Reimers and Gurevych 2019.
    """

    def __init__(self, net: Net, tokenizer: Any, folder: Path, context: int) -> None:
        self._net = net
        self._tokenizer = tokenizer
        self._pooling = _pooling(folder)
        self._context = min(context, _most(folder) or context)

    def embed(self, texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        """One vector a text, in order.

        Raises:
            PromptTooLongError: a text is longer than the model reads; it is never cut in silence.
        """
        rows = [self._tokenizer(text, verbose=False)["input_ids"] for text in texts]
        check_texts(rows, self._context)
        found: dict[int, tuple[float, ...]] = {}
        for places in batches(rows):
            vectors = self._vectors([rows[at] for at in places])
            found.update(zip(places, vectors, strict=True))
        return tuple(found[at] for at in range(len(rows)))

    def _vectors(self, rows: Sequence[Sequence[int]]) -> list[tuple[float, ...]]:
        mask, ids = padded(rows, self._net.device)
        with self._net.lock, torch.inference_mode():
            states = self._net.model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        if self._pooling == "cls":
            pooled = states[:, 0]
        elif self._pooling == "last":
            pooled = states[torch.arange(len(rows)), mask.sum(1) - 1]
        else:
            kept = mask[:, :, None].float()
            pooled = (states * kept).sum(1) / kept.sum(1)
        return [tuple(row) for row in torch.nn.functional.normalize(pooled, dim=-1).tolist()]


def _pooling(folder: Path) -> str:
    file = folder / "1_Pooling" / "config.json"
    if not file.is_file():
        return "mean"
    config = json.loads(file.read_text("utf-8"))
    wanted = [name for name, value in config.items() if name.startswith("pooling_mode_") and value is True]
    if "pooling_mode" in config:
        wanted = [f"pooling_mode_{config['pooling_mode']}"]
    known = {**_POOLINGS, "pooling_mode_mean": "mean", "pooling_mode_cls": "cls"}
    if len(wanted) != 1 or wanted[0] not in known:
        raise UnsupportedError(
            f"the model pools by {', '.join(wanted) or 'nothing'}", hint="mean, cls and lasttoken are known."
        )
    return known[wanted[0]]


def _most(folder: Path) -> int | None:
    """Tokens that sentence-transformers gives the model at most."""
    file = folder / "sentence_bert_config.json"
    if not file.is_file():
        return None
    found = json.loads(file.read_text("utf-8")).get("max_seq_length")
    return found if isinstance(found, int) else None
