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
# The least that a process can do with the same library and the same converted files.
RAW = """
import sys, openvino_genai as genai
pipeline = genai.ContinuousBatchingPipeline(sys.argv[1], genai.SchedulerConfig(), "CPU")
tokenizer = pipeline.get_tokenizer()
config = genai.GenerationConfig(max_new_tokens=1)
config.apply_chat_template = False
pipeline.add_request(0, tokenizer.encode("What is the capital of France?").input_ids, config)
pipeline.step()
print("x", flush=True)
"""
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


def converted() -> str:
    """The folder of the small model in OpenVINO's form."""
    from modelyard.catalog.load import load_catalog
    from modelyard.catalog.pull import pull
    from modelyard.engines.openvino.files import prepared

    return str(prepared(pull(load_catalog().get("smollm2-135m"))))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    times: dict[str, list[float]] = {name: [] for name in [*MEASURED, "first token", "first token, raw"]}
    first_token(FIRST_TOKEN)
    raw = [sys.executable, "-c", RAW, converted()]
    for _ in range(rounds):
        for name, command in MEASURED.items():
            times[name].append(whole(command))
        times["first token"].append(first_token(FIRST_TOKEN))
        times["first token, raw"].append(first_token(raw))
    medians = {name: statistics.median(found) for name, found in times.items()}
    for name, seconds in medians.items():
        print(f"{name:<20} {seconds * 1000:8.0f} ms")
    over = medians["import modelyard"] - medians["bare python"]
    print(f"{'import, over bare':<20} {over * 1000:8.0f} ms")
    ratio = medians["first token"] / medians["first token, raw"]
    print(f"{'first token, ratio':<20} {ratio:8.2f}")
    print(json.dumps({"what": "startup", **{name: round(found, 4) for name, found in medians.items()}}))


if __name__ == "__main__":
    main()
