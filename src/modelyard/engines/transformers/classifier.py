"""Labels: the probability of each label of a sequence classifier, for each text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from modelyard.engines.labels import are_several, labelled
from modelyard.engines.transformers.net import Net
from modelyard.engines.transformers.seq2seq import padded


class Classifier:
    """Probabilities of labels.

    Args:
        net: the model.
        tokenizer: its tokenizer.
        labels: of its outputs, in order.
        context: most tokens of a text.
    """

    def __init__(self, net: Net, tokenizer: Any, labels: Sequence[str], context: int) -> None:
        self._net, self._tokenizer, self._labels, self._context = net, tokenizer, labels, context
        self._several = are_several(net.model.config.problem_type, len(labels))

    def classify(self, texts: Sequence[str]) -> tuple[dict[str, float], ...]:
        """The probability of each label, for each text, in order.

        Raises:
            PromptTooLongError: a text is longer than the model reads; it is never cut in silence.
        """
        rows = [self._tokenizer(text, verbose=False)["input_ids"] for text in texts]
        return labelled(rows, self._logits, self._labels, context=self._context, several=self._several)

    def _logits(self, rows: list[Sequence[int]]) -> np.ndarray:
        mask, ids = padded(rows, self._net.device)
        with self._net.lock, torch.inference_mode():
            found: np.ndarray = (
                self._net.model(input_ids=ids, attention_mask=mask).logits.float().cpu().numpy()
            )
        return found


def labels_of(config: Any) -> tuple[str, ...]:
    """The names of a classifier's outputs, in order."""
    return tuple(str(config.id2label[at]) for at in range(config.num_labels))
