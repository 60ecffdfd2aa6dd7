"""Runner: asks models the samples of tasks, one model after another, and keeps every answer as it comes."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import modelyard
from modelyard import portal
from modelyard.bench.load import bench_task
from modelyard.bench.result import BenchmarkResult, ScoreKind, collect
from modelyard.bench.seat import CannotGoOnError, Here, Manner, Part, Seat, Seated
from modelyard.bench.store import Key, Store, default_store, sample_keys
from modelyard.bench.task import BenchTask, Sample
from modelyard.catalog.load import Catalog, load_catalog
from modelyard.create import create_llm
from modelyard.errors import InvalidArgumentError, ModelyardError
from modelyard.extraction.taskfile import digest
from modelyard.llm import LLM
from modelyard.paths import data_dir
from modelyard.pool import Pool

DRIFT_SAMPLES = 5


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
        seat: where a model is asked; in the pool by default.
    """

    def __init__(
        self,
        *,
        store: str | Path | None = None,
        catalog: str | Path | None = None,
        offline: bool = False,
        pool: Pool | None = None,
        watch: Watch | None = None,
        seat: Callable[[LLM], Seat] = Here,
    ) -> None:
        self.store = Path(store).expanduser() if store is not None else default_store()
        self._catalog = Path(catalog) if catalog is not None else None
        self._pool = pool or Pool(worker=True, offline=offline)
        self._watch: Watch = watch or Unwatched()
        self._seat = seat

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
        self._seat = runner._seat(llm)
        self._manner = Manner(how.seed, how.exact, how.together)
        self._watch = runner._watch
        self._about: dict[str, Any] = {"display_name": llm.spec.display_name or llm.spec.alias}
        self._key: str | None = None

    async def run(self) -> None:
        alias = self._llm.spec.alias
        before = self._store.run(self._run).models.get(alias)
        if before is not None:
            kept = ("load_seconds", "peak_memory", "seconds", "skipped")
            self._about |= {key: one for key, one in before[1].items() if key in kept}
        began = time.monotonic()
        try:
            seated = await self._load()
            tasks = [one for one in self._work if self._can(one[0], seated)]
            if self._seat.mixed:
                await self._ask(tasks)
            else:
                for one in tasks:
                    await self._ask([one])
        except CannotGoOnError as stop:
            self._about["error"] = str(stop.error)
            self._watch.note(f"{alias}: {stop.error.message}")
        finally:
            await self._seat.close()
            self._about["seconds"] = self._about.get("seconds", 0.0) + time.monotonic() - began
            self._note_model()

    async def _load(self) -> Seated:
        self._watch.begin(self._llm.spec.alias, "loading", 0, 0)
        try:
            seated = await self._seat.load()
        except ModelyardError as error:
            raise CannotGoOnError(error) from error
        self._about["load_seconds"] = seated.load_seconds
        self._key = self._store.keep_model(seated.fingerprint)
        self._note_model()
        return seated

    def _note_model(self) -> None:
        if self._seat.peak is not None:
            self._about["peak_memory"] = max(self._about.get("peak_memory") or 0, self._seat.peak)
        self._store.add_model(self._run, self._llm.spec.alias, self._key, self._about)

    def _can(self, task: BenchTask, seated: Seated) -> bool:
        if task.work != "score" or seated.scores:
            return True
        self._about.setdefault("skipped", {})[task.name] = "its engine gives no logprobs of given texts"
        self._watch.note(f"{self._llm.spec.alias} cannot be asked '{task.name}': it gives no scores")
        return False

    # -- its tasks -------------------------------------------------------------------------------------

    async def _ask(self, work: Sequence[tuple[BenchTask, Sequence[Sample]]]) -> None:
        """Asks what these tasks have no answer to yet."""
        parts = [self._part(*one) for one in work]
        total = sum(len(samples) for _, samples in work) * self._how.repeats
        left = sum(len(one.left) for one in parts)
        title = ", ".join(one.task.name for one in parts)
        self._watch.begin(self._llm.spec.alias, title, total, total - left)
        before = time.monotonic()
        await self._seat.prepare(parts, self._manner)
        began = time.monotonic()
        self._about["load_seconds"] += began - before
        made: Counter[str] = Counter()
        async with contextlib.aclosing(self._seat.ask(parts, self._manner)) as answers:
            async for task, sample, row in answers:
                self._store.keep(self._place(task), sample.content, row)
                made[task.name] += 1
                self._watch.step()
        self._note_busy(time.monotonic() - began, made)
        if not self._how.exact and self._how.together != 1:
            for task, samples in work:
                await self._drift(self._place(task), task, samples)

    def _part(self, task: BenchTask, samples: Sequence[Sample]) -> Part:
        there = self._store.answered(self._place(task), failed=not self._how.retry_failed)
        wanted = ((sample, repeat) for sample in samples for repeat in range(self._how.repeats))
        left = [one for one in wanted if (one[0].id, one[0].content, one[1]) not in there]
        return Part(task, left, samples)

    def _place(self, task: BenchTask) -> Key:
        assert self._key is not None
        return Key(self._key, task.fingerprint, self._how.asking)

    def _note_busy(self, seconds: float, made: Counter[str]) -> None:
        """Keeps how long answers took; of tasks whose answers came mixed, by their share of them."""
        for name, count in made.items():
            busy = self._about.setdefault("busy", {}).get(name, [0.0, 0])
            self._about["busy"][name] = [busy[0] + seconds * count / made.total(), busy[1] + count]
        if made:
            self._note_model()

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
            alone = await self._seat.alone(task, sample, self._manner)
            if alone is None:
                self._watch.note(
                    "how far batching moved the answers is looked at where a run ends on one machine"
                )
                return
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
