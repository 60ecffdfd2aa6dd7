"""Activations: what one forward pass needs beside weights and cache.

At its widest a layer holds, for every token that it reads, the residual, its normed copy, queries and
attention output (4 x hidden) and the gate, its partner and their product (3 x intermediate): the inference part
of the account in Korthikanti et al. 2022 (arXiv 2205.05198, section 4). Attention itself is computed in tiles
(Dao et al. 2022, arXiv 2205.14135) and its scores are never held whole. Then the logits: one row for each
request in the step, as float32 and as the probabilities made of them.
"""

from __future__ import annotations

from modelyard.catalog.memory.architecture import Architecture

_HIDDEN_COPIES, _INNER_COPIES, _LOGIT_COPIES = 4, 3, 3


def pass_bytes(
    model: Architecture, batch: int, tokens: int, *, width: int = 4, total: int | None = None
) -> int:
    """Bytes at the widest point of reading so many tokens of each request.

    Args:
        model: its architecture.
        batch: requests in the step, each with a row of logits.
        tokens: of each request in this step; 1 while answers are written.
        width: bytes of one number.
        total: tokens of the step altogether, where an engine bounds them; batch x tokens otherwise.
    """
    reading = min(batch * tokens, total) if total else batch * tokens
    layer = reading * (_HIDDEN_COPIES * model.hidden + _INNER_COPIES * model.intermediate) * width
    return layer + batch * model.vocabulary * 4 * _LOGIT_COPIES


def unpacked_bytes(model: Architecture, batch: int, context: int, width: int) -> int:
    """MLA's keys and values of one layer, unpacked out of the latent for its attention; 0 elsewhere."""
    return batch * context * model.expanded.width * width if model.expanded else 0
