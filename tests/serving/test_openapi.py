"""The whole OpenAPI, probed by schemathesis: whatever is sent, each reply is one that was promised."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.served import served

CATALOG = """
models:
  words: {engine: fake, endpoint: models/words/generate}
  short: {engine: fake, options: {context_length: 64, reply: "a short answer"}}
  translator: {engine: fake, task: seq2seq, endpoint: translate}
"""
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


@pytest.mark.slow
def test_no_request_gets_a_5xx_or_a_status_that_is_not_described(tmp_path: Path) -> None:
    with served(tmp_path, CATALOG, "--load", "words", "--load", "short", "--load", "translator") as server:
        done = subprocess.run(
            [Path(sys.executable).with_name("schemathesis"), "run", f"{server.url}/openapi.json", "-c", CHECKS,
             "--max-examples", "200", "--phases", "examples,coverage,fuzzing", "--continue-on-failure", "--no-shrink",
             "--request-timeout", "30", "--seed", "1"],
            capture_output=True, text=True, check=False, cwd=tmp_path,
        )  # fmt: skip
        counted = re.search(r"(\d+) generated", done.stdout)
        assert done.returncode == 0, done.stdout[-6000:]
        assert counted is not None and int(counted[1]) >= 2000
        print(
            f"schemathesis: {counted[1]} cases, {server.metric('requests_total', status='200'):.0f} answered"
        )
        assert server.metric("requests_total", status="500") == 0


def test_each_body_names_the_models_that_there_are(tmp_path: Path) -> None:
    with served(tmp_path, CATALOG) as server, server.client() as client:
        described = client.get("/openapi.json").json()
    model = described["components"]["schemas"]["ChatRequest"]["properties"]["model"]
    assert model["enum"] == ["words", "short", "translator"]
