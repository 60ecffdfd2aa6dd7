"""Labels: the probability of each label of a sequence classifier, for each text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from modelyard.engines.labels import probabilities
from modelyard.engines.texts import batches, check_texts
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
        config = net.model.config
        self._several = config.problem_type == "multi_label_classification" or len(labels) == 1

    def classify(self, texts: Sequence[str]) -> tuple[dict[str, float], ...]:
        """The probability of each label, for each text, in order.

        Raises:
            PromptTooLongError: a text is longer than the model reads; it is never cut in silence.
        """
        rows = [self._tokenizer(text, verbose=False)["input_ids"] for text in texts]
        check_texts(rows, self._context)
        found: dict[int, dict[str, float]] = {}
        for places in batches(rows):
            mask, ids = padded([rows[at] for at in places], self._net.device)
            with self._net.lock, torch.inference_mode():
                logits = self._net.model(input_ids=ids, attention_mask=mask).logits.float().cpu().numpy()
            made = probabilities(logits, several=self._several)
            found.update(
                (at, dict(zip(self._labels, map(float, row), strict=True)))
                for at, row in zip(places, made, strict=True)
            )
        return tuple(found[at] for at in range(len(rows)))


def labels_of(config: Any) -> tuple[str, ...]:
    """The names of a classifier's outputs, in order."""
    return tuple(str(config.id2label[at]) for at in range(config.num_labels))
