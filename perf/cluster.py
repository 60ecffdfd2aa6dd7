"""What Ray costs beside one process, on the same machine and the same cores.

    python perf/cluster.py [--documents 24] [--rounds 2] [--model smollm2-135m]

Documents of the task `eps_extraction` and passages of its releases, one voter of evidence, every answer asked anew. Three ways in
turn: one process with all cores; a local Ray cluster with one worker that has all cores; and one with a worker for each
core. Each way reads n and then 2n documents as whole commands: what both have in common (starting Ray, a scout and
workers that load the model) is the fixed cost, and the rest is the documents a second. The ratios are of the medians.
Run it alone.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from modelyard.extraction.documents import read_document
from modelyard.extraction.passages import select_passages
from modelyard.extraction.task import load_task

MODELYARD = str(Path(sys.executable).with_name("modelyard"))
PASSAGE = 4000  # characters


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--model", default="smollm2-135m")
    given = parser.parse_args()
    cores = os.cpu_count() or 1
    ways = {
        "one process": [],
        "ray, 1 worker": ["--ray", "--ray-workers", "1"],
        f"ray, {cores} workers": ["--ray", "--ray-workers", str(cores)],
    }
    with tempfile.TemporaryDirectory() as folder:
        files = write_documents(Path(folder), 2 * given.documents)
        short: dict[str, list[float]] = {way: [] for way in ways}
        long: dict[str, list[float]] = {way: [] for way in ways}
        command(files[:2], given.model, [])  # the model's files are made ready
        for at in range(given.rounds):
            for way in list(ways) if at % 2 else list(reversed(ways)):
                short[way].append(command(files[: given.documents], given.model, ways[way]))
                long[way].append(command(files, given.model, ways[way]))
    rate, fixed = {}, {}
    for way in ways:
        one, two = statistics.median(short[way]), statistics.median(long[way])
        rate[way], fixed[way] = given.documents / (two - one), 2 * one - two
    base = rate["one process"]
    print(f"{'':<16} {'documents/s':>12} {'of one process':>15} {'fixed s':>8} {'whole s':>8}")
    for way in ways:
        whole = statistics.median(long[way])
        print(f"{way:<16} {rate[way]:>12.2f} {rate[way] / base:>15.3f} {fixed[way]:>8.1f} {whole:>8.1f}")
    found = {
        way: {"documents_a_second": round(rate[way], 3), "of_one_process": round(rate[way] / base, 3),
              "fixed_s": round(fixed[way], 1), "whole_s": round(statistics.median(long[way]), 1)}
        for way in ways
    }  # fmt: skip
    print(json.dumps({"what": "ray", "model": given.model, "cores": cores, **found}))


def command(files: list[Path], model: str, more: list[str]) -> float:
    """Seconds of one whole command."""
    line = [
        MODELYARD,
        "extract",
        *map(str, files),
        "-m",
        model,
        "-t",
        "eps_extraction",
        "--voters",
        "evidence",
    ]
    began = time.perf_counter()
    done = subprocess.run([*line, "--fresh", "--json", *more], capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    if done.returncode != 0:
        sys.exit(done.stderr[-2000:])
    return took


def write_documents(folder: Path, count: int) -> list[Path]:
    """Windows and passages of the task's documents; where there are too few, again with another first line."""
    task = load_task("eps_extraction")
    texts = []
    for labelled in task.documents:
        text = read_document(labelled.path).text
        texts.append(select_passages(text, task.search_terms, PASSAGE).text)
    files = []
    for at in range(count):
        file = folder / f"{at:04}.txt"
        file.write_text(f"Filing {at}.\n{texts[at % len(texts)]}", "utf-8")
        files.append(file)
    return files


if __name__ == "__main__":
    main()
