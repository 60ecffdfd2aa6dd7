"""Scoring: the same weights as a plain model that gives logits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelyard.engines.continuations import Pair, by_prompt
from modelyard.engines.openvino.settings import EXACT, Settings
from modelyard.engines.openvino.sight import LANGUAGE
from modelyard.types import Score

_PREFILL_TOKENS = 512  # a scored prompt is read in pieces, so that the buffers stay small
_BUFFER = 256 * 2**20  # bytes of logits held at once while scoring


class Scorer:
    """The same weights as a plain stateful model that gives logits, for scoring.

    The prompt runs once with a batch of one; its KV cache is then spread over the continuations, as beam
    search spreads a beam. The head is computed only where logits are wanted.

    Args:
        folder: of the model.
        settings: of the engine.
        exact: in float32, for scores that are compared to the second digit; else as the CPU is fastest.
    """

    def __init__(self, folder: Path, settings: Settings, *, exact: bool = True) -> None:
        import openvino
        from openvino import opset13 as ops

        core = openvino.Core()
        sees = (folder / LANGUAGE).is_file()
        model = core.read_model(folder / (LANGUAGE if sees else "openvino_model.xml"))
        head = model.get_results()[0].input_value(0).get_node()
        while head.get_type_name() != "MatMul":
            head = head.input_value(0).get_node()
        begin = ops.parameter([1], np.int64, name="logits_from")
        begin.output(0).set_names({"logits_from"})
        one = np.array([1], dtype=np.int64)
        tail = ops.slice(head.input_value(0), begin, np.array([2**31 - 1], dtype=np.int64), one, one)
        head.input(0).replace_source_output(tail.output(0))
        model.add_parameters([begin])
        model.validate_nodes_and_infer_types()
        properties = {**settings.properties(), **(EXACT if exact else {})}
        self._tensor = openvino.Tensor
        self._request = core.compile_model(model, settings.device, properties).create_infer_request()
        self._embed: Any = None
        if sees:  # its language model takes the words' vectors, which another one gives
            words = folder / "openvino_text_embeddings_model.xml"
            self._embed = core.compile_model(words, settings.device, properties)
        # Not every architecture wants positions.
        self._names = {name for one in model.inputs for name in one.get_names()}

    def score(self, pairs: Sequence[Pair]) -> tuple[Score, ...]:
        """Scores of the continuations, in order; pairs with the same prompt share its reading."""
        scores: dict[int, Score] = {}
        for prompt, members in by_prompt(pairs).items():
            found = self._score_group(prompt, [pairs[index][1] for index in members])
            scores.update(zip(members, found, strict=True))
        return tuple(scores[index] for index in range(len(pairs)))

    def _score_group(self, prompt: tuple[int, ...], tails: list[tuple[int, ...]]) -> list[Score]:
        first = _log_softmax(self._read_prompt(prompt))[0]
        rows = max(1, _BUFFER // (4 * len(first) * max(map(len, tails))))
        saved = self._save() if rows < len(tails) else None
        scores: list[Score] = []
        for at in range(0, len(tails), rows):
            if at and saved is not None:
                self._restore(saved)
            scores += self._score_rows(len(prompt), tails[at : at + rows], first)
        return scores

    def _read_prompt(self, prompt: tuple[int, ...]) -> np.ndarray:
        self._request.reset_state()
        logits = np.empty(0)
        for at in range(0, len(prompt), _PREFILL_TOKENS):
            piece = np.array([prompt[at : at + _PREFILL_TOKENS]], dtype=np.int64)
            end = at + piece.shape[1]
            logits = self._infer(piece, np.ones((1, end), np.int64), at, logits_from=piece.shape[1] - 1)[
                :, -1
            ]
        return logits

    def _score_rows(
        self, prompt_length: int, tails: Sequence[tuple[int, ...]], first: np.ndarray
    ) -> list[Score]:
        if len(tails) == 1:
            return [_score(tails[0], self._along(prompt_length, tails[0], first))]
        # What would follow the last token is not asked: it is not read, and may stand where the context ends.
        width = max(map(len, tails)) - 1
        if not width:
            return [_score(tail, [first]) for tail in tails]
        ids = np.zeros((len(tails), width), np.int64)
        mask = np.zeros((len(tails), prompt_length + width), np.int64)
        mask[:, :prompt_length] = 1
        for row, tail in enumerate(tails):
            ids[row, : len(tail) - 1] = tail[:-1]
            mask[row, prompt_length : prompt_length + len(tail) - 1] = 1
        logprobs = _log_softmax(self._infer(ids, mask, prompt_length, logits_from=0))
        return [_score(tail, [first, *logprobs[row, : len(tail) - 1]]) for row, tail in enumerate(tails)]

    def _along(self, prompt_length: int, tail: tuple[int, ...], first: np.ndarray) -> Iterator[np.ndarray]:
        """The log-probabilities at each place of one text, which may fill the context: it is read in pieces."""
        yield first
        read = tail[:-1]
        for at in range(0, len(read), _PREFILL_TOKENS):
            piece = np.array([read[at : at + _PREFILL_TOKENS]], dtype=np.int64)
            begin = prompt_length + at
            mask = np.ones((1, begin + piece.shape[1]), np.int64)
            yield from _log_softmax(self._infer(piece, mask, begin, logits_from=0))[0]

    def _infer(self, ids: np.ndarray, mask: np.ndarray, position: int, *, logits_from: int) -> np.ndarray:
        rows, width = ids.shape
        places = np.tile(np.arange(position, position + width, dtype=np.int64), (rows, 1))
        inputs = {
            "attention_mask": mask,
            "position_ids": np.stack([places] * 3) if self._embed is not None else places,
            "beam_idx": np.zeros(rows, np.int32),
            "logits_from": np.array([logits_from], np.int64),
        }
        if self._embed is None:
            inputs["input_ids"] = ids
        else:
            inputs["inputs_embeds"] = np.array(self._embed([ids])[0])
        self._request.infer({name: value for name, value in inputs.items() if name in self._names})
        return np.array(self._request.get_output_tensor(0).data, dtype=np.float32)

    def _save(self) -> dict[str, np.ndarray]:
        return {state.name: np.array(state.state.data, copy=True) for state in self._request.query_state()}

    def _restore(self, saved: Mapping[str, np.ndarray]) -> None:
        for state in self._request.query_state():
            state.state = self._tensor(saved[state.name])


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    result: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def _score(tail: Sequence[int], rows: Iterable[np.ndarray]) -> Score:
    logprobs, greedy = [], True
    for row, token in zip(rows, tail, strict=True):
        logprobs.append(float(row[token]))
        greedy = greedy and int(row.argmax()) == token
    return Score(sum(logprobs), tuple(logprobs), tuple(tail), greedy)
