"""Tasks by name: shipped ones, task files, and Python classes."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from modelyard.bench.task import BenchTask
from modelyard.errors import InvalidArgumentError, nearest
from modelyard.extraction.taskfile import TaskFile, find_task


def bench_task(name: str | Path | BenchTask) -> BenchTask:
    """The task that is meant by a name.

    Args:
        name: a shipped task, the path of a task file or of its folder, a class as `file.py:Class` or
            `module:Class`, or a task itself.

    >>> bench_task("pubmedqa").kind
    'choice'

    Raises:
        InvalidArgumentError: no such task; the nearest is named.
        SchemaError: a mistake in its file; says file and line.
    """
    if isinstance(name, BenchTask):
        return name
    place, colon, wanted = str(name).rpartition(":")
    if colon and wanted.isidentifier() and not Path(name).exists():
        return _of_class(place, wanted)
    file = find_task(name)
    return _kinds(file.kind)(file)


def _kinds(kind: str) -> Callable[[TaskFile], BenchTask]:
    from modelyard.bench.kinds.choice import ChoiceTask
    from modelyard.bench.kinds.extraction import ExtractionTask
    from modelyard.bench.kinds.number import NumberTask
    from modelyard.bench.kinds.short_answer import ShortAnswerTask
    from modelyard.bench.kinds.structured import StructuredTask

    kinds: Sequence[Any] = (ChoiceTask, ExtractionTask, NumberTask, ShortAnswerTask, StructuredTask)
    found: Callable[[TaskFile], BenchTask] = next(one for one in kinds if one.kind == kind)
    return found


def _of_class(place: str, wanted: str) -> BenchTask:
    module = _module(place)
    kind = getattr(module, wanted, None)
    if not (isinstance(kind, type) and issubclass(kind, BenchTask)):
        known = [
            name for name, one in vars(module).items()
            if isinstance(one, type) and issubclass(one, BenchTask) and one is not BenchTask
        ]  # fmt: skip
        raise InvalidArgumentError(
            f"{place} has no task class '{wanted}'.{nearest(wanted, known)}",
            hint="A task is a subclass of modelyard.bench.BenchTask.",
        )
    try:
        made = kind()
    except TypeError as error:
        raise InvalidArgumentError(
            f"{place}: {wanted} cannot be made: {error}",
            hint="It takes no arguments, and has name, samples, ask and judge.",
        ) from None
    if not made.name:
        raise InvalidArgumentError(f"{place}: {wanted} has no name", hint="Give the class a 'name'.")
    return made


def _module(place: str) -> Any:
    if not place.endswith(".py"):
        try:
            return importlib.import_module(place)
        except ImportError as error:
            raise InvalidArgumentError(
                f"module '{place}' cannot be imported: {error}", hint="Give a file, as in mine.py:MyTask."
            ) from None
    path = Path(place).expanduser().absolute()
    if not path.is_file():
        raise InvalidArgumentError(f"there is no file {path}", hint="Check the path before the colon.")
    name = f"_modelyard_task_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise InvalidArgumentError(f"{path} cannot be run: {error!r:.300}", hint="Mend the file.") from error
    return module
