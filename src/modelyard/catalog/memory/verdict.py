"""Verdict: whether a model fits into so much memory, and how much work fits with it.

A prediction has to leave a tenth of the memory free: predictions are held to within 15% of what is measured,
allocators lose some to fragments, and a machine that is full to the last byte swaps or kills.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from modelyard.catalog.memory.device import Device
from modelyard.catalog.memory.facts import ModelFacts
from modelyard.catalog.memory.footprint import Footprint, How, Workload, footprint, with_room
from modelyard.catalog.memory.measured import correction

Verdict = Literal["fits", "fits at 4-bit", "does not fit", "not known"]
HEADROOM = 0.10
_MOST_CONTEXT, _MOST_BATCH = 1 << 20, 4096


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Memory of a model on a device, before it is loaded.

    Attributes:
        verdict: whether it fits.
        why: in words.
        device: where it would run.
        work: what it is to do.
        how: by which engine, and as which numbers.
        predicted: the peak as asked; None where it is not known.
        packed: the peak at 4-bit, where that was looked at.
        longest: the most tokens of one request alone, with what the verdict says; 0 where none fits.
        largest: the most requests of the wanted context at once; 0 where none fits.
    """

    verdict: Verdict
    why: str
    device: Device
    work: Workload
    how: How
    predicted: Footprint | None = None
    packed: Footprint | None = None
    longest: int = 0
    largest: int = 0


def usable(device: Device) -> int:
    """Bytes that a prediction may reach.

    >>> usable(Device("x", "cpu", 1000, 800))
    720
    """
    return int(device.available * (1 - HEADROOM))


def judge(
    facts: ModelFacts, work: Workload, how: How, device: Device, *, may_pack: bool = False
) -> MemoryPlan:
    """Predicts, corrects by what was measured, and compares.

    Args:
        facts: of the model.
        work: that it is to do.
        how: it would be run.
        device: its memory.
        may_pack: whether the engine could load it at 4-bit where it does not fit as asked.
    """
    asked = predict(facts, work, with_room(how, work))
    if asked is None:
        return MemoryPlan("not known", _unknown(facts, how), device, work, how)
    room = usable(device)
    if asked.needed <= room:
        return _with_limits("fits", facts, work, how, device, asked, None)
    packed_how = replace(how, quantization="4bit")
    packed = predict(facts, work, packed_how) if may_pack and how.quantization is None else None
    if packed is not None and packed.needed <= room:
        return _with_limits("fits at 4-bit", facts, work, packed_how, device, asked, packed)
    return _with_limits("does not fit", facts, work, how, device, asked, packed)


def predict(facts: ModelFacts, work: Workload, how: How) -> Footprint | None:
    """The footprint, corrected by what was measured; None where it is not known."""
    found = footprint(facts, work, how)
    return None if found is None else found.corrected(*_correction(facts, how))


def _correction(facts: ModelFacts, how: How) -> tuple[float, str]:
    return correction(
        facts.revision, how.engine, quantization=how.quantization, dtype=how.dtype, device=how.device
    )


def longest_context(facts: ModelFacts, how: How, room: int) -> int:
    """The most tokens of one request whose prediction is within `room` bytes; 0 where none is."""
    limit = facts.architecture.context_length if facts.architecture else 0
    room = int(room / _correction(facts, how)[0])
    return _most(lambda tokens: _predicted(facts, Workload(1, tokens), how), room, limit or _MOST_CONTEXT)


def largest_batch(facts: ModelFacts, how: How, room: int, work: Workload) -> int:
    """The most requests of the wanted context whose prediction is within `room` bytes; 0 where none is."""
    room = int(room / _correction(facts, how)[0])
    return _most(lambda batch: _predicted(facts, replace(work, batch=batch), how), room, _MOST_BATCH)


def _predicted(facts: ModelFacts, work: Workload, how: How) -> int:
    found = footprint(facts, work, with_room(how, work))
    return found.needed if found is not None else 0


def _most(total: Callable[[int], int], room: int, limit: int) -> int:
    """The largest count up to the limit that fits, by halving: a footprint never falls when work is added."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if total(middle) <= room:
            low = middle
        else:
            high = middle - 1
    return low


def _with_limits(
    verdict: Verdict,
    facts: ModelFacts,
    work: Workload,
    how: How,
    device: Device,
    asked: Footprint,
    packed: Footprint | None,
) -> MemoryPlan:
    room = usable(device)
    peak = packed if verdict == "fits at 4-bit" and packed is not None else asked
    why = f"it needs {_gb(peak.needed)}, and {_gb(room)} of {_gb(device.available)} may be used"
    if verdict == "fits at 4-bit":
        why = f"as asked it needs {_gb(asked.needed)}; at 4-bit {why}"
    elif verdict == "does not fit" and packed is not None:
        why += f"; at 4-bit {_gb(packed.needed)}"
    return MemoryPlan(
        verdict, why, device, work, with_room(how, work), asked, packed,
        longest_context(facts, how, room), largest_batch(facts, how, room, work),
    )  # fmt: skip


def _unknown(facts: ModelFacts, how: How) -> str:
    if facts.unknown:
        return "; ".join(facts.unknown)
    return f"engine {how.engine} keeps nothing of the model here, or cannot read this format"


def _gb(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
