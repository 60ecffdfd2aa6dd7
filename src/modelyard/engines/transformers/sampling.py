"""Choosing the next token of each row, the whole batch at once.

Each row has parameters, a seed and a grammar of its own, and what is beside it changes nothing: a row draws
one number a token from its own generator and takes the token at that point of its cumulative distribution.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from modelyard.engines.transformers.guide import Guide, allow
from modelyard.params import SamplingParams

Likeliest = Sequence[tuple[int, float]]
"""Ids and logprobs, the likeliest first."""
_TOP = 1024  # candidates for top_p that are looked at before the whole vocabulary is sorted


@dataclass(slots=True)
class Choice:
    """How one row chooses: its parameters, its generator, what it has seen.

    Attributes:
        params: of the request.
        least: tokens before which no end is allowed.
        top: how many of the likeliest tokens are told at each place.
        prompt: ids that the repetition penalty counts as seen.
        suppressed: ids that are never chosen.
        forced: ids that are chosen at these places of the answer.
        guide: keeps the answer to its grammar.
    """

    params: SamplingParams
    least: int
    logprobs: bool
    top: int = 0
    prompt: Sequence[int] = ()
    suppressed: tuple[int, ...] = ()
    forced: dict[int, int] = field(default_factory=dict)
    guide: Guide | None = None
    made: list[int] = field(default_factory=list)
    generator: random.Random = field(default_factory=random.Random)
    _seen: torch.Tensor | None = None

    @property
    def _penalised(self) -> bool:
        params = self.params
        return params.repetition_penalty != 1 or bool(params.presence_penalty or params.frequency_penalty)

    def changes(self) -> bool:
        """Whether the model's scores are not taken as they are."""
        return bool(self.guide or self.suppressed or len(self.made) in self.forced or self._penalised)

    @property
    def early(self) -> bool:
        """Whether the answer may not end yet."""
        return len(self.made) < self.least

    def change(self, scores: torch.Tensor) -> None:
        """Applies penalties and bans to the row's scores, `[vocabulary]`, in place."""
        if self._penalised:
            self._penalise(scores)
        if self.suppressed:
            scores[list(self.suppressed)] = -torch.inf
        wanted = self.forced.get(len(self.made))
        if wanted is not None:
            scores.fill_(-torch.inf)
            scores[wanted] = 0.0

    def _penalise(self, scores: torch.Tensor) -> None:
        params = self.params
        if params.repetition_penalty != 1:
            if self._seen is None:
                self._seen = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
                self._seen[list(self.prompt)] = True
            if self.made:
                self._seen[self.made[-1]] = True
            # Keskar et al. 2019, section 4.1, as the field applies it: divided above 0, multiplied below.
            seen = scores[self._seen]
            scores[self._seen] = torch.where(
                seen > 0, seen / params.repetition_penalty, seen * params.repetition_penalty
            )
        if self.made and (params.presence_penalty or params.frequency_penalty):
            ids, counts = torch.tensor(self.made, device=scores.device).unique(return_counts=True)
            scores[ids] -= params.presence_penalty + params.frequency_penalty * counts.to(scores.dtype)


def choose(
    logits: torch.Tensor, rows: Sequence[Choice], eos: Sequence[int]
) -> tuple[list[int], list[float | None], list[Likeliest]]:
    """The next token of each row, its logprob under the model's own distribution, and the likeliest under it.

    Args:
        logits: of the next token, `[rows, vocabulary]`.
        rows: how each row chooses.
        eos: the ids that end an answer.
    """
    raw = logits.float()
    scores = raw
    changed = [at for at, row in enumerate(rows) if row.changes()]
    early = [at for at, row in enumerate(rows) if row.early]
    if changed or early:
        scores = raw.clone()
        for at in changed:
            rows[at].change(scores[at])
        if early:
            scores[torch.tensor(early)[:, None], torch.tensor(eos)[None, :]] = -torch.inf
        guided = [(at, guide) for at in changed if (guide := rows[at].guide) is not None]
        if guided:
            allow(scores, [at for at, _ in guided], [guide for _, guide in guided])
    ids = scores.argmax(-1)
    drawn = [at for at, row in enumerate(rows) if not row.params.greedy]
    if drawn:
        ids[drawn] = _draw(scores[drawn], [rows[at] for at in drawn])
    found: list[int] = ids.tolist()
    if not any(row.logprobs for row in rows):
        return found, [None] * len(found), [()] * len(found)
    sums = raw.logsumexp(-1)
    logprobs = (raw.gather(1, ids[:, None])[:, 0] - sums).tolist()
    told = [min(value, 0.0) if row.logprobs else None for value, row in zip(logprobs, rows, strict=True)]
    return found, told, [_likeliest(raw[at], sums[at], row.top) for at, row in enumerate(rows)]


def _likeliest(raw: torch.Tensor, total: torch.Tensor, count: int) -> Likeliest:
    if not count:
        return ()
    values, ids = raw.topk(min(count, len(raw)))
    return list(zip(ids.tolist(), (values - total).clamp(max=0).tolist(), strict=True))


def _draw(scores: torch.Tensor, rows: Sequence[Choice]) -> torch.Tensor:
    """One id a row: temperature, then top_k, top_p and min_p, then the row's own number."""
    device = scores.device
    temperatures = torch.tensor([max(row.params.temperature, 1e-6) for row in rows], device=device)
    # The largest score is taken off first: a temperature near 0 would overflow otherwise.
    scores = (scores - scores.max(-1, keepdim=True).values) / temperatures[:, None]
    for at, row in enumerate(rows):
        params = row.params
        if params.top_k and params.top_k < scores.shape[1]:
            least = scores[at].topk(params.top_k).values[-1]
            scores[at].masked_fill_(scores[at] < least, -torch.inf)
        if params.top_p < 1:
            _keep_nucleus(scores[at], params.top_p)
        if params.min_p > 0:
            limit = scores[at].max() + torch.log(torch.tensor(params.min_p, device=device))
            scores[at].masked_fill_(scores[at] < limit, -torch.inf)
    cumulative = scores.softmax(-1, dtype=torch.float64).cumsum(-1)
    points = torch.tensor([row.generator.random() for row in rows], dtype=torch.float64, device=device)
    points = points[:, None] * cumulative[:, -1:]
    found = torch.searchsorted(cumulative, points, right=True)[:, 0]
    # Rounding may put the point on the very end, behind which only impossible tokens are left.
    last = torch.searchsorted(cumulative, cumulative[:, -1:].contiguous())[:, 0]
    return torch.minimum(found, last)


def _keep_nucleus(scores: torch.Tensor, top_p: float) -> None:
    """The smallest set of tokens whose probabilities reach `top_p` (Holtzman et al. 2020), the rest banned."""
    probabilities = scores.softmax(-1)
    count = min(_TOP, len(scores))
    while True:
        top = probabilities.topk(count).values
        reached = top.cumsum(0) >= top_p
        if bool(reached[-1]) or count == len(scores):
            break
        count = min(count * 8, len(scores))
    place = int(reached.int().argmax()) if bool(reached.any()) else count - 1
    scores.masked_fill_(probabilities < top[place], -torch.inf)


def generator(params: SamplingParams) -> random.Random:
    """The row's own source of numbers; without a seed a fresh one."""
    return random.Random(params.seed)  # noqa: S311  sampling, not secrets
