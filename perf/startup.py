"""What start-up costs: imports, help, and the time to the first token, as whole processes.

    python perf/startup.py [--rounds 7]

Each command runs several times in turn with bare Python, the small model cached; medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMAND = str(Path(sys.executable).with_name("modelyard"))
PYTHON = [sys.executable, "-c", "pass"]
MEASURED = {
    "bare python": PYTHON,
    "import modelyard": [sys.executable, "-c", "import modelyard"],
    "modelyard --help": [COMMAND, "--help"],
}
FIRST_TOKEN = [
    COMMAND,
    "--offline",
    "generate",
    "smollm2-135m",
    "What is the capital of France?",
    "--temperature",
    "0",
]


def whole(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def first_token(command: list[str]) -> float:
    """Seconds from the start of the process to the first character of the answer on its stdout."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.read(1)
        found = time.perf_counter() - began
        process.stdout.read()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    times: dict[str, list[float]] = {name: [] for name in [*MEASURED, "first token"]}
    first_token(FIRST_TOKEN)
    for _ in range(rounds):
        for name, command in MEASURED.items():
            times[name].append(whole(command))
        times["first token"].append(first_token(FIRST_TOKEN))
    medians = {name: statistics.median(found) for name, found in times.items()}
    for name, seconds in medians.items():
        print(f"{name:<20} {seconds * 1000:8.0f} ms")
    over = medians["import modelyard"] - medians["bare python"]
    print(f"{'import, over bare':<20} {over * 1000:8.0f} ms")
    print(json.dumps({"what": "startup", **{name: round(found, 4) for name, found in medians.items()}}))


if __name__ == "__main__":
    main()
