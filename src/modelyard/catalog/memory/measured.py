"""Measured: what loaded models took in truth, kept beside what was predicted, and predictions corrected by it.

One small JSON file, `memory.json` in modelyard's data folder. It is a convenience: a file that is torn, that
somebody else wrote, or that cannot be written never stops a load.
"""

from __future__ import annotations

import contextlib
import json
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from modelyard.paths import data_dir, write_atomically

_KEPT = 500  # entries; the oldest go
_MODELS = 3  # of an engine that have to be known before their median corrects another
_BOUNDS = (0.5, 3.0)  # a ratio outside is a mistake of measuring, not of the prediction


@dataclass(frozen=True, slots=True)
class Measurement:
    """The peak of one load.

    Attributes:
        revision: of the model's files.
        engine: that ran it.
        quantization: 4bit, 8bit, or empty.
        dtype: of the numbers, or empty.
        device: cpu or gpu.
        predicted: bytes, before any correction.
        measured: bytes.
    """

    revision: str
    engine: str
    quantization: str
    dtype: str
    device: str
    predicted: int
    measured: int

    @property
    def ratio(self) -> float:
        """Measured over predicted."""
        return self.measured / self.predicted

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """What one later measurement takes the place of."""
        return (self.revision, self.engine, self.quantization, self.dtype, self.device)


def remember(
    revision: str,
    engine: str,
    predicted: int,
    measured: int,
    *,
    quantization: str | None = None,
    dtype: str = "",
    device: str = "cpu",
) -> None:
    """Keeps what a model took, once it has answered; safe beside other processes, and never raises.

    Args:
        revision: of the model's files (`Model.revision`).
        engine: that ran it.
        predicted: bytes, as `Footprint.total` said.
        measured: bytes of the peak that can be laid to this model and its process.
        quantization: 4bit or 8bit.
        dtype: of the numbers.
        device: cpu or gpu.
    """
    if predicted <= 0 or measured <= 0:
        return
    new = Measurement(revision, engine, quantization or "", dtype, device, predicted, measured)
    if not _BOUNDS[0] <= new.ratio <= _BOUNDS[1]:
        return
    with contextlib.suppress(OSError), _locked():
        others = [one for one in recall() if one.key != new.key]
        _write([*others, new][-_KEPT:])


def recall() -> list[Measurement]:
    """Everything that is remembered, the oldest first."""
    try:
        rows = json.loads(_file().read_text(encoding="utf-8"))["measurements"]
    except (OSError, ValueError, TypeError, KeyError):
        return []
    found = [_read(row) for row in rows] if isinstance(rows, list) else []
    return [one for one in found if one is not None]


def correction(
    revision: str | None,
    engine: str,
    *,
    quantization: str | None = None,
    dtype: str = "",
    device: str = "cpu",
) -> tuple[float, str]:
    """The factor that measurements put to a prediction, and where it comes from; 1.0 and nothing without any.

    The same model on the same engine counts alone. Otherwise the engine's median counts, once three models
    have been measured on it.
    """
    known = [one for one in recall() if (one.engine, one.device) == (engine, device)]
    same = [one for one in known if one.revision == revision]
    exact = [one for one in same if (one.quantization, one.dtype) == (quantization or "", dtype)]
    if exact:
        return exact[-1].ratio, "measured here with this model"
    models = {one.revision: one.ratio for one in known}
    if len(models) < _MODELS:
        return 1.0, ""
    return statistics.median(models.values()), f"the median of {len(models)} models measured here on {engine}"


def _file() -> Path:
    return data_dir() / "memory.json"


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    from filelock import FileLock, Timeout

    file = _file()
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(f"{file}.lock", timeout=5):
            yield
    except Timeout:
        raise OSError("another process holds the memory file") from None


def _write(measurements: list[Measurement]) -> None:
    write_atomically(_file(), json.dumps({"measurements": [asdict(one) for one in measurements]}, indent=1))


def _read(row: Any) -> Measurement | None:
    names = {field.name: field.type for field in fields(Measurement)}
    if not isinstance(row, dict) or set(row) != set(names):
        return None
    for name, kind in names.items():
        wanted = int if kind == "int" else str
        if not isinstance(row[name], wanted) or isinstance(row[name], bool):
            return None
    found = Measurement(**row)
    return found if found.predicted > 0 and _BOUNDS[0] <= found.ratio <= _BOUNDS[1] else None
