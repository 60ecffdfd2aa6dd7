"""Zero points as a GGUF file has them: OpenVINO's reader rounds them to whole steps.

Q4_1 and Q4_K keep of each 32 weights a scale and a smallest value, both as floats: w = scale * q + minimum. The
reader writes that as scale * (q - zero) with a zero point of four bits, so that every weight of a block is off by
up to half a step, all 32 by the same: SmolLM2's perplexity on abstracts grows by a fifth of it. There are two ways
back.

`widen` writes such weights in eight bits, steps and zero point both times sixteen: the zero point is then off by a
thirty-second of a step at most, the product stays one that may quantise its inputs on the fly, and the weights take
twice the memory. The pipeline has it by default.

`restore` keeps the four bits and adds what was rounded off as a product of its own: the sums of 32 inputs times
scale * zero + minimum, one number a block. That leaves nothing rounded, and is several calls more a layer, which one
token a step feels; `precision: exact` has it. (Float zero points would keep the large product from quantising.)

Run in a process of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from modelyard.catalog.gguf import TensorInfo, read_gguf

ROUNDED = frozenset({"Q4_1", "Q4_K"})
"""The tensor types whose zero points the reader rounds."""

_BLOCK = {"Q4_1": (20, 32), "Q4_K": (144, 256)}  # bytes, weights
_GROUP = 32  # weights that share a scale
Rows = dict[bytes, np.ndarray]
"""By the scales of a row of weights (float16), as bytes, the minima of its groups (float32)."""


def rounds(file: Path) -> bool:
    """Whether the reader would round zero points of this GGUF file."""
    return any(tensor.type in ROUNDED for tensor in read_gguf(file).tensors)


def minima(file: Path) -> Rows:
    """The minima of all rows of a GGUF file whose zero points are rounded."""
    header = read_gguf(file)
    data = np.memmap(file, np.uint8, "r")
    found: Rows = {}
    for tensor in header.tensors:
        if tensor.type in ROUNDED:
            for scales, lows in zip(*_groups(tensor, data, header.data_start), strict=True):
                found[scales.tobytes()] = lows
    return found


def _groups(tensor: TensorInfo, data: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray]:
    """Scales (float16) and minima (float32) of a tensor: (rows, groups) each."""
    size, weights = _BLOCK[tensor.type]
    width, rows = tensor.shape[0], int(np.prod(tensor.shape[1:], dtype=np.int64))
    blocks = width // weights
    begin = start + tensor.offset
    raw = np.asarray(data[begin : begin + rows * blocks * size]).reshape(rows, blocks, size)
    d, low = (raw[..., at : at + 2].copy().view(np.float16).astype(np.float32) for at in (0, 2))
    if tensor.type == "Q4_1":
        return d.astype(np.float16).reshape(rows, -1), low.reshape(rows, -1)
    steps, lows = _six_bits(raw[..., 4:16])
    return (d * steps).astype(np.float16).reshape(rows, -1), (-low * lows).reshape(rows, -1)


def _six_bits(packed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eight scales and eight minima of 6 bits each, out of 12 bytes (ggml's layout of K-quants)."""
    low, high, mixed = packed[..., 0:4], packed[..., 4:8], packed[..., 8:12]
    scales = np.concatenate([low & 63, (mixed & 15) | ((low >> 6) << 4)], axis=-1)
    minimum = np.concatenate([high & 63, (mixed >> 4) | ((high >> 6) << 4)], axis=-1)
    return scales.astype(np.float32), minimum.astype(np.float32)


def restore(folder: str, file: str) -> None:
    """Adds what was rounded off a GGUF file's zero points to the model that was converted from it.

    Raises:
        LookupError: a row of the model is not found in the file.
    """
    sums: dict[tuple[str, int], Any] = {}
    for subtraction, scales, lows in _changed(folder, file):
        flat = scales.reshape(lows.shape)
        product = _product(subtraction)
        if product is None:
            _float_zeros(subtraction, scales, lows)
        else:
            _add(product, flat.astype(np.float32) * _steps(subtraction, flat.shape) + lows, sums)


def widen(folder: str, file: str) -> None:
    """Writes the weights whose zero points were rounded in eight bits, with those of the GGUF file.

    Raises:
        LookupError: a row of the model is not found in the file.
    """
    from openvino import opset13

    for subtraction, scales, lows in _changed(folder, file):
        convert = subtraction.input(0).get_source_output().get_node()
        kind = convert.output(0).get_element_type().get_type_name()
        steps = _halves(convert.input(0).get_source_output().get_node())
        groups = scales.reshape(lows.shape)
        wide, zeros, fine = eight_bits(steps.reshape(*lows.shape, -1), groups, lows)
        weights = opset13.convert(opset13.constant(wide.reshape(steps.shape)), kind)
        offsets = opset13.convert(opset13.constant(zeros.reshape(scales.shape)), kind)
        fresh = opset13.multiply(
            opset13.subtract(weights, offsets), opset13.constant(fine.reshape(scales.shape))
        )
        product = next(iter(subtraction.output(0).get_target_inputs())).get_node()
        for target in list(product.output(0).get_target_inputs()):
            target.replace_source_output(fresh.output(0))


def eight_bits(
    steps: np.ndarray, scales: np.ndarray, lows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights `scale * step + low` as `fine * (wide - zero)` in eight bits.

    Steps and zero points are times sixteen. A group whose values lie further from zero than that reaches is spread
    over all 256 instead, and one of a single value, whose scale is 0, is that value.

    Args:
        steps: 0 to 15, (rows, groups, weights of a group).
        scales: (rows, groups), float16.
        lows: (rows, groups), float32.

    Returns:
        wide (as `steps`) and zero (as `scales`), uint8; fine (as `scales`), float16.

    >>> wide, zero, fine = eight_bits(np.array([[[0, 15]]]), np.array([[0.5]], np.float16), np.array([[-1.25]]))
    >>> ((wide - zero[..., None].astype(int)) * fine[..., None]).tolist()
    [[[-1.25, 6.25]]]
    """
    scale = scales.astype(np.float32)
    level = scale == 0
    scale = np.where(level, np.abs(lows), scale)
    q = np.where(level[..., None], 0, steps).astype(np.float32)
    offset = np.divide(-lows, scale, out=np.zeros_like(scale), where=scale != 0)  # where zero lies, in steps
    reach = np.maximum(offset, 15 - np.minimum(offset, 0))
    factor = np.minimum(16, 255 / np.maximum(reach, 1))
    below = offset < 0  # all values are above zero: the zero point stays at 0, and the steps move up
    wide = np.rint((q - np.where(below, offset, 0)[..., None]) * factor[..., None])
    zero = np.rint(np.where(below, 0, offset) * factor)
    return wide.astype(np.uint8), zero.astype(np.uint8), (scale / factor).astype(np.float16)


def _changed(folder: str, file: str) -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
    """The rounded places of a converted model, with scales and minima; the model is saved when all are through."""
    import openvino

    model_file = Path(folder, "openvino_model.xml")
    rows = minima(Path(file))
    model = openvino.Core().read_model(model_file)
    for subtraction, scales in list(_rounded(model)):
        lows = np.stack([rows[row.tobytes()] for row in scales.reshape(scales.shape[0], -1)])
        yield subtraction, scales, lows
    fresh = Path(folder, "fresh.xml")
    openvino.save_model(model, fresh, compress_to_fp16=False)
    del model  # it holds the old file open
    fresh.with_suffix(".bin").replace(model_file.with_suffix(".bin"))
    fresh.replace(model_file)


def _steps(subtraction: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The zero points that the reader wrote, in whole steps: (rows, groups)."""
    zeros = subtraction.input(1).get_source_output().get_node().input(0).get_source_output().get_node()
    return _halves(zeros).reshape(shape).astype(np.float32)


def _halves(constant: Any) -> np.ndarray:
    """A constant of four bits, a number a byte."""
    packed = np.asarray(constant.data).reshape(-1)
    shape = tuple(constant.output(0).get_shape())
    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(-1)[: int(np.prod(shape))].reshape(shape)


def _product(subtraction: Any) -> Any | None:
    """The matrix product that alone uses these weights; None where something else does (a table of embeddings)."""
    node = subtraction
    for _ in range(6):
        targets = list(node.output(0).get_target_inputs())
        if len(targets) != 1:
            return None
        node = targets[0].get_node()
        if node.get_type_name() == "MatMul":
            whole = targets[0].get_index() == 1 and node.get_attributes()["transpose_b"]
            return node if whole else None
    return None


def _add(product: Any, rounded_off: np.ndarray, sums: dict[tuple[str, int], Any]) -> None:
    """Adds to a product what was rounded off its weights; products of the same input share its sums."""
    from openvino import opset13

    source = product.input(0).get_source_output()
    key = (source.get_node().get_friendly_name(), source.get_index())
    if key not in sums:
        blocks = opset13.reshape(source, np.array([0, 0, -1, _GROUP], np.int64), True)
        sums[key] = opset13.reduce_sum(blocks, np.array([-1], np.int64), False)
    small = opset13.matmul(sums[key], opset13.constant(rounded_off.astype(np.float32)), False, True)
    targets = list(product.output(0).get_target_inputs())
    whole = opset13.add(product.output(0), small.output(0))
    for target in targets:
        target.replace_source_output(whole.output(0))


def _float_zeros(subtraction: Any, scales: np.ndarray, lows: np.ndarray) -> None:
    """Puts zero points in as floats, -minimum / scale."""
    from openvino import opset13

    steps = scales.reshape(lows.shape).astype(np.float32)
    zeros = np.divide(-lows, steps, out=np.zeros_like(lows), where=steps != 0)
    exact = opset13.constant(zeros.astype(np.float16).reshape(scales.shape))
    subtraction.input(1).replace_source_output(exact.output(0))


def _rounded(model: Any) -> Iterator[tuple[Any, np.ndarray]]:
    """Where a zero point of four bits is taken away, with the scales that follow."""
    for node in list(model.get_ops()):
        if node.get_type_name() != "Subtract":
            continue
        zeros = node.input(1).get_source_output().get_node()
        if zeros.get_type_name() != "Convert" or zeros.input(0).get_element_type().get_type_name() != "u4":
            continue
        product = next(iter(node.output(0).get_target_inputs())).get_node()
        yield node, np.asarray(product.input(1).get_source_output().get_node().data)
