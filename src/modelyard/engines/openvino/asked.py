"""A model that gives logits only where they are asked, and works out no more for them than it must."""

from __future__ import annotations

from typing import Any

import numpy as np

ASKED = "asked"
"""The name of the input that says where: places of the new tokens, counted through all rows."""


def only_where_asked(model: Any) -> None:
    """Adds the input `asked`; the logits become `[1, places, vocabulary]`.

    Every layer but the last is worked out at every place, because later places look back at it. Behind the last
    attention no place looks at another, so its layer's feed-forward part and the head see the places that are asked
    alone: of a long prompt that is read for its last token, a part of a layer and the head are saved.

    Args:
        model: OpenVINO's, with logits `[rows, places, vocabulary]` as its first output; it is changed.
    """
    from openvino import opset13 as ops

    head = model.get_results()[0].input_value(0).get_node()
    while head.get_type_name() != "MatMul":
        head = head.input_value(0).get_node()
    source = _behind_the_last_attention(model) or head.input_value(0)
    targets = list(source.get_target_inputs())
    asked = ops.parameter([-1], np.int64, name=ASKED)
    asked.output(0).set_names({ASKED})
    width = source.get_partial_shape()[2].get_length()
    flat = ops.reshape(source, np.array([1, -1, width], np.int64), False)
    chosen = ops.gather(flat, asked, np.array(1, np.int64))
    for target in targets:
        target.replace_source_output(chosen.output(0))
    model.add_parameters([asked])
    model.validate_nodes_and_infer_types()


def _behind_the_last_attention(model: Any) -> Any | None:
    """Where the last attention is added to what went around it; None where the model is built in another way."""
    moving: set[str] = set()  # nodes that depend on what the model is given; the others are weights
    behind: set[str] = set()  # nodes that depend on the last attention
    ordered = model.get_ordered_ops()
    attentions = [one for one in ordered if one.get_type_name() == "ScaledDotProductAttention"]
    if not attentions:
        return None
    last = attentions[-1].get_name()
    found = None
    for node in ordered:
        name, kind = node.get_name(), node.get_type_name()
        before = [one.get_node().get_name() for one in node.input_values()]
        if kind in ("Parameter", "ReadValue") or any(one in moving for one in before):
            moving.add(name)
        if name == last:
            behind.add(name)
            continue
        if not any(one in behind for one in before):
            continue
        behind.add(name)
        around = [one for one in before if one in moving and one not in behind]
        if not around:
            continue
        if found is not None:
            return None  # something behind looks at the whole prompt again
        if kind == "Add":
            found = node
    if found is None or found.output(0).get_partial_shape().rank.get_length() != 3:
        return None
    return found.output(0)
