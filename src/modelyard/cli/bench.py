"""`bench`: run, list, show, compare, export, rm, tasks."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelyard.cli.arguments import RayAddress, RayWorkers, ray_named
from modelyard.cli.rays import on_ray, said
from modelyard.cli.settings import SETTINGS
from modelyard.cli.show import Counter, print_json, print_table, size, stderr

if TYPE_CHECKING:
    from modelyard.bench import BenchmarkResult, BenchmarkRunner
    from modelyard.bench.result import Paired
    from modelyard.scale.cluster import Where

app = typer.Typer(
    help="Measure which model does a job best: intervals, tests, ranks, cost.", no_args_is_help=True
)


class Score(enum.StrEnum):
    """How tasks become one figure."""

    MEAN = "mean"
    LEGACY = "legacy"


class Format(enum.StrEnum):
    """What a run can be written as."""

    HTML = "html"
    MARKDOWN = "md"
    JSON = "json"
    CSV = "csv"


StoreOption = Annotated[
    Path | None, typer.Option("--store", help="The file with the answers; in your data folder by default.")
]
ScoreOption = Annotated[
    Score,
    typer.Option(help="The weighted mean of the tasks, or the older 0.9 of quality + 0.1 of efficiency."),
]
LevelOption = Annotated[float, typer.Option(min=0.5, max=0.999, help="Of the intervals and tests.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
Run = Annotated[str, typer.Argument(help="The run's name.")]


class _Many(typer.core.TyperCommand):
    """Lets `--models A B` take several values, as well as `--models A --models B`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = _each_named(args, ("--models", "--tasks", "--family"))
        return super().parse_args(ctx, ray_named(named) if "--ray" in named else named)


def _each_named(args: list[str], several: tuple[str, ...]) -> list[str]:
    """The arguments with an option that has several values written before each of them.

    >>> _each_named(["--models", "a", "b", "--name", "x"], ("--models",))
    ['--models', 'a', '--models', 'b', '--name', 'x']
    """
    found: list[str] = []
    current, taken = "", 0
    for one in args:
        if one.startswith("-"):
            current, taken = one if one in several else "", 0
        elif current:
            if taken:
                found.append(current)
            taken += 1
        found.append(one)
    return found


@app.command("run", cls=_Many)
def run(
    tasks: Annotated[
        list[str], typer.Option("--tasks", "-t", help="Shipped tasks, task files, or file.py:Class; several.")
    ],
    models: Annotated[
        list[str] | None, typer.Option("--models", "-m", help="Aliases, Hub ids or paths; several.")
    ] = None,
    family: Annotated[
        list[str] | None,
        typer.Option("--family", help="All models of the catalogue with this family or tag."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="What the run is called; the same name again goes on.")
    ] = None,
    description: Annotated[str, typer.Option(help="Kept with the run.")] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="Samples of each task.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of tasks that sample.")] = 0,
    repeats: Annotated[int, typer.Option(min=1, help="How often each sample is asked.")] = 1,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact", help="One request at a time, in exact numbers: the same bits each time, and slower."
        ),
    ] = False,
    together: Annotated[
        int | None, typer.Option(min=1, help="Requests at once; as many as memory allows by default.")
    ] = None,
    drift: Annotated[
        int, typer.Option(min=0, help="Samples asked again alone, to see what batching changed.")
    ] = 5,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask again what failed in an earlier run.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Write the page here; ./modelyard-bench.html by default.")
    ] = None,
    score: ScoreOption = Score.MEAN,
    level: LevelOption = 0.95,
    store: StoreOption = None,
    ray: RayAddress = None,
    ray_workers: RayWorkers = None,
    as_json: JsonOption = False,
) -> None:
    """Ask every model every task; print the table and write a page with every sample."""
    from modelyard import portal
    from modelyard.bench.report.files import write_report
    from modelyard.output import check_writable

    page = out or Path("modelyard-bench.html")
    check_writable(page)
    with on_ray(ray, ray_workers) as cluster, _Following() as following:
        runner = _runner(store, following, cluster)
        families = [alias for one in family or [] for alias in runner.family(one)]
        chosen = list(dict.fromkeys([*(models or []), *families]))
        found = portal.run(
            runner.run_benchmark(
                chosen, tasks, name, description, score=score.value, level=level, limit=limit, seed=seed,
                repeats=repeats, exact=exact, together=together, drift=drift, retry_failed=retry_failed,
            )
        )  # fmt: skip
    write_report(page, found)
    if as_json:
        print_json(found.to_dict(samples=False) | {"page": str(page.absolute())})
    else:
        _print(found)
        print(f"Every sample: {page.absolute()}")
    _exit(found)


@app.command("list")
def list_runs(store: StoreOption = None, as_json: JsonOption = False) -> None:
    """List the runs of a store, the last one first."""
    from datetime import datetime

    from modelyard.bench.store import Store, default_store

    with Store(store or default_store()) as opened:
        runs = opened.runs()
    if as_json:
        print_json(
            [
                {
                    "name": one.name, "created": one.created, "changed": one.changed,
                    "description": one.data.get("description", ""), "models": list(one.models),
                    "tasks": list(one.tasks),
                }
                for one in runs
            ]
        )  # fmt: skip
        return
    rows = [
        (
            one.name,
            f"{datetime.fromtimestamp(one.changed):%Y-%m-%d %H:%M}",
            ", ".join(one.models),
            ", ".join(one.tasks),
        )
        for one in runs
    ]
    print_table(("run", "last changed", "models", "tasks"), rows)


@app.command("show")
def show(
    name: Run,
    score: ScoreOption = Score.MEAN,
    level: LevelOption = 0.95,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a run's table again, worked out from its kept answers."""
    found = _runner(store).result(name, score=score.value, level=level)
    if as_json:
        print_json(found.to_dict(samples=False))
    else:
        _print(found)


@app.command("compare")
def compare(
    first: Annotated[str, typer.Argument(help="A run, or RUN:MODEL for one of its models.")],
    second: Annotated[str, typer.Argument(help="Another, or the same run with another model.")],
    level: LevelOption = 0.95,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare models of two runs on the samples that both have answered."""
    from modelyard.bench.compared import compare_runs
    from modelyard.bench.store import Store, default_store

    with Store(store or default_store()) as opened:
        found = compare_runs(opened, first, second, level=level)
    if as_json:
        print_json([{"task": task, **one.to_dict()} for task, pairs in found.items() for one in pairs])
        return
    for task, pairs in found.items():
        _print_pairs(task, pairs)


@app.command("export")
def export(
    name: Run,
    out: Annotated[Path, typer.Option(help="The file; what it is follows from its ending.")],
    form: Annotated[
        Format | None, typer.Option("--format", help="html, md, json (all), or csv (a row a sample).")
    ] = None,
    score: ScoreOption = Score.MEAN,
    level: LevelOption = 0.95,
    store: StoreOption = None,
) -> None:
    """Write a run as a page, Markdown, JSON or CSV."""
    from modelyard.bench.report.files import write_report
    from modelyard.output import check_writable

    check_writable(out)
    found = _runner(store).result(name, score=score.value, level=level)
    write_report(out, found, form=form.value if form else None)
    print(out.absolute())


@app.command("rm")
def remove(
    name: Run,
    store: StoreOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a run, and the answers that no other run shows."""
    from modelyard.bench.store import Store, default_store

    with Store(store or default_store()) as opened:
        opened.run(name)
        if not yes:
            typer.confirm(f"Remove run '{name}' and its answers?", abort=True, err=True)
        count = opened.remove(name)
    print(f"removed '{name}' and {count} answers")


@app.command("tasks")
def list_tasks(as_json: JsonOption = False) -> None:
    """List the tasks that come with modelyard, and how each is scored."""
    from modelyard.bench import bench_task
    from modelyard.extraction.taskfile import shipped_tasks

    tasks = [bench_task(name) for name in shipped_tasks()]
    if as_json:
        print_json(
            [
                {
                    "name": one.name, "title": one.title, "kind": one.kind, "samples": len(one.samples()),
                    "score": one.about, "source": one.source, "licence": one.licence, "weight": one.weight,
                }
                for one in tasks
            ]
        )  # fmt: skip
        return
    rows = [(one.name, one.kind, str(len(one.samples())), one.licence, one.about) for one in tasks]
    print_table(("task", "kind", ">samples", "licence", "score"), rows)


# -- printing ------------------------------------------------------------------------------------------------


def _print(found: BenchmarkResult) -> None:
    rows = []
    for one in found.model_metrics.values():
        final = "–" if one.final is None else _interval(one.final.value, one.final.low, one.final.high)
        scores = [
            _interval(task.score.value, task.score.low, task.score.high) if task else "–"
            for task in (one.tasks.get(name) for name in found.tasks)
        ]
        load = "–" if one.load_seconds is None else f"{one.load_seconds:.1f}"
        rows.append((_rank(found, one.rank), one.alias, final, *scores, load, size(one.peak_memory)))
    title = f"{found.name}: {found.level:.0%} intervals; models that cannot be told apart share a rank"
    columns = (
        "rank",
        "model",
        ">final score",
        *(f">{name}" for name in found.tasks),
        ">load s",
        ">peak memory",
    )
    print_table(columns, rows, title=title)
    for name in found.tasks:
        _print_task(found, name)
    _print_notes(found)


def _rank(found: BenchmarkResult, rank: int | None) -> str:
    if rank is None:
        return "–"
    same = sum(one.rank == rank for one in found.model_metrics.values())
    return str(rank) if same == 1 else f"{rank}–{rank + same - 1}"


def _print_task(found: BenchmarkResult, name: str) -> None:
    from modelyard.bench.outcome import OUTCOMES

    task = found.tasks[name]
    rows = []
    for one in found.model_metrics.values():
        own = one.tasks.get(name)
        if own is None:
            continue
        counts = [str(own.outcomes[outcome]) for outcome in OUTCOMES]
        cost = (f"{own.seconds_per_sample:.3g}", f"{own.tokens_per_sample:.0f}")
        score = _interval(own.score.value, own.score.low, own.score.high)
        rows.append((str(own.rank), one.alias, score, *counts, *cost))
    shown = "" if task.smallest_difference is None else (
        f"; {task.samples} samples show a difference of {task.smallest_difference:.3f} or more"
    )  # fmt: skip
    columns = ("rank", "model", ">score", *(f">{one}" for one in OUTCOMES), ">s / sample", ">tokens / sample")
    print_table(columns, rows, title=f"{name}{shown}")
    if task.comparisons:
        _print_pairs(f"{name}: pairs of models", task.comparisons)


def _print_pairs(title: str, pairs: Iterable[Paired]) -> None:
    rows = [
        (
            one.a, one.b, _signed(one.comparison.difference, one.comparison.low, one.comparison.high),
            f"{one.p_holm:.3g}", "yes" if one.told_apart else "no", one.comparison.test,
        )
        for one in pairs
    ]  # fmt: skip
    print_table(("model", "beside", ">difference", ">p (Holm)", "told apart", "test"), rows, title=title)


def _print_notes(found: BenchmarkResult) -> None:
    for one in found.model_metrics.values():
        for name, task in one.tasks.items():
            if task.drift:
                moved = task.drift["changed_outcomes"], task.drift["changed_answers"], task.drift["samples"]
                print(
                    f"{one.alias}, {name}: batching changed {moved[0]} outcomes and {moved[1]} answers of "
                    f"{moved[2]} asked again alone"
                )
            if task.missing:
                print(f"{one.alias}, {name}: {task.missing} samples have no answer yet")
        for name, why in one.skipped.items():
            print(f"{one.alias}, {name}: not asked, because {why}")


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _signed(value: float, low: float, high: float) -> str:
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def _exit(found: BenchmarkResult) -> None:
    failed = [one for one in found.model_metrics.values() if one.error]
    for one in failed:
        typer.echo(f"error: {one.alias}: {one.error}", err=True)
    if failed:
        raise typer.Exit(9 if len(failed) < len(found.model_metrics) else 1)


# -- running -------------------------------------------------------------------------------------------------


class _Following:
    """A bar for each model and task; the notes between them."""

    def __init__(self) -> None:
        self._counter: Counter | None = None

    def begin(self, model: str, task: str, total: int, done: int) -> None:
        self._stop()
        self._counter = Counter(f"{model}: {task}", total, done=done)
        self._counter.__enter__()

    def step(self) -> None:
        if self._counter is not None:
            self._counter.step()

    def note(self, text: str) -> None:
        stderr().print(text, highlight=False, markup=False)

    def _stop(self) -> None:
        if self._counter is not None:
            self._counter.__exit__()
            self._counter = None

    def __enter__(self) -> _Following:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop()


def _runner(
    store: Path | None, watch: _Following | None = None, cluster: tuple[Any, Where] | None = None
) -> BenchmarkRunner:
    from modelyard.bench import BenchmarkRunner
    from modelyard.cli.show import Bars
    from modelyard.pool import Pool

    pool = Pool(worker=True, offline=SETTINGS.offline, progress=Bars())
    how: dict[str, Any] = {}
    if cluster is not None:
        from modelyard.scale.bench import RaySeat

        ray, where = cluster
        how["seat"] = lambda llm: RaySeat(ray, where, llm, said)
    return BenchmarkRunner(store=store, catalog=SETTINGS.catalog, pool=pool, watch=watch, **how)
