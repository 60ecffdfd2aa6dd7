"""The minima of quantised weights, read as ggml lays them out."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as some

from modelyard.engines.openvino.zeros import eight_bits, minima, rounds

TYPES = {"Q4_1": gguf.GGMLQuantizationType.Q4_1, "Q4_K": gguf.GGMLQuantizationType.Q4_K}
SIZES = {"Q4_1": (20, 4), "Q4_K": (144, 16)}  # bytes of a block, bytes before its steps


def written(folder: Path, kind: str, seed: int, step: int) -> tuple[Path, np.ndarray]:
    """A file with one tensor of random scales and minima whose weights are all the same step; and the weights."""
    size, head = SIZES[kind]
    source = np.random.default_rng(seed)
    raw = source.integers(0, 256, (3, 2, size), dtype=np.uint8)
    raw[..., 0:4] = source.normal(0, 0.1, (3, 2, 2)).astype(np.float16).view(np.uint8)
    raw[..., head:] = step * 17
    file = folder / f"{kind}.gguf"
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_tensor("a", np.ones((5, 7), np.float32))
    writer.add_tensor("w", raw.reshape(3, -1), raw_dtype=TYPES[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file, gguf.quants.dequantize(raw.reshape(3, -1), TYPES[kind]).reshape(3, -1, 32)


@pytest.mark.parametrize("kind", sorted(TYPES))
@given(seed=some.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_the_smallest_value_of_each_group_is_what_the_reference_gives_for_step_zero(
    kind: str, tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    file, lowest = written(tmp_path_factory.mktemp("zeros"), kind, seed, 0)
    assert rounds(file)
    found = minima(file)
    assert len(found) == 3
    for row in lowest:
        assert any(np.allclose(row[:, 0], lows, rtol=1e-6, atol=1e-8) for lows in found.values())
    _, next_up = written(tmp_path_factory.mktemp("zeros"), kind, seed, 1)
    for scales, lows in found.items():
        steps = np.frombuffer(scales, np.float16).astype(np.float32)
        assert any(np.allclose(row[:, 0], lows + steps, rtol=0, atol=0.02) for row in next_up)


def test_a_file_without_such_tensors_needs_nothing(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "f.gguf", "llama")
    writer.add_tensor("a", np.ones((5, 7), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert not rounds(tmp_path / "f.gguf") and minima(tmp_path / "f.gguf") == {}


@given(
    scale=some.one_of(some.just(0.0), some.floats(2**-10, 4, width=16)),
    low=some.floats(-64, 64, width=16),
    steps=some.lists(some.integers(0, 15), min_size=32, max_size=32),
)
@example(0.0, 2**-23, [0] * 32)
@settings(max_examples=300, deadline=None)
def test_a_group_in_eight_bits_is_within_a_sixteenth_of_a_step_or_of_its_own_256th(
    scale: float, low: float, steps: list[int]
) -> None:
    q, scales = np.array([[steps]], np.uint8), np.array([[scale]], np.float16)
    wide, zero, fine = eight_bits(q, scales, np.array([[low]], np.float32))
    found = (wide.astype(np.float64) - zero[..., None]) * fine[..., None].astype(np.float64)
    true = scale * q.astype(np.float64) + low
    far = max(abs(low), abs(low + 15 * scale))
    # half a step of the zero point, and half a one of the weights where a group is spread over all 256
    allowed = scale / 32 if -15.9375 * scale <= low <= 0 else 15 * scale / 255 + far / 255
    # float16 has eleven bits, and no number closer to zero than 2**-24
    assert np.abs(found - true).max() <= allowed + far * 2**-10 + 255 * 2**-25


def test_the_reader_s_own_case_is_exact_where_nothing_was_rounded() -> None:
    q = np.arange(16, dtype=np.uint8).reshape(1, 1, 16)
    wide, zero, fine = eight_bits(q, np.array([[0.25]], np.float16), np.array([[-2.0]], np.float32))
    assert ((wide.astype(int) - zero[..., None]) * fine[..., None] == 0.25 * q - 2.0).all()
