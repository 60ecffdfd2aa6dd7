"""Extraction against LangExtract: documents a second, and quotes placed in a long text; in one run, as ratios.

    python perf/extraction.py [--model smollm2-135m] [--documents 40] [--rounds 1] [--whole] [--buffers 1000 8000]

The documents are the 10-Q windows of the task `eps_extraction`, then passages of its earnings releases (6,000
characters about the fields; with --whole all of the release). All sides read the same texts with the same model and
look for the same two fields, each with its line as the quote. LangExtract asks `modelyard serve` through its OpenAI
provider, all chunks in flight at once, once with its default chunks of 1,000 characters and once with chunks that
hold a whole window. Its answers are free, as its examples write them: held to its schema (--schema), our server
writes JSON without the white space of its examples, and qwen2.5-coder-1.5b then closes the list
at once. Its answers may be as long as ours, so that none runs on to the end of the context. Ours asks
the same server (`endpoint`), or runs the model in this process (`direct`); with one voter, because LangExtract makes
one pass.

Nothing is read from a cache: each round's documents begin with a line of their own, and LangExtract's prompt, whose
start all its chunks share, does too. One document is read by each side before the stopwatch starts. `right` counts
values within the task's tolerance of the label; of several answers of LangExtract for a field the first counts, and
`among` says how often any is right. Look at `answered` before the ratio: a side that gives no value writes little and
is soon done. Only with a model that does the work,
such as qwen2.5-coder-1.5b, does the ratio compare like with like. Run it alone; LangExtract's environment is made in
the cache once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from langextract_peer import Peer, langextract
from modelyard import create_llm
from modelyard.extraction import extract_async
from modelyard.extraction.documents import read_document, read_text
from modelyard.extraction.passages import select_passages
from modelyard.extraction.task import Task, load_task
from modelyard.llm import LLM
from quotes import compare as compare_grounding

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.servers import free_port, wait_for

WINDOWS = 29  # of the documents at most; the rest are releases
PASSAGE = 6000  # characters of a release
WORKERS = 64  # requests in flight: as many as the server runs at a time
ANSWER = 360  # tokens of an answer at most; what ours allows for two fields
SERVER = "modelyard serve"


class Labelled(NamedTuple):
    """A document's text, and the values that are right."""

    name: str
    text: str
    labels: Mapping[str, float]


class Round(NamedTuple):
    """What a side made of the documents: seconds, and each document's values by field."""

    seconds: float
    values: dict[str, dict[str, list[Any]]]


Side = Callable[[Sequence[Labelled], str], Round]
"""From documents and a round's own opening to what was found."""


def documents(task: Task, count: int, *, whole: bool) -> list[Labelled]:
    """The documents, windows first, in the order of the task's data."""
    windows = [one for one in task.documents if one.kind == "10-Q window"][:WINDOWS]
    releases = [one for one in task.documents if one.kind != "10-Q window"]
    share = min(len(windows), count * WINDOWS // 40 if count < 40 else WINDOWS)
    found = []
    for one in [*windows[:share], *releases[: count - share]]:
        text = read_document(one.path).text
        if one.kind != "10-Q window" and not whole:
            text = select_passages(text, task.search_terms, PASSAGE).text
        found.append(Labelled(one.path.name, text, one.labels))
    return found


def ours(llm: LLM, task: Task, voters: int) -> Side:
    """`extract_async` with the task as it is shipped, all documents in flight; nothing is kept or looked up."""

    def run(given: Sequence[Labelled], _: str) -> Round:
        async def all_() -> Any:
            sources = [read_text(one.text, one.name.removesuffix(".html")) for one in given]
            return await extract_async(
                sources, model=llm, task=task, voters=voters, judge=False, store=None, together=WORKERS
            )

        began = time.perf_counter()
        results = asyncio.run(all_()).documents
        seconds = time.perf_counter() - began
        failed = [one.error for one in results if one.error]
        if failed:
            raise RuntimeError(f"{len(failed)} of {len(results)} documents failed: {failed[0]}")
        names = [one.name for one in given]
        return Round(
            seconds,
            {
                name: {field: [one.value] for field, one in result.fields.items()}
                for name, result in zip(names, results, strict=True)
            },
        )

    return run


def theirs(peer: Peer, url: str, buffer: int, *, schema: bool) -> Side:
    """LangExtract, with chunks of so many characters; its answers held to its schema, or free."""

    def run(given: Sequence[Labelled], opening: str) -> Round:
        said = peer.ask(
            "extract", documents={one.name: one.text for one in given}, opening=opening, url=url, model="small",
            workers=WORKERS, tokens=ANSWER, buffer=buffer, schema=schema,
        )  # fmt: skip
        values: dict[str, dict[str, list[Any]]] = {}
        for name, found in said["found"].items():
            values[name] = {}
            for one in found:
                values[name].setdefault(one["field"], []).append(one["value"])
        return Round(said["seconds"], values)

    return run


def right(found: Round, given: Sequence[Labelled], tolerance: float) -> tuple[int, int, int]:
    """How many fields have a value, how many fields' first values are right, and for how many any is."""
    answered = first = among = 0
    for one in given:
        for field, label in one.labels.items():
            values = found.values.get(one.name, {}).get(field, [])
            good = [
                isinstance(value, int | float) and abs(value - label) <= tolerance + 1e-9 for value in values
            ]
            answered += any(value is not None for value in values)
            first += bool(good and good[0])
            among += any(good)
    return answered, first, among


@contextlib.contextmanager
def server(model: str) -> Iterator[str]:
    """`modelyard serve` as a user starts it; gives its address."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "models.yaml"
        file.write_text(f"models:\n  small: {{source: {model}}}\n")
        port = free_port()
        program = str(Path(sys.executable).with_name("modelyard"))
        line = [program, "serve", str(file), "--port", str(port), "--load", "small", "--deadline", "3000"]
        child = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
        try:
            wait_for(f"http://127.0.0.1:{port}/livez", child, 300)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(10)
            child.kill()
            child.wait()


def through(url: str, folder: str, context: int) -> LLM:
    """The server's model, behind the engine `endpoint`."""
    file = Path(folder) / "there.yaml"
    options = {"model": "small", "timeout": 3000, "context_length": context}
    file.write_text(json.dumps({"models": {"there": {"url": url, "engine": "endpoint", "options": options}}}))
    return create_llm("there", catalog=file)


def measure(
    sides: Mapping[str, Side], given: Sequence[Labelled], rounds: int, tolerance: float
) -> dict[str, Any]:
    """Prints the table: medians of documents a second, and of the rounds' ratios to each of LangExtract's rows."""
    made: dict[str, list[Round]] = {name: [] for name in sides}
    for at in range(rounds):
        for name in list(sides) if at % 2 == 0 else reversed(list(sides)):
            mark = f"Round {at + 1} of {name}, {time.time_ns() % 10**6}."
            sides[name]([one._replace(text=f"{mark}\n{one.text}") for one in given[:1]], f"{mark} ")
            marked = [
                one._replace(text=f"{mark} Document {number}.\n{one.text}")
                for number, one in enumerate(given)
            ]
            made[name].append(sides[name](marked, f"{mark} "))
            print(f"  {name}: {made[name][-1].seconds:.1f} s", file=sys.stderr, flush=True)
    peers = [name for name in sides if name.startswith("LangExtract")]
    fields = sum(len(one.labels) for one in given)
    found: dict[str, Any] = {"documents": len(given), "fields": fields}
    heads = " ".join(f"{'/ ' + name.removeprefix('LangExtract '):>9}" for name in peers)
    print(f"{'documents':<18} {'a second':>9} {'answered':>9} {'right':>6} {'among':>6} of {fields}  {heads}")
    for name, all_ in made.items():
        speed = statistics.median(len(given) / one.seconds for one in all_)
        answered, first, among = right(all_[-1], given, tolerance)
        ratios = {
            peer: statistics.median(
                two.seconds / one.seconds for one, two in zip(all_, made[peer], strict=True)
            )
            for peer in peers
        }
        shown = " ".join(f"{value:>9.2f}" for value in ratios.values())
        print(
            f"{name:<18} {speed:>9.3f} {answered:>9} {first:>6} {among:>6} {'':>{3 + len(str(fields))}}  {shown}",
            flush=True,
        )
        found[name] = {"a_second": round(speed, 4), "answered": answered, "right": first, "among": among} | {
            f"of_{peer}": round(value, 2) for peer, value in ratios.items()
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--documents", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--voters", type=int, default=1, help="ours asks so often; LangExtract asks once")
    parser.add_argument("--schema", action="store_true", help="hold LangExtract's answers to its own schema")
    parser.add_argument("--whole", action="store_true", help="read whole releases")
    parser.add_argument("--buffers", type=int, nargs="+", default=[1000, 8000])
    parser.add_argument("--only", choices=("documents", "grounding"))
    given = parser.parse_args()
    task = load_task("eps_extraction")
    found: dict[str, Any] = {"what": "extraction", "model": given.model}
    with contextlib.ExitStack() as stack:
        peer = stack.enter_context(langextract())
        if given.only != "documents":
            texts = "\n".join(read_document(one.path).text for one in task.documents)
            found["grounding"] = compare_grounding(peer, texts, 3)
        if given.only != "grounding":
            url = stack.enter_context(server(given.model))
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            here = create_llm(given.model)
            there = through(url, folder, here.load().context_length)
            sides = {
                "ours, direct": ours(here, task, given.voters),
                "ours, endpoint": ours(there, task, given.voters),
                **{
                    f"LangExtract {buffer}": theirs(peer, url, buffer, schema=given.schema)
                    for buffer in given.buffers
                },
            }
            chosen = documents(task, given.documents, whole=given.whole)
            found["extraction"] = measure(sides, chosen, given.rounds, task.tolerance)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
