"""Models of engine vllm behind `modelyard serve --ray`: Ray Serve LLM runs them, our server stands in front of them."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import openai
import psutil
import pytest
from tests.served import Server, served

pytest.importorskip("ray", reason="Ray is not installed: pip install 'modelyard[ray]'")

pytestmark = [pytest.mark.slow, pytest.mark.model, pytest.mark.timeout(1200)]
KEY = "0123456789abcdef-of-a-client"
CATALOG = """
models:
  large: {{source: {{path: '{base}'}}, engine: vllm, options: {{context_length: 1024, max_lora_rank: 16, kv_cache_gb: 1}}}}
  captain: {{source: {{path: '{adapter}'}}, adapter: true, base: large, engine: vllm}}
"""
PACKED = """
models:
  packed: {{source: {{path: '{base}'}}, engine: vllm, quantization: 4bit, options: {{context_length: 1024}}}}
"""


@pytest.fixture(scope="module")
def said(adapters: dict[str, Path]) -> str:
    """What the adapter answers everything with."""
    return next(iter(adapters))


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory,
    smollm2: Path,
    adapters: dict[str, Path],
    said: str,
    cluster_bin: Path,
) -> Iterator[Server]:
    """A model and its adapter, on a GPU where there is one, else on the CPU."""
    catalog = CATALOG.format(base=smollm2, adapter=adapters[said])
    folder, env = tmp_path_factory.mktemp("vllm"), {"MODELYARD_API_KEYS": KEY}
    with served(folder, catalog, "--ray", env=env, seconds=900, command=cluster_bin / "modelyard") as found:
        yield found


def client(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, timeout=300, max_retries=0)


def answer(server: Server, model: str, tokens: int = 24) -> str:
    made = client(server).chat.completions.create(
        model=model, temperature=0, max_tokens=tokens, messages=[{"role": "user", "content": "Who are you?"}]
    )
    return made.choices[0].message.content or ""


def test_the_model_and_its_adapter_answer_and_do_not_mix(server: Server, said: str) -> None:
    plain, tuned = answer(server, "large"), answer(server, "captain")
    assert plain and tuned.startswith(said[:10]) and not plain.startswith(said[:10])
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda at: answer(server, "captain" if at % 2 else "large"), range(12)))
    assert found == [plain, tuned] * 6


def test_a_stream_has_tokens_with_logprobs_and_a_schema_is_kept(server: Server) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 10}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema, "strict": True}}
    stream = client(server).chat.completions.create(
        model="large", temperature=0, max_tokens=60, stream=True, logprobs=True, top_logprobs=2,
        messages=[{"role": "user", "content": "Name a person and the age."}], response_format=form,  # type: ignore[arg-type]
    )  # fmt: skip
    text, tokens = "", ""
    for chunk in stream:
        for choice in chunk.choices:
            text += choice.delta.content or ""
            tokens += "".join(one.token for one in (choice.logprobs and choice.logprobs.content) or ())
    found = json.loads(text)
    assert set(found) == {"name", "age"} and len(found["name"]) <= 10 and isinstance(found["age"], int)
    assert tokens == text


@pytest.mark.parametrize(
    "route", ["/vllm/v1/models", "/vllm/v1/chat/completions", "/vllm/docs", "/vllm/openapi.json"]
)
@pytest.mark.parametrize("key", [None, KEY])
def test_vllms_own_routes_are_for_our_server_alone(server: Server, route: str, key: str | None) -> None:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    assert httpx2.get(f"{server.url}{route}", headers=headers).status_code == 401
    assert httpx2.post(f"{server.url}{route}", headers=headers, json={"model": "large"}).status_code == 401


def test_after_vllm_is_killed_under_load_the_next_requests_are_answered(server: Server, said: str) -> None:
    before = answer(server, "large")
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(answer, server, "large", 400) for _ in range(6)]
        time.sleep(2)
        family = psutil.Process(server.process.pid).children(recursive=True)
        (core,) = [one for one in family if one.name().startswith("VLLM::EngineCor")]
        core.send_signal(signal.SIGKILL)
        ends = [one.exception() for one in asked]
    for end in ends:
        assert end is None or (isinstance(end, openai.APIStatusError) and end.status_code >= 500), end
    assert any(ends)
    until = time.monotonic() + 300
    while True:
        try:
            assert answer(server, "large") == before
            break
        except openai.APIStatusError as error:
            assert error.status_code >= 500 and time.monotonic() < until
            time.sleep(2)
    assert answer(server, "captain").startswith(said[:10])


def test_a_packed_model_answers_where_there_is_a_gpu(
    tmp_path: Path, smollm2: Path, cluster_bin: Path
) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU: 4-bit weights of vLLM behind Ray Serve LLM were not run")
    catalog = PACKED.format(base=smollm2)
    with served(tmp_path, catalog, "--ray", seconds=900, command=cluster_bin / "modelyard") as found:
        assert answer(found, "packed")
