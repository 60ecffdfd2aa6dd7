"""Scoring: the same weights as a plain model that gives logits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelyard.engines.continuations import Pair, by_prompt, passes
from modelyard.engines.openvino.asked import ASKED, only_where_asked
from modelyard.engines.openvino.settings import EXACT, Settings
from modelyard.engines.openvino.sight import LANGUAGE
from modelyard.types import Score

_PREFILL_TOKENS = 512  # a scored prompt is read in pieces, so that the buffers stay small
_STEP = 32  # prompts that are not scored exactly are padded to its multiples
_BUFFER = 256 * 2**20  # bytes of logits held at once while scoring

TOGETHER = 2048
"""Tokens of a pass over several prompts, padding included."""
Asked = tuple[int, tuple[int, ...]]
"""A continuation's tokens behind the row of its prompt."""


class Scorer:
    """The same weights as a plain stateful model that gives logits, for scoring.

    The prompt runs once; its KV cache is then spread over the continuations, as beam search spreads a beam.
    Short prompts may run several in one pass. What comes behind the last attention is computed only where logits
    are wanted.

    Args:
        folder: of the model.
        settings: of the engine.
        exact: in float32, for scores that are compared to the second digit; else as the CPU is fastest.
    """

    def __init__(self, folder: Path, settings: Settings, *, exact: bool = True) -> None:
        import openvino

        self._exact = exact
        core = openvino.Core()
        sees = (folder / LANGUAGE).is_file()
        model = core.read_model(folder / (LANGUAGE if sees else "openvino_model.xml"))
        only_where_asked(model)
        properties = {**settings.properties(), **(EXACT if exact else {})}
        self._tensor = openvino.Tensor
        self._request = core.compile_model(model, settings.device, properties).create_infer_request()
        self._embed: Any = None
        if sees:  # its language model takes the words' vectors, which another one gives
            words = folder / "openvino_text_embeddings_model.xml"
            self._embed = core.compile_model(words, settings.device, properties)
        # Not every architecture wants positions.
        self._names = {name for one in model.inputs for name in one.get_names()}

    def score(self, pairs: Sequence[Pair], *, tokens: int = 0) -> tuple[Score, ...]:
        """Scores of the continuations, in order; pairs with the same prompt share its reading.

        Args:
            pairs: to score.
            tokens: of several prompts that may be read in one pass, padding included; 0 reads each alone.
        """
        scores: dict[int, Score] = {}
        places = by_prompt(pairs)
        for prompts in passes(places, tokens):
            asked = [(row, place) for row, prompt in enumerate(prompts) for place in places[prompt]]
            found = self._score_group(prompts, [(row, pairs[place][1]) for row, place in asked])
            scores.update(zip((place for _, place in asked), found, strict=True))
        return tuple(scores[index] for index in range(len(pairs)))

    def _score_group(self, prompts: Sequence[tuple[int, ...]], asked: Sequence[Asked]) -> list[Score]:
        logits, read = self._read(prompts)
        first = _log_softmax(logits)
        rows = max(1, _BUFFER // (4 * first.shape[1] * max(len(tail) for _, tail in asked)))
        saved = self._save() if rows < len(asked) else None
        scores: list[Score] = []
        for at in range(0, len(asked), rows):
            if at and saved is not None:
                self._restore(saved)
            scores += self._score_rows(prompts, read, asked[at : at + rows], first)
        return scores

    def _read(self, prompts: Sequence[tuple[int, ...]]) -> tuple[np.ndarray, np.ndarray]:
        """The logits behind each prompt, and which places of the cache hold something, a row a prompt."""
        self._request.reset_state()
        if len(prompts) == 1 and (self._exact or len(prompts[0]) > _PREFILL_TOKENS):
            return self._read_long(prompts[0]), np.ones((1, len(prompts[0])), np.int64)
        lengths = np.array([len(one) for one in prompts])
        # Products are prepared anew for every width that has not been met: prompts of few widths are read faster.
        width = -(-int(lengths.max()) // _STEP) * _STEP
        ids = np.zeros((len(prompts), width), np.int64)
        mask = np.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt)] = prompt
            mask[row, : len(prompt)] = 1
        # On the right, so that what is read before padding never sees it.
        positions = np.minimum(np.arange(width), lengths[:, None] - 1)
        rows = np.arange(len(prompts))
        return self._infer(ids, mask, positions, rows, at=rows * width + lengths - 1), mask

    def _read_long(self, prompt: tuple[int, ...]) -> np.ndarray:
        logits = np.empty(0)
        for at in range(0, len(prompt), _PREFILL_TOKENS):
            piece = np.array([prompt[at : at + _PREFILL_TOKENS]], dtype=np.int64)
            end = at + piece.shape[1]
            positions = np.arange(at, end)[None]
            mask = np.ones((1, end), np.int64)
            logits = self._infer(piece, mask, positions, np.zeros(1), at=np.array([piece.shape[1] - 1]))
        return logits

    def _score_rows(
        self, prompts: Sequence[tuple[int, ...]], read: np.ndarray, asked: Sequence[Asked], first: np.ndarray
    ) -> list[Score]:
        if len(asked) == 1 and len(prompts) == 1:
            (_, tail), *_ = asked
            return [_score(tail, self._along(len(prompts[0]), read, tail, first[0]))]
        # What would follow the last token is not asked: it is not read, and may stand where the context ends.
        width = max(len(tail) for _, tail in asked) - 1
        if not width:
            return [_score(tail, [first[row]]) for row, tail in asked]
        rows = np.array([row for row, _ in asked])
        ids = np.zeros((len(asked), width), np.int64)
        more = np.zeros_like(ids)
        for at, (_, tail) in enumerate(asked):
            ids[at, : len(tail) - 1] = tail[:-1]
            more[at, : len(tail) - 1] = 1
        begins = np.array([len(prompts[row]) for row in rows])
        mask = np.concatenate([read[rows], more], axis=1)
        positions = begins[:, None] + np.arange(width)
        logprobs = _log_softmax(self._infer(ids, mask, positions, rows, at=np.flatnonzero(more)))
        ends = np.cumsum([len(tail) - 1 for _, tail in asked])
        return [
            _score(tail, [first[row], *logprobs[end - len(tail) + 1 : end]])
            for (row, tail), end in zip(asked, ends, strict=True)
        ]

    def _along(
        self, begin: int, read: np.ndarray, tail: tuple[int, ...], first: np.ndarray
    ) -> Iterator[np.ndarray]:
        """The log-probabilities at each place of one text, which may fill the context: it is read in pieces."""
        yield first
        rest = tail[:-1]
        for at in range(0, len(rest), _PREFILL_TOKENS):
            piece = np.array([rest[at : at + _PREFILL_TOKENS]], dtype=np.int64)
            end = at + piece.shape[1]
            mask = np.concatenate([read, np.ones((1, end), np.int64)], axis=1)
            positions = np.arange(begin + at, begin + end)[None]
            yield from _log_softmax(
                self._infer(piece, mask, positions, np.zeros(1), at=np.arange(piece.shape[1]))
            )

    def _infer(
        self, ids: np.ndarray, mask: np.ndarray, positions: np.ndarray, rows: np.ndarray, *, at: np.ndarray
    ) -> np.ndarray:
        """The logits at places of the new tokens, `[places, vocabulary]`.

        Args:
            ids: the new tokens, a row a text.
            mask: which places, those in the cache before them, hold something.
            positions: of the new tokens.
            rows: which row of the cache each row goes on with.
            at: places, counted through all rows.
        """
        inputs = {
            "attention_mask": mask,
            "position_ids": np.stack([positions] * 3) if self._embed is not None else positions,
            "beam_idx": rows.astype(np.int32),
            ASKED: at.astype(np.int64),
        }
        if self._embed is None:
            inputs["input_ids"] = ids
        else:
            inputs["inputs_embeds"] = np.array(self._embed([ids])[0])
        self._request.infer({name: value for name, value in inputs.items() if name in self._names})
        return np.array(self._request.get_output_tensor(0).data[0], dtype=np.float32)

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
