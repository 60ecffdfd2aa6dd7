"""`calibrate`."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelyard.cli.show import Counter, print_json, print_table

if TYPE_CHECKING:
    from modelyard.extraction.calibration import Ballots, Calibrated


class Method(enum.StrEnum):
    """How confidences are bent to the labels."""

    AUTO = "auto"
    LOGISTIC = "logistic"
    ISOTONIC = "isotonic"


def calibrate(
    result: Annotated[
        Path | None, typer.Argument(help="What `modelyard extract … --out FILE` wrote; or give --votes.")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="The right values: JSON Lines of document and labels, or a review's corrections."),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option("--task", "-t", help="In place of --labels: the labels of a task's own data."),
    ] = None,
    votes: Annotated[
        Path | None, typer.Option(help="Recorded votes in place of a result: JSON Lines of gold and votes.")
    ] = None,
    articles: Annotated[
        Path | None, typer.Option(help="The folder with the texts of the votes' documents.")
    ] = None,
    voters: Annotated[
        list[str] | None,
        typer.Option(help="Which of the recorded voters, as a,b,c; repeatable, all by default."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the calibration here.")] = None,
    max_error: Annotated[
        float | None, typer.Option(help="Find the confidence from which at most this error rate is promised.")
    ] = None,
    level: Annotated[float, typer.Option(help="How sure the promise is.")] = 0.95,
    method: Annotated[
        Method, typer.Option(help="auto is logistic below 1000 labelled values, isotonic from there on.")
    ] = Method.AUTO,
    folds: Annotated[int, typer.Option(min=2, help="In how many parts the documents are dealt.")] = 5,
    repeats: Annotated[int, typer.Option(min=1, help="How often they are dealt anew.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Of the folds.")] = 0,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Largest difference of two numbers that count as the same.")
    ] = 0.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="JSON on stdout, with the data of both drawings.")
    ] = False,
) -> None:
    """Fit the confidence on labelled documents, and say how good it is on others."""
    from modelyard.extraction.calibration import calibrate as run
    from modelyard.output import check_writable

    sets = list(_ballots(result, labels, task, votes, articles, voters, tolerance))
    if out is not None:
        _one_set(sets)
        check_writable(out)
    found = []
    with Counter("voter sets", len(sets)) as counter:
        for ballots, used in sets:
            found.append(
                run(
                    ballots, method=method.value, max_error=max_error, level=level, fold_count=folds,
                    repeats=repeats, seed=seed, tolerance=used,
                )
            )  # fmt: skip
            counter.step()
    if out is not None:
        found[0].calibration.save(out)
    if as_json:
        print_json([one.to_dict() for one in found])
        return
    _print(found)
    if out is not None:
        print(f"Calibration: {out.absolute()}")


# -- reading -------------------------------------------------------------------------------------------------


def _ballots(
    result: Path | None,
    labels: Path | None,
    task: str | None,
    votes: Path | None,
    articles: Path | None,
    voters: list[str] | None,
    tolerance: float,
) -> Iterable[tuple[Ballots, float]]:
    """The ballots of each voter set, and the tolerance at which their values were compared."""
    from modelyard.errors import InvalidArgumentError

    if (result is None) == (votes is None):
        raise InvalidArgumentError(
            "calibrate needs either a result or recorded votes",
            hint="Give RESULT with --labels or --task, or --votes FILE.",
        )
    if votes is not None:
        _without("--votes", {"--labels": labels, "--task": task})
        yield from _recorded(votes, articles, voters, tolerance)
        return
    assert result is not None
    _without("a result", {"--articles": articles, "--voters": voters})
    if (labels is None) == (task is None):
        raise InvalidArgumentError(
            "a result needs either --labels or --task", hint="Say where the right values are."
        )
    yield _labelled(result, labels, task, tolerance)


def _recorded(
    votes: Path, articles: Path | None, voters: list[str] | None, tolerance: float
) -> Iterable[tuple[Ballots, float]]:
    from modelyard.extraction.calibration.recorded import read_recorded

    recorded = read_recorded(votes, articles)
    for names in voters or [",".join(recorded.voters)]:
        chosen = [one.strip() for one in names.split(",") if one.strip()]
        yield recorded.ballots(chosen, tolerance=tolerance), tolerance


def _labelled(result: Path, labels: Path | None, task: str | None, tolerance: float) -> tuple[Ballots, float]:
    from modelyard.extraction.calibration.labelled import ballots_of, read_labels, truth_of
    from modelyard.extraction.review.sheet import read_result
    from modelyard.extraction.task import load_task

    sheet = read_result(result)
    if task is not None:
        truth = truth_of(load_task(task), sheet)
    else:
        assert labels is not None
        truth = read_labels(labels, sheet, tolerance=tolerance)
    return ballots_of(sheet, truth), truth.tolerance


def _without(what: str, others: dict[str, Any]) -> None:
    from modelyard.errors import InvalidArgumentError

    for option, given in others.items():
        if given:
            raise InvalidArgumentError(f"{option} has no meaning with {what}", hint=f"Leave {option} out.")


def _one_set(sets: list[Any]) -> None:
    from modelyard.errors import InvalidArgumentError

    if len(sets) != 1:
        raise InvalidArgumentError(
            f"--out writes one calibration, and there are {len(sets)} voter sets",
            hint="Give --voters once.",
        )


# -- printing ------------------------------------------------------------------------------------------------


def _print(found: list[Calibrated]) -> None:
    record = found[0].calibration.record
    print(
        "All figures are of values outside of the fit: "
        f"{record['folds']} folds by document, dealt {record['repeats']} times.\nIntervals are 95%, from drawing "
        "whole documents; ± is the spread over the repeats."
    )
    # Rows are figures and columns the voter sets, so that three sets fit into 80 columns.
    names = [f">{', '.join(one.voters)}" for one in found]
    print_table(("figure", *names), [(name, *(cell(one) for one in found)) for name, cell in _ROWS])
    _print_voters(found)
    if len(found) == 1:
        _print_slopes(found[0])
        _print_curve(found[0])
    for one in found:
        if one.promise is not None:
            print(f"{', '.join(one.voters)}: {one.promise.reason}.")
        for said in one.left_out:
            print(f"{', '.join(one.voters)}: left out: {said}.")


def _figure(one: Calibrated, name: str) -> str:
    found = one.figures[name]
    return "–" if found is None else f"{found['value']:.3f}{_span(found['interval'])}"


def _span(interval: tuple[float, float] | None) -> str:
    """An interval without its noughts, as three sets stand side by side in 80 columns."""
    if interval is None:
        return ""
    low, high = (f"{end:.2f}".removeprefix("0") for end in interval)
    return f" [{low},{high}]"


def _ece(one: Calibrated) -> str:
    found = one.figures["ece"]
    return f"{found['value']:.3f}"


def _ece_repeat(one: Calibrated) -> str:
    found = one.figures["ece"]
    return f"{found['one_repeat']:.3f} ±{found['over_repeats']:.3f}"


def _value(name: str) -> Any:
    return lambda one: "–" if one.figures[name] is None else f"{one.figures[name]['value']:.3f}"


def _best(one: Calibrated) -> str:
    who = one.figures["best_voter"]
    return f"{one.figures['voters'][who]:.3f}"


def _merged_less_best(one: Calibrated) -> str:
    return f"{one.figures['accuracy']['value'] - one.figures['voters'][one.figures['best_voter']]:+.3f}"


def _size(one: Calibrated) -> str:
    return f"{one.counts['labels']} in {one.counts['documents']}"


_ROWS: tuple[tuple[str, Any], ...] = (
    ("values in documents", _size),
    ("ECE, 10 equal bins", _ece),
    ("  of one repeat", _ece_repeat),
    ("AUROC within folds", lambda one: _figure(one, "auroc")),
    ("  across folds", _value("auroc_pooled")),
    ("Brier", lambda one: _figure(one, "brier")),
    ("accuracy, merged", lambda one: _figure(one, "accuracy")),
    ("  best voter", _best),
    ("  difference", _merged_less_best),
    ("accepted half", lambda one: _figure(one, "accepted_half")),
    ("  by raw agreement", _value("accepted_half_raw")),
)


def _print_voters(found: list[Calibrated]) -> None:
    rows = []
    for one in found:
        bars = one.calibration.record["error_bars"]["weights"]
        for who in one.voters:
            weight = f"{one.calibration.weights[who]:.2f} ± {bars[who]:.2f}"
            rows.append((", ".join(one.voters), who, f"{one.figures['voters'][who]:.3f}", weight))
    if len(found) == 1:
        print_table(("voter", ">accuracy alone", ">weight"), [row[1:] for row in rows])
    else:
        print_table(("voters", "voter", ">accuracy alone", ">weight"), rows)


def _print_slopes(one: Calibrated) -> None:
    from modelyard.extraction.calibration.evidence import EVIDENCE

    bars, slopes = one.calibration.record["error_bars"]["slopes"], one.calibration.model.slopes
    rows = [
        (name, f"{slope:.2f} ± {bars[name]:.2f}")
        for name, slope in zip(EVIDENCE, slopes, strict=True)
        if slope or bars[name]
    ]
    print_table(("evidence", ">log odds a standard deviation"), rows)


def _print_curve(one: Calibrated) -> None:
    curve = one.curve()
    rows = []
    for share in (0.1, 0.25, 0.5, 0.75, 1.0):
        at = next((at for at, covered in enumerate(curve["coverage"]) if covered >= share - 1e-9), -1)
        rows.append(
            (f"{curve['coverage'][at]:.0%}", f"{curve['threshold'][at]:.3f}", f"{curve['accuracy'][at]:.3f}")
        )
    print_table((">accepted", ">from confidence", ">accuracy"), rows)
    bins = [
        (
            f"{part['low']:.2f}–{part['high']:.2f}", f"{part['confidence']:.3f}", f"{part['accuracy']:.3f}",
            str(part["count"]),
        )
        for part in one.reliability()["bins"]
    ]  # fmt: skip
    print_table(("bin", ">confidence", ">accuracy", ">values, all repeats"), bins)
