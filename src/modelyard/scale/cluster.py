"""Cluster: a Ray cluster to work on, joined or started here, and what each worker takes of it."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import re
import socket
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.catalog.memory.facts import of_path
from modelyard.catalog.memory.footprint import Workload
from modelyard.catalog.memory.verdict import predict
from modelyard.catalog.plan import plan, run_how
from modelyard.catalog.pull import find_local
from modelyard.catalog.spec import ModelSpec
from modelyard.engines.registry import availability, engine_class
from modelyard.errors import (
    EngineNotInstalledError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
)
from modelyard.llm import LLM

LOCAL = "local"
_ADDRESS = re.compile(r"local|auto|(?:\[[0-9a-fA-F:]+\]|[\w.-]+):\d{1,5}")
_BOUNDS = re.compile(r"(\d+)(?::(\d+))?")
_CONNECT = 5.0  # seconds
_BATCH, _CONTEXT = 16, 4096  # the work that a worker's memory is taken for


def looks_like_address(text: str) -> bool:
    """Whether a word behind `--ray` says where a cluster is.

    >>> looks_like_address("10.0.0.7:6379"), looks_like_address("report.html")
    (True, False)
    """
    return _ADDRESS.fullmatch(text) is not None or text.startswith("ray://")


@dataclass(frozen=True, slots=True)
class Where:
    """Which cluster, and how much of it.

    Attributes:
        address: `local` starts one here for this run, `auto` finds the one of this machine, HOST:PORT names one.
        least: workers that are kept.
        most: workers that it may grow to; as many as the cluster has room for where None.
    """

    address: str = LOCAL
    least: int = 1
    most: int | None = None

    @classmethod
    def read(cls, address: str, workers: str | None = None) -> Where:
        """From the command line: an address, and `2` or `1:8` workers.

        Raises:
            InvalidArgumentError: one of them cannot be read.

        >>> Where.read("local", "1:8")
        Where(address='local', least=1, most=8)
        """
        if address.startswith("ray://"):
            raise InvalidArgumentError(
                f"--ray is '{address}', a Ray Client's address: results cannot be streamed through one",
                hint="Run the command on the cluster itself (`ray job submit -- modelyard …`) with --ray auto.",
            )
        if not _ADDRESS.fullmatch(address):
            raise InvalidArgumentError(
                f"--ray is '{address}'",
                hint="It is an address as HOST:PORT, auto, or nothing for a cluster here.",
            )
        if workers is None:
            return cls(address)
        found = _BOUNDS.fullmatch(workers)
        if found is None:
            raise InvalidArgumentError(
                f"--ray-workers is '{workers}'", hint="It is a number, or as in 1:8 the least and the most."
            )
        least = int(found[1])
        most = int(found[2]) if found[2] else least
        if not 1 <= least <= most:
            raise InvalidArgumentError(
                f"--ray-workers is '{workers}'", hint="At least 1, the most behind it."
            )
        return cls(address, least, most)


@dataclass(frozen=True, slots=True)
class Share:
    """What one worker takes of the cluster.

    Attributes:
        cpus: cores.
        gpus: whole ones.
        memory: bytes, 0 where nothing is known of the model.
        workers: the least and the most of them.
        why: in words.
    """

    cpus: int
    gpus: int
    memory: int
    workers: tuple[int, int]
    why: str

    def remote(self) -> dict[str, Any]:
        """As Ray takes it."""
        found: dict[str, Any] = {"num_cpus": self.cpus, "num_gpus": self.gpus}
        return {**found, "memory": self.memory} if self.memory else found


def check_installed() -> None:
    """Raises EngineNotInstalledError where Ray is not there."""
    if importlib.util.find_spec("ray") is None:
        raise EngineNotInstalledError("Ray is not installed", hint="pip install 'modelyard[ray]'")


@contextlib.contextmanager
def joined(where: Where) -> Iterator[Any]:
    """The `ray` module, connected; what was started here ends with the block.

    Raises:
        EngineNotInstalledError: Ray is not installed.
        UnavailableError: no cluster answers at the address.
    """
    check_installed()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report home
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what Ray 2.60 warns of otherwise
    os.environ.setdefault(
        "RAY_BACKEND_LOG_LEVEL", "fatal"
    )  # Ray Data's own actors make it warn of themselves
    import ray

    if ray.is_initialized():
        yield ray
        return
    _check_there(where.address)
    how: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    if where.address == LOCAL:
        how |= {"include_dashboard": False}
    try:
        with _muted():
            ray.init(address=where.address, **how)
    except (ConnectionError, RuntimeError, ValueError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise _not_there(where.address, said[0][:200]) from None
    try:
        yield ray
    except KeyboardInterrupt:
        # A thread may wait inside of Ray at this moment, and a shutdown under it crashes. The command ends now: of a
        # cluster elsewhere its work goes with its connection, and one that was started here goes with its processes.
        if where.address == LOCAL:
            _kill_children()
        raise
    except Exception:
        ray.shutdown()
        raise
    ray.shutdown()


def _kill_children() -> None:
    """Ends every process that this one has started, and theirs."""
    import psutil

    found = psutil.Process().children(recursive=True)
    for one in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(found, timeout=5)


def _check_there(address: str) -> None:
    """Raises where nothing listens at a cluster's address: Ray would wait for it for minutes."""
    host, _, port = address.rpartition(":")
    if not host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT).close()
    except OSError as error:
        raise _not_there(address, error.strerror or type(error).__name__) from None


def _not_there(address: str, why: str) -> UnavailableError:
    return UnavailableError(
        f"no Ray cluster can be joined at '{address}': {why}",
        hint="`ray status --address HOST:PORT` shows whether it runs; --ray alone starts one here.",
    )


@contextlib.contextmanager
def _muted() -> Iterator[None]:
    """Keeps off the terminal what Ray's C++ core writes to it when it starts; an error comes as an exception."""
    sys.stderr.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def share_of(ray: Any, where: Where, llms: Sequence[LLM]) -> Share:
    """What a worker with these models takes, and how many workers there are.

    Memory is what `modelyard plan` predicts. A worker has all the cores of its machine, since an engine fills them by
    its batch, and fewer where more workers are asked for than there are machines. On a cluster with GPUs it has one.

    Raises:
        ResourceExhaustedError: the cluster has no room for one worker.
    """
    nodes = [one["Resources"] for one in ray.nodes() if one["Alive"]]
    cores = [int(one.get("CPU", 0)) for one in nodes if one.get("CPU", 0) >= 1]
    if not cores:
        raise ResourceExhaustedError("the cluster has no CPU", hint="Add a node with `ray start`.")
    memory = sum(memory_of(one.spec) for one in llms)
    gpus = int(sum(one.get("GPU", 0) for one in nodes)) if any(_on_gpu(one) for one in llms) else 0
    elsewhere = all(one.spec.elsewhere for one in llms)
    room = gpus or len(cores)
    most = where.most or (where.least if elsewhere else max(where.least, room))
    cpus = 1 if elsewhere else max(1, _cores_each(cores, most))
    fits = [one for one in nodes if one.get("CPU", 0) >= cpus and one.get("memory", 0) >= memory]
    if not fits:
        largest = max(one.get("memory", 0) for one in nodes)
        raise ResourceExhaustedError(
            f"a worker needs {memory / 2**30:.1f} GiB, and the largest machine of the cluster has {largest / 2**30:.1f}",
            hint="Take a smaller model, quantization: 4bit, or larger machines.",
        )
    why = f"{cpus} of {sum(cores)} cores"
    why += f", {memory / 2**30:.1f} GiB by `plan`" if memory else ", memory not known"
    why += ", 1 GPU" if gpus else ""
    return Share(cpus, 1 if gpus else 0, memory, (where.least, most), why)


def _cores_each(cores: Sequence[int], workers: int) -> int:
    """The most cores a worker can have so that as many workers find a place.

    >>> _cores_each([8, 8], 2), _cores_each([8, 8], 4), _cores_each([8, 4], 3), _cores_each([2], 5)
    (8, 4, 4, 1)
    """
    for each in range(max(cores), 0, -1):
        if sum(one // each for one in cores) >= workers:
            return each
    return 1


def memory_of(spec: ModelSpec) -> int:
    """Bytes that `plan` predicts for a model with a batch of requests; 0 where it is not known."""
    model = None if spec.elsewhere else find_local(spec)
    if model is None:
        return 0
    facts = of_path(model.path, model.revision)
    engine = plan(spec, availability()).engine
    limit = facts.architecture.context_length if facts.architecture else 0
    work = Workload(_BATCH, min(_CONTEXT, limit or _CONTEXT))
    found = predict(facts, work, run_how(spec, engine, facts))
    return found.needed if found is not None else 0


def resources_of(specs: Iterable[ModelSpec]) -> dict[str, dict[str, Any]]:
    """What a replica of each model takes, as Ray takes it: the memory that `plan` predicts, where the files are here."""
    found = {}
    for spec in specs:
        if not spec.elsewhere and not spec.adapter and (memory := memory_of(spec)):
            found[spec.alias] = {"memory": memory}
    return found


def _on_gpu(llm: LLM) -> bool:
    return not llm.spec.elsewhere and llm.spec.engine in ("auto", "vllm", "transformers", "llamacpp")


def with_threads(llm: LLM, cpus: int) -> LLM:
    """The model with as many threads as its worker has cores, where its engine has such an option."""
    spec = llm.spec
    if spec.elsewhere or "threads" in llm.options or "threads" in spec.options:
        return llm
    engine = spec.engine if spec.engine != "auto" else plan(spec, availability()).engine
    if "threads" not in engine_class(engine).OPTIONS:
        return llm
    return llm.remade(options={**llm.options, "threads": cpus})
