"""A benchmark beside lm-evaluation-harness: PubMedQA as three-way loglikelihood, whole commands and scoring alone.

    python perf/bench.py [--samples 100] [--rounds 2]

Ours is `modelyard bench run` on the default engine and on `transformers`; theirs `lm_eval --model hf`, batch 16. All
three read the same prompts with the same weights: SmolLM2's GGUF file, written out as safetensors for torch. Speed is
taken in the fastest numbers that each side has on this CPU (theirs and our torch engine in bfloat16, the default engine
with activations in 8 bits), from whole processes and from the scoring alone, in which ours has the making of the
default engine's scoring model; sides take turns, and the ratios are of the medians. Whether they choose alike is asked
in float32 on every side, since rounding to bfloat16 alone moves a total by up to 0.1 nats; how far each side's fast
numbers are from its own in float32 is said below. lm_eval, too, reads a prompt once where each choice is one token.
Run it alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modelyard.bench import bench_task
from torch_engine import small_model

CHOICES = ("yes", "no", "maybe")
BATCH = 16
Totals = dict[str, list[float]]
MODELYARD = [str(Path(sys.executable).with_name("modelyard"))]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--theirs", nargs=3, metavar=("DTYPE", "MODEL", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.theirs:
        lm_eval_command(*given.theirs)
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), given.samples, given.rounds)


def compare(folder: Path, samples: int, rounds: int) -> None:
    weights = small_model()
    write_tasks(folder, samples)
    write_catalogue(folder, weights)
    fast: dict[str, Callable[[int], tuple[float, float, Totals]]] = {
        "lm_eval hf, bfloat16": lambda _: theirs(folder, weights, "bfloat16"),
        "modelyard, default engine": lambda at: ours(folder, "smollm2-135m", f"fast {at}"),
        "modelyard, transformers, bfloat16": lambda at: ours(folder, "torch-bfloat16", f"fast {at}"),
    }
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in fast}
    rounded: dict[str, Totals] = {}
    for at in range(rounds):
        for name in list(fast) if at % 2 else reversed(list(fast)):
            scoring, whole, rounded[name] = fast[name](at)
            seconds[name].append((scoring, whole))
    base = [statistics.median(column) for column in zip(*seconds["lm_eval hf, bfloat16"], strict=True)]
    found: dict[str, Any] = {"what": "bench", "samples": samples, "tasks": "pubmedqa"}
    print(f"{'':<36} {'samples/s':>10} {'whole, s':>9} {'/hf':>6} {'whole /hf':>10}")
    for name, pairs in seconds.items():
        scoring, whole = (statistics.median(column) for column in zip(*pairs, strict=True))
        found[name] = {
            "samples_a_second": round(samples / scoring, 2), "whole_s": round(whole, 1),
            "of_hf": round(base[0] / scoring, 2), "whole_of_hf": round(base[1] / whole, 2),
        }  # fmt: skip
        print(
            f"{name:<36} {samples / scoring:>10.2f} {whole:>9.1f} {base[0] / scoring:>6.2f} {base[1] / whole:>10.2f}"
        )
    reference = theirs(folder, weights, "float32")[2]
    exact = {
        "modelyard, default engine, exact": ours(folder, "openvino-exact", "exact", "--exact")[2],
        "modelyard, transformers, float32": ours(folder, "torch-float32", "exact", "--exact")[2],
    }
    found |= compared("in float32, beside hf", {name: (reference, totals) for name, totals in exact.items()})
    own = dict(zip(fast, (reference, *exact.values()), strict=True))
    found |= compared("fast, beside its own in float32", {name: (own[name], rounded[name]) for name in fast})
    print(json.dumps(found))


def compared(what: str, sides: dict[str, tuple[Totals, Totals]]) -> dict[str, Any]:
    """Prints how far the two of each side agree."""
    found: dict[str, Any] = {}
    print(f"\n{what:<36} {'same choice':>12} {'largest difference, nats':>25}")
    for name, (one, two) in sides.items():
        same, largest, ties = agreement(one, two)
        found[f"{name}: {what}"] = {
            "same": same,
            "largest_nats": round(largest, 4),
            "others_apart_nats": ties,
        }
        # A few are worth a look, many are none of the kind.
        shown = f"others are {ties} nats apart" if 0 < len(ties) < 6 else ""
        print(f"{name:<36} {same:>12.1%} {largest:>25.4f}  {shown}")
    return found


def agreement(one: Totals, two: Totals) -> tuple[float, float, list[float]]:
    """The share of equal choices, the largest difference of a total, and how close the choices are that differ."""
    assert one.keys() == two.keys() and one
    pairs = [(one[name], two[name]) for name in one]
    largest = max(abs(a - b) for first, second in pairs for a, b in zip(first, second, strict=True))
    apart = [
        round(max(first) - first[second.index(max(second))], 4)
        for first, second in pairs
        if first.index(max(first)) != second.index(max(second))
    ]
    return 1 - len(apart) / len(pairs), largest, apart


# -- what both sides read ----------------------------------------------------------------------------------------


def write_tasks(folder: Path, samples: int) -> None:
    task: Any = bench_task("pubmedqa")
    every = task.samples()
    some = [every[at * len(every) // samples] for at in range(samples)]
    rows = [{"id": one.id, "text": task.prompt(one), "answer": one.expected} for one in some]
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    listed = json.dumps(CHOICES)
    (folder / "task.yaml").write_text(
        f"name: perf_pubmedqa\nkind: choice\nprompt: '{{{{ text }}}}'\nraw: true\nchoices: {listed}\ndata: rows.jsonl\n"
    )
    (folder / "lm_eval").mkdir()
    (folder / "lm_eval" / "task.yaml").write_text(
        "task: perf_pubmedqa\ndataset_path: json\ndataset_kwargs:\n  data_files:\n"
        f"    test: {data}\ntest_split: test\noutput_type: multiple_choice\ndoc_to_text: '{{{{text}}}}'\n"
        f"doc_to_choice: {listed}\ndoc_to_target: answer\ntarget_delimiter: ' '\nmetric_list:\n  - metric: acc\n"
    )


def write_catalogue(folder: Path, weights: Path) -> None:
    models = {
        f"torch-{dtype}": {
            "source": {"path": str(weights)},
            "engine": "transformers",
            "options": {"dtype": dtype},
        }
        for dtype in ("bfloat16", "float32")
    }
    # In its default precision the engine rounds the file's zero points: other weights (docs/log.md).
    models["openvino-exact"] = {
        "source": "smollm2-135m",
        "engine": "openvino",
        "options": {"precision": "exact"},
    }
    (folder / "models.yaml").write_text(json.dumps({"models": models}))


# -- ours ------------------------------------------------------------------------------------------------------------


def ours(folder: Path, model: str, run: str, *more: str) -> tuple[float, float, Totals]:
    """Seconds of scoring, seconds of the whole command, and each sample's totals."""
    name, store = f"{model} {run}", ["--store", str(folder / f"{model} {run}.sqlite")]
    command = [*MODELYARD, "--catalog", str(folder / "models.yaml"), "bench"]
    line = [
        "run",
        "-m",
        model,
        "-t",
        str(folder / "task.yaml"),
        "--name",
        name,
        "--drift",
        "0",
        "--json",
        *more,
    ]
    began = time.perf_counter()
    done = subprocess.run([*command, *line, *store], capture_output=True, text=True, cwd=folder)
    whole = time.perf_counter() - began
    assert done.returncode == 0, done.stderr
    metrics = json.loads(done.stdout)["models"][0]["tasks"]["perf_pubmedqa"]
    kept = folder / "samples.json"
    subprocess.run([*command, "export", name, "--out", str(kept), *store], check=True, capture_output=True)
    samples = json.loads(kept.read_text())["samples"]
    return (
        metrics["seconds_per_sample"] * metrics["samples"],
        whole,
        {one["sample"]: [total for _, total in one["tokens"]] for one in samples},
    )


# -- theirs ----------------------------------------------------------------------------------------------------------


def theirs(folder: Path, weights: Path, dtype: str) -> tuple[float, float, Totals]:
    """The same of lm_eval's own command."""
    out = Path(tempfile.mkdtemp(dir=folder))
    line = [sys.executable, __file__, "--theirs", dtype, str(weights), str(out)]
    began = time.perf_counter()
    done = subprocess.run(line, capture_output=True, text=True, cwd=folder)
    whole = time.perf_counter() - began
    assert done.returncode == 0, done.stderr[-2000:]
    (log,) = out.rglob("samples_*.jsonl")
    totals: Totals = {}
    for row in map(json.loads, log.read_text().splitlines()):
        totals[row["doc"]["id"]] = [float(total) for total, _ in row["filtered_resps"]]
    return float((out / "scoring").read_text()), whole, totals


def lm_eval_command(dtype: str, model: str, folder: str) -> None:
    """lm_eval's command, with a stopwatch around its model's scoring."""
    from lm_eval.__main__ import cli_evaluate
    from lm_eval.models.huggingface import HFLM

    scored = HFLM._loglikelihood_tokens

    def timed(self: Any, *args: Any, **how: Any) -> Any:
        began = time.perf_counter()
        try:
            return scored(self, *args, **how)
        finally:
            Path(folder, "scoring").write_text(str(time.perf_counter() - began))

    HFLM._loglikelihood_tokens = timed
    tasks = [
        "--tasks",
        "perf_pubmedqa",
        "--include_path",
        "lm_eval",
        "--log_samples",
        "--output_path",
        folder,
    ]
    how = ["--batch_size", str(BATCH), "--device", "cpu"]
    sys.argv = [
        "lm_eval",
        "run",
        "--model",
        "hf",
        "--model_args",
        f"pretrained={model},dtype={dtype}",
        *tasks,
        *how,
    ]
    cli_evaluate()


if __name__ == "__main__":
    main()
