"""LangExtract's side of perf/extraction.py, run by the Python of its own environment.

It reads one job a line, as JSON, and answers each with one line. The stopwatch is in here, so that neither the
start of the process nor its imports count. The examples are made up.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any, TextIO

import langextract as lx
from langextract.factory import ModelConfig
from langextract.resolver import WordAligner

DESCRIPTION = (
    "{opening}Extract the earnings or loss per share of the most recent quarter (three months): basic once and "
    "diluted once. The text of each is the line of basic, or of diluted, earnings per share, word for word, never "
    "the line of net income or of shares. Its value is the first amount per share in that line, a small number "
    "with cents; a number in brackets is negative."
)
STATEMENT = """Nordhafen Tools, Inc.
Condensed Consolidated Statements of Operations (unaudited)
Three Months Ended June 30, Six Months Ended June 30,
2023 2022 2023 2022
(in thousands, except per share amounts)
Net sales $ 48,210 $ 45,902 $ 95,377 $ 90,114
Net income $ 4,120 $ 3,871 $ 8,002 $ 7,455
Basic earnings per share $ 0.82 $ 0.77 $ 1.60 $ 1.49
Diluted earnings per share $ 0.81 $ 0.76 $ 1.58 $ 1.47
Weighted average shares, basic 5,024 5,027 5,001 5,003"""
RELEASE = """Calder Biosciences Reports First Quarter Results
Three months ended March 31 | 2020 | 2019
Revenue | $ 1,204 | $ 988
Net loss | $ (9,310) | $ (7,702)
Net loss per share, basic | $ (0.37) | $ (0.33)
Net loss per share, diluted | $ (0.37) | $ (0.33)"""
EXAMPLES = (
    (STATEMENT, ("Basic earnings per share $ 0.82 $ 0.77 $ 1.60 $ 1.49", 0.82),
     ("Diluted earnings per share $ 0.81 $ 0.76 $ 1.58 $ 1.47", 0.81)),
    (RELEASE, ("Net loss per share, basic | $ (0.37) | $ (0.33)", -0.37),
     ("Net loss per share, diluted | $ (0.37) | $ (0.33)", -0.37)),
)  # fmt: skip


def examples() -> list[Any]:
    """The two examples, in LangExtract's form."""
    return [
        lx.data.ExampleData(
            text=text,
            extractions=[
                lx.data.Extraction(kind, line, attributes={"value": value})
                for kind, (line, value) in zip(("eps_basic", "eps_diluted"), lines, strict=True)
            ],
        )
        for text, *lines in EXAMPLES
    ]


def extract(job: dict[str, Any]) -> dict[str, Any]:
    """Seconds for all documents, and what was found in each: kind, quote, value, place."""
    documents = [lx.data.Document(text, document_id=name) for name, text in job["documents"].items()]
    given: dict[str, Any] = {
        "base_url": job["url"],
        "api_key": "none",
        "temperature": 0.0,
        "max_workers": job["workers"],
    }
    given["max_output_tokens"] = job["tokens"]
    if not job["schema"]:
        given["response_format"] = {"type": "text"}
    began = time.perf_counter()
    found = lx.extract(
        documents,
        prompt_description=DESCRIPTION.format(opening=job["opening"]),
        examples=examples(),
        config=ModelConfig(model_id=job["model"], provider="openai", provider_kwargs=given),
        use_schema_constraints=job["schema"],
        fence_output=None if job["schema"] else True,  # left free, models fence their JSON, and so it is read
        max_char_buffer=job["buffer"],
        batch_length=job["workers"],
        max_workers=job["workers"],
        extraction_passes=1,
        show_progress=False,
    )
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "found": {one.document_id: list(map(_plain, one.extractions or [])) for one in found},
    }


def align(job: dict[str, Any]) -> dict[str, Any]:
    """Seconds to place all quotes in the text, in one call, and where each was placed."""
    quotes = [lx.data.Extraction("quote", one) for one in job["quotes"]]
    began = time.perf_counter()
    (placed,) = WordAligner().align_extractions([quotes], job["text"])
    return {"seconds": time.perf_counter() - began, "spans": list(map(_span, placed))}


def _plain(one: Any) -> dict[str, Any]:
    value = (one.attributes or {}).get("value")
    return {"field": one.extraction_class, "quote": one.extraction_text, "value": value, "span": _span(one)}


def _span(one: Any) -> list[int] | None:
    place = one.char_interval
    return None if place is None else [place.start_pos, place.end_pos]


def main(answers: TextIO) -> None:
    jobs = {"extract": extract, "align": align}
    for line in sys.stdin:
        job = json.loads(line)
        try:
            said = jobs[job["what"]](job)
        except Exception as error:  # it goes to the other process, which says it
            said = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(said) + "\n")
        answers.flush()


if __name__ == "__main__":
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever it prints is no answer
    main(answers)
