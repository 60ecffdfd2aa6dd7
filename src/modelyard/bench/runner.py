"""Runner: asks models the samples of tasks, one model after another, and keeps every answer as it comes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import modelyard
from modelyard import portal
from modelyard.bench.load import bench_task
from modelyard.bench.outcome import Judgement, Row
from modelyard.bench.result import BenchmarkResult, ScoreKind, collect
from modelyard.bench.store import Key, Store, default_store, sample_keys
from modelyard.bench.task import Asked, BenchTask, Sample
from modelyard.bench.width import widest
from modelyard.catalog.load import Catalog, load_catalog
from modelyard.create import create_llm
from modelyard.errors import (
    EngineCrashedError,
    InvalidArgumentError,
    ModelyardError,
    ResourceExhaustedError,
    conduct,
)
from modelyard.extraction.taskfile import digest
from modelyard.llm import LLM
from modelyard.paths import data_dir
from modelyard.pool import Pool

DRIFT_SAMPLES = 5
_ATTEMPTS = 3
_GIVE_UP = 5  # crashes in a row: a model that dies of every sample is not started for each of them
_LOOK = 0.25  # seconds between two looks at the memory of a model
_CRASHES = (EngineCrashedError, ResourceExhaustedError)


class Watch(Protocol):
    """What follows a run: told which model works on which task, of each answer, and what else is to be said."""

    def begin(self, model: str, task: str, total: int, done: int) -> None: ...

    def step(self) -> None: ...

    def note(self, text: str) -> None: ...


class Unwatched:
    """Follows nothing."""

    def begin(self, model: str, task: str, total: int, done: int) -> None:
        return

    def step(self) -> None:
        return

    def note(self, text: str) -> None:
        return


@dataclass(slots=True, frozen=True)
class How:
    """How samples are asked.

    Attributes:
        limit: samples of each task; the task's own limit where None.
        seed: of tasks that sample; the n-th repeat has this one plus n.
        repeats: how often each sample is asked.
        exact: one request at a time, so that no answer depends on what else was in the batch, and scores in the
            engine's exact numbers.
        together: requests at once; as many as memory allows where None.
        drift: samples that are asked again alone, to see how far batching moved the answers.
        retry_failed: asks again what failed in an earlier run.
    """

    limit: int | None = None
    seed: int = 0
    repeats: int = 1
    exact: bool = False
    together: int | None = None
    drift: int = DRIFT_SAMPLES
    retry_failed: bool = False

    def __post_init__(self) -> None:
        least = {"limit": 1, "seed": 0, "repeats": 1, "together": 1, "drift": 0}
        for name, smallest in least.items():
            value = getattr(self, name)
            if value is not None and value < smallest:
                raise InvalidArgumentError(f"{name} is {value}", hint=f"It has to be {smallest} or more.")
        if self.exact and self.together not in (None, 1):
            raise InvalidArgumentError(
                f"exact asks one at a time, and together is {self.together}", hint="Leave one of them out."
            )

    @property
    def asking(self) -> str:
        """What of this an answer depends on; another version may ask in other words."""
        return digest({"seed": self.seed, "exact": self.exact, "modelyard": modelyard.__version__})


class BenchmarkRunner:
    """Compares models on tasks; `create_benchmark_runner` makes one.

    Args:
        store: the file that keeps the answers; the one in the user's data folder by default.
        catalog: a YAML file laid over the starter catalogue.
        offline: use only what is on this machine.
        pool: where the models are loaded; one of its own by default, with each model in a process of its own, so
            that one which dies takes nothing with it and its memory can be told from ours.
        watch: what follows the runs.
    """

    def __init__(
        self,
        *,
        store: str | Path | None = None,
        catalog: str | Path | None = None,
        offline: bool = False,
        pool: Pool | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.store = Path(store).expanduser() if store is not None else default_store()
        self._catalog = Path(catalog) if catalog is not None else None
        self._pool = pool or Pool(worker=True, offline=offline)
        self._watch: Watch = watch or Unwatched()

    async def run_benchmark(
        self,
        models: Iterable[str | LLM],
        tasks: Iterable[str | Path | BenchTask],
        run_name: str | None = None,
        description: str = "",
        *,
        score: ScoreKind = "mean",
        level: float = 0.95,
        **how: Any,
    ) -> BenchmarkResult:
        """Asks every model every task, and compares what came.

        A run of the same name goes on: it asks what has no answer yet, also of models and tasks that are new to it.
        A model that cannot be loaded, or dies again and again, is in the result with its error, and the others
        go on.

        Args:
            models: aliases, Hub ids or paths, or LLMs.
            tasks: shipped tasks, paths of task files, `file.py:Class`, or tasks.
            run_name: what the run is called; its tasks and models where not given.
            description: kept with it.
            score: `mean`, or `legacy` for 0.9 of quality and 0.1 of efficiency.
            level: of the intervals.
            how: `limit`, `seed`, `repeats`, `exact`, `together`, `drift`, `retry_failed` (see `How`).

        Raises:
            InvalidArgumentError, SchemaError, ModelNotFoundError: a model or task that is not there, or a mistake
                in one, before anything is asked.
            DiskFullError: the store cannot grow; what was answered is kept.
        """
        asking = self._how(how)
        chosen = [bench_task(one) for one in _several(tasks, "tasks")]
        llms = [self._llm(one) for one in _several(models, "models")]
        _each_once([one.name for one in chosen], "task")
        _each_once([one.spec.alias for one in llms], "model")
        work = [(task, self._samples(task, asking)) for task in chosen]
        name = run_name or _name(llms, chosen)
        with Store(self.store) as store, _alone(self.store, name):
            self._begin(store, name, description, asking, work)
            for llm in llms:
                await _Model(self, store, name, llm, asking, work).run()
            return collect(store, name, score=score, level=level)

    def run(self, models: Iterable[str | LLM], tasks: Iterable[Any], **how: Any) -> BenchmarkResult:
        """`run_benchmark`, waited for; the same arguments."""
        return portal.run(self.run_benchmark(models, tasks, **how))

    def result(self, run_name: str, *, score: ScoreKind = "mean", level: float = 0.95) -> BenchmarkResult:
        """What a run has found, from the store alone.

        Raises:
            InvalidArgumentError: there is no such run.
        """
        with Store(self.store) as store:
            return collect(store, run_name, score=score, level=level)

    def family(self, name: str) -> list[str]:
        """The aliases of a family of models, by the catalogue's `family` and `tags`.

        Raises:
            InvalidArgumentError: no model is of that family.
        """
        from modelyard.errors import nearest

        found, known = [], set()
        for spec in self._load_catalog():
            labels = {one for one in (spec.family, *spec.tags) if one}
            known |= labels
            if name in labels:
                found.append(spec.alias)
        if not found:
            raise InvalidArgumentError(
                f"no model is of the family '{name}'.{nearest(name, known)}",
                hint=f"Families: {', '.join(sorted(known))}.",
            )
        return found

    def _load_catalog(self) -> Catalog:
        return load_catalog(self._catalog)

    def _how(self, given: dict[str, Any]) -> How:
        known = How.__dataclass_fields__
        for name in given:
            if name not in known:
                from modelyard.errors import nearest

                raise InvalidArgumentError(
                    f"'{name}' is not known.{nearest(name, known)}", hint=f"Known: {', '.join(known)}."
                )
        return How(**given)

    def _llm(self, model: str | LLM) -> LLM:
        if isinstance(model, LLM):
            return model
        return create_llm(model, catalog=self._catalog, pool=self._pool)

    def _samples(self, task: BenchTask, how: How) -> Sequence[Sample]:
        samples = task.samples()
        if not samples:
            raise InvalidArgumentError(f"task '{task.name}' has no samples", hint="Give it some data.")
        most = how.limit if how.limit is not None else task.limit
        return _spread(samples, most)

    def _begin(
        self,
        store: Store,
        name: str,
        description: str,
        how: How,
        work: Sequence[tuple[BenchTask, Sequence[Sample]]],
    ) -> None:
        from modelyard.bench.machine import machine

        data = {
            "description": description, "seed": how.seed, "repeats": how.repeats, "exact": how.exact,
            "limit": how.limit, "asking": how.asking, "machine": machine(),
        }  # fmt: skip
        store.begin(name, data)
        for task, samples in work:
            store.add_task(name, task.name, task.fingerprint, _about(task, samples))


class _CannotGoOnError(Exception):
    """What ends a model's part of a run, and only that."""

    def __init__(self, error: ModelyardError) -> None:
        super().__init__(error.message)
        self.error = error


class _Model:
    """One model's part of a run."""

    def __init__(
        self,
        runner: BenchmarkRunner,
        store: Store,
        run: str,
        llm: LLM,
        how: How,
        work: Sequence[tuple[BenchTask, Sequence[Sample]]],
    ) -> None:
        self._store, self._run, self._llm, self._how, self._work = store, run, llm, how, work
        self._pool = llm.pool
        self._watch = runner._watch
        self._about: dict[str, Any] = {"display_name": llm.spec.display_name or llm.spec.alias}
        self._key: str | None = None
        self._crashes = 0

    async def run(self) -> None:
        alias = self._llm.spec.alias
        before = self._store.run(self._run).models.get(alias)
        if before is not None:
            kept = ("load_seconds", "peak_memory", "seconds", "skipped")
            self._about |= {key: one for key, one in before[1].items() if key in kept}
        began = time.monotonic()
        try:
            await self._load()
            async with self._memory():
                for task, samples in self._work:
                    await self._task(task, samples)
        except _CannotGoOnError as stop:
            self._about["error"] = str(stop.error)
            self._watch.note(f"{alias}: {stop.error.message}")
        finally:
            await asyncio.to_thread(self._llm.close)
            self._about["seconds"] = self._about.get("seconds", 0.0) + time.monotonic() - began
            self._note_model()

    async def _load(self) -> None:
        spec = self._llm.spec
        self._watch.begin(spec.alias, "loading", 0, 0)
        try:
            if spec.sources and not spec.elsewhere:
                await asyncio.to_thread(self._llm.pull)  # a download is no part of the time to load
            began = time.monotonic()
            self._capabilities = await self._llm.load_async()
            self._about["load_seconds"] = time.monotonic() - began
            fingerprint = await self._llm.fingerprint_async()
        except ModelyardError as error:
            raise _CannotGoOnError(error) from error
        self._key = self._store.keep_model(fingerprint)
        self._note_model()

    def _note_model(self) -> None:
        self._store.add_model(self._run, self._llm.spec.alias, self._key, self._about)

    @contextlib.asynccontextmanager
    async def _memory(self) -> Any:
        """Looks at what the model holds, now and then, and keeps the most."""

        async def look() -> None:
            while True:
                for row in self._pool.status():
                    if row.alias == self._llm.spec.alias and row.measured:
                        self._about["peak_memory"] = max(self._about.get("peak_memory") or 0, row.measured)
                await asyncio.sleep(_LOOK)

        looking = asyncio.create_task(look())
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    # -- one task --------------------------------------------------------------------------------------

    async def _task(self, task: BenchTask, samples: Sequence[Sample]) -> None:
        if task.work == "score" and not self._capabilities.score:
            self._about.setdefault("skipped", {})[task.name] = "its engine gives no logprobs of given texts"
            self._watch.note(f"{self._llm.spec.alias} cannot be asked '{task.name}': it gives no scores")
            return
        assert self._key is not None
        key = Key(self._key, task.fingerprint, self._how.asking)
        there = self._store.answered(key, failed=not self._how.retry_failed)
        wanted = [(sample, repeat) for sample in samples for repeat in range(self._how.repeats)]
        left = [one for one in wanted if (one[0].id, one[0].content, one[1]) not in there]
        self._watch.begin(self._llm.spec.alias, task.name, len(wanted), len(wanted) - len(left))
        together = 1 if self._how.exact else self._how.together or await self._widest(task, samples)
        began = time.monotonic()
        await _at_once(together, [self._one(key, task, *one) for one in left])
        if left:
            busy = self._about.setdefault("busy", {}).get(task.name, [0.0, 0])
            self._about["busy"][task.name] = [busy[0] + time.monotonic() - began, busy[1] + len(left)]
            self._note_model()
        if together > 1:
            await self._drift(key, task, samples)

    async def _widest(self, task: BenchTask, samples: Sequence[Sample]) -> int:
        return await asyncio.to_thread(widest, self._llm, task, samples)

    async def _one(self, key: Key, task: BenchTask, sample: Sample, repeat: int) -> None:
        row = await self._row(task, sample, repeat, exact=self._how.exact)
        self._store.keep(key, sample.content, row)
        self._watch.step()

    async def _row(self, task: BenchTask, sample: Sample, repeat: int, *, exact: bool) -> Row:
        began = time.monotonic()
        try:
            asked = await self._asked(task, sample, repeat, exact)
        except ModelyardError as error:
            if isinstance(error, _CRASHES):
                self._crashes += 1
                if self._crashes >= _GIVE_UP:
                    raise _CannotGoOnError(error) from error
            failed = Judgement("failed", 0.0, reason=str(error))
            return _row_of(sample, repeat, Asked("", "", "error", seconds=time.monotonic() - began), failed)
        self._crashes = 0
        return _row_of(sample, repeat, asked, _ours(task, lambda: task.judge(sample, asked)))

    async def _asked(self, task: BenchTask, sample: Sample, repeat: int, exact: bool) -> Asked:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await _ours_async(
                    task, task.ask(self._llm, sample, seed=self._how.seed + repeat, exact=exact)
                )
            except ModelyardError as error:
                if attempt == _ATTEMPTS or not conduct(error).retryable:
                    raise
                wait = getattr(error, "retry_after", None)
                await asyncio.sleep(wait if isinstance(wait, int | float) else 0.2 * attempt)
        raise AssertionError

    # -- how far batching moved the answers --------------------------------------------------------------

    async def _drift(self, key: Key, task: BenchTask, samples: Sequence[Sample]) -> None:
        """Asks a few samples again, alone and in exact numbers, and keeps what changed."""
        if self._how.drift == 0 or self._store.drift(key) is not None:
            return
        some = _spread(samples, self._how.drift)
        kept = {row.sample: row for row in self._store.rows(key, sample_keys(some), 1)}
        changed = {"samples": 0, "changed_outcomes": 0, "changed_answers": 0}
        largest: float | None = None
        for sample in some:
            if sample.id not in kept or kept[sample.id].outcome == "failed":
                continue
            alone = await self._row(task, sample, 0, exact=True)
            before = kept[sample.id]
            changed["samples"] += 1
            changed["changed_outcomes"] += alone.outcome != before.outcome
            changed["changed_answers"] += alone.answer != before.answer
            if alone.answer == before.answer:
                pairs = zip(alone.tokens, before.tokens, strict=False)
                apart = [
                    abs(one[1] - two[1]) for one, two in pairs if one[1] is not None and two[1] is not None
                ]
                known = [one for one in (largest, *apart) if one is not None]
                largest = max(known, default=None)
        if changed["samples"]:
            self._store.keep_drift(key, {**changed, "largest_logprob_difference": largest})


def create_benchmark_runner(**how: Any) -> BenchmarkRunner:
    """A runner; arguments as `BenchmarkRunner` takes them.

    >>> create_benchmark_runner(store="results.sqlite").store.name
    'results.sqlite'
    """
    return BenchmarkRunner(**how)


# -- helpers ---------------------------------------------------------------------------------------------------


def _several(given: Iterable[Any], what: str) -> list[Any]:
    if isinstance(given, str | Path | BenchTask | LLM):
        given = [given]
    found = list(given)
    if not found:
        raise InvalidArgumentError(f"there are no {what}", hint=f"Name at least one with --{what}.")
    return found


def _each_once(names: Sequence[str], what: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise InvalidArgumentError(f"{what} '{name}' is given twice", hint="Name each once.")


def _name(llms: Sequence[LLM], tasks: Sequence[BenchTask]) -> str:
    return f"{', '.join(one.name for one in tasks)}: {', '.join(one.spec.alias for one in llms)}"[:120]


def _spread(samples: Sequence[Sample], most: int | None) -> list[Sample]:
    """So many samples, spread evenly over all of them; those of a smaller number are among those of its multiples.

    >>> [one.id for one in _spread([Sample(str(at), "", 0) for at in range(6)], 3)]
    ['0', '2', '4']
    """
    if most is None or most >= len(samples):
        return list(samples)
    return [samples[at * len(samples) // most] for at in range(most)]


def _about(task: BenchTask, samples: Sequence[Sample]) -> dict[str, Any]:
    return {
        "title": task.title or task.name, "kind": task.kind, "about": task.about, "weight": task.weight,
        "tier": task.tier, "source": task.source, "licence": task.licence, "samples": sample_keys(samples),
    }  # fmt: skip


def _row_of(sample: Sample, repeat: int, asked: Asked, judgement: Judgement) -> Row:
    return Row(
        sample=sample.id, repeat=repeat, document=sample.document, judgement=judgement, prompt=asked.prompt,
        answer=asked.answer, expected=sample.expected, tokens=asked.tokens, seconds=asked.seconds,
        prompt_tokens=asked.prompt_tokens, completion_tokens=asked.completion_tokens, warnings=asked.warnings,
    )  # fmt: skip


async def _at_once(width: int, work: Sequence[Awaitable[None]]) -> None:
    """Awaits all, so many at once, the first ones first; the first error ends the others."""
    waiting = iter(work)

    async def lane() -> None:
        for one in waiting:
            await one

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(width, len(work))):
                group.create_task(lane())
    except BaseExceptionGroup as found:
        raise _first(found) from None
    finally:
        for one in waiting:
            one.close()  # type: ignore[attr-defined]


def _first(found: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = found
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _ours(task: BenchTask, judge: Callable[[], Judgement]) -> Judgement:
    """The judgement; what a task class of the user's raises is a failure of its sample, with its words."""
    try:
        return judge()
    except ModelyardError:
        raise
    except Exception as error:
        if task.kind != "python":
            raise
        return Judgement("failed", 0.0, reason=f"judge of task '{task.name}' raised {error!r}")


async def _ours_async(task: BenchTask, asking: Awaitable[Asked]) -> Asked:
    try:
        return await asking
    except ModelyardError:
        raise
    except Exception as error:
        if task.kind != "python":
            raise
        raise InvalidArgumentError(f"ask of task '{task.name}' raised {error!r}", hint="Mend it.") from error


@contextlib.contextmanager
def _alone(store: Path, run: str) -> Any:
    """Holds a run, so that two processes do not ask the same samples at the same time."""
    from filelock import FileLock, Timeout

    locks = data_dir() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    lock = FileLock(locks / f"bench-{digest(str(store.absolute()), run)}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise InvalidArgumentError(
            f"run '{run}' is being worked on by another process", hint="Wait for it, or name another run."
        ) from None
    try:
        yield
    finally:
        lock.release()
