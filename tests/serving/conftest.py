"""One server of fake models for the tests that leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest
from tests.served import Server, served


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of fake models that nobody ends."""
    catalog = """
- name: gpt2-model
  type: huggingface
  description: a story teller
  endpoint: models/gpt2/generate
  hf_model_name: gpt2
  hf_task: generation
  engine: fake
  hf_generation_kwargs: {max_length: 100, temperature: 0.7, top_p: 0.9}
- name: t5-translator
  type: huggingface
  endpoint: models/t5/translate
  hf_model_name: t5-small
  hf_task: seq2seq
  engine: fake
- name: phi2-generate
  type: huggingface
  endpoint: models/phi2/generate
  hf_model_name: microsoft/phi-2
  hf_task: generation
  engine: fake
  hf_generation_kwargs: {max_length: 200, temperature: 0, top_p: 0.9, do_sample: true}
- {name: caller, type: huggingface, hf_model_name: a/b, engine: fake,
   options: {reply: '<tool_call>{"name": "weather", "arguments": {"city": "Paris"}}</tool_call>'}}
- {name: fixed, type: huggingface, hf_model_name: a/b, engine: fake, options: {reply: "a b c d e f g h"}}
"""
    with served(tmp_path_factory.mktemp("served"), catalog) as found:
        yield found


@pytest.fixture
def client(server: Server) -> Iterator[httpx2.Client]:
    """A client of the shared server."""
    with server.client() as found:
        yield found
