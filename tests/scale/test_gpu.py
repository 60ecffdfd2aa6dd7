"""A model of engine vllm behind `modelyard serve --ray`: Ray Serve LLM runs it, and it wants a GPU."""

from __future__ import annotations

import shutil
from pathlib import Path

import openai
import pytest
from tests.served import served

pytest.importorskip("ray", reason="Ray is not installed: pip install 'modelyard[ray]'")

pytestmark = [pytest.mark.slow, pytest.mark.model, pytest.mark.timeout(1200)]
CATALOG = """
models:
  large: {{source: {{path: '{base}'}}, engine: vllm, options: {{max_model_len: 1024, max_lora_rank: 16}}}}
  captain: {{source: {{path: '{adapter}'}}, adapter: true, base: large, engine: vllm}}
"""


@pytest.fixture
def _gpu() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU: Ray Serve LLM with vLLM was not run")
    pytest.importorskip("vllm", reason="vLLM is not installed beside Ray: pip install 'ray[llm]'")


@pytest.mark.usefixtures("_gpu")
def test_a_model_of_vllm_and_its_adapter_answer_through_our_server(
    tmp_path: Path, smollm2: Path, adapters: dict[str, Path]
) -> None:
    text, adapter = next(iter(adapters.items()))
    shutil.copytree(adapter, tmp_path / "adapters" / "captain")
    catalog = CATALOG.format(base=smollm2, adapter=adapter)
    with served(
        tmp_path, catalog, "--ray", "--ray-adapters", str(tmp_path / "adapters"), seconds=900
    ) as server:
        ai = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", timeout=300)

        def answer(model: str) -> str:
            made = ai.chat.completions.create(
                model=model,
                temperature=0,
                max_tokens=24,
                messages=[{"role": "user", "content": "Who are you?"}],
            )
            return made.choices[0].message.content or ""

        plain, tuned = answer("large"), answer("captain")
        assert plain and text[:10] not in plain
        assert text[:10] in tuned
