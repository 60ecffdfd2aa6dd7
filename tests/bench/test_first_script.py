"""The first project's comparison of model families, as its users wrote it, on models that can be had here."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from modelyard.bench import create_benchmark_runner
from modelyard.loader import get_model_loader

MODELS = """
stock_models:
  mistral_7b: {name: smollm2-135m, display_name: Mistral 7B Instruct, parameters: 7B, provider: huggingface}
  llama2_7b: {name: smollm2-135m, display_name: Llama 2 7B Chat, parameters: 7B, provider: huggingface}
finance_tuned_models:
  finma_7b: {name: gemma3-270m, display_name: FinMA 7B, parameters: 7B, provider: huggingface}
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_families_are_compared_with_one_call_each_and_print_a_final_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models.yaml").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    families = {"7B Models": ["mistral_7b", "llama2_7b"], "Finance Models": ["finma_7b"]}

    async def main() -> None:
        runner = create_benchmark_runner()
        for family, models in families.items():
            result = await runner.run_benchmark(
                models=models,
                tasks=["eps_extraction"],
                run_name=f"HF {family}",
                description=f"Comparing {family} using single HF token",
                limit=4,
            )
            for model_name, metrics in result.model_metrics.items():
                print(f"{model_name}: {metrics.final_score:.3f}")

    asyncio.run(main())
    said = dict(line.split(": ") for line in capsys.readouterr().out.splitlines())
    assert set(said) == {"mistral_7b", "llama2_7b", "finma_7b"}
    assert all(0 <= float(score) <= 1 for score in said.values())
    loader = get_model_loader()
    assert [loader.unload_model(name) for name in said] == [False] * 3  # each was unloaded before the next
