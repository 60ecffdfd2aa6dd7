"""Weights of linear layers in the order that the CPU's matrix product reads them.

oneDNN reorders a bfloat16 weight in every call unless that was done before. The products are the same to the
bit; docs/log.md has the times.
"""

from __future__ import annotations

from typing import Any

import torch


def pack(model: Any) -> None:
    """Packs every plain linear layer in bfloat16 on a CPU; others are left as they are."""
    if not torch.backends.mkldnn.is_available() or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return
    shared = [id(one.weight) for one in model.modules() if isinstance(one, torch.nn.Embedding)]
    with torch.inference_mode():
        for module in model.modules():
            if type(module) is torch.nn.Linear and _fits(module.weight):
                module.forward = _Packed(module, keep=id(module.weight) in shared)


def _fits(weight: torch.Tensor) -> bool:
    return weight.dtype is torch.bfloat16 and weight.device.type == "cpu"


class _Packed:
    """A linear layer's forward pass on packed weights.

    Args:
        layer: gives up its own weights,
        keep: unless an embedding shares them.
    """

    def __init__(self, layer: Any, *, keep: bool) -> None:
        self._bias = layer.bias
        self._weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), None)
        if not keep:
            layer.weight = torch.nn.Parameter(self._weight, requires_grad=False)

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            states, self._weight, self._bias, "none", [], ""
        )
        return product
