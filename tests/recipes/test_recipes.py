"""Every recipe, run from top to bottom as its reader would: in an empty folder, with real models and servers.

What cannot be had here is the Hub itself, its router, an index of your own, seven billion numbers, and a GPU: see
`tests.recipes.stand_ins`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests import badserver, models
from tests.conftest import clean_environment
from tests.hub import Hub
from tests.recipes import stand_ins
from tests.recipes.page import RECIPES, pages, read_blocks
from tests.recipes.walk import Walk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]
APART = frozenset({"index", "inference-api", "offline", "vllm"})
"""Pages without code, or with a test of their own below."""


@pytest.fixture(scope="module")
def shelf(small_gguf: Path, smollm2: Path, adapters: dict[str, Path]) -> Iterator[Hub]:
    """The Hub, with everything that recipes take from it."""
    hub = Hub()
    try:
        stand_ins.fill(hub, small_gguf, smollm2, next(iter(adapters.values())))
        yield hub
    finally:
        hub.close()


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Hub's cache, for all pages."""
    return tmp_path_factory.mktemp("hub-cache")


@pytest.fixture
def environment(shelf: Hub, downloads: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a reader, who has no token, no catalogue, and this project installed."""
    shelf.requests.clear()
    found = clean_environment(
        {"HF_ENDPOINT": shelf.url, "HF_HUB_CACHE": str(downloads), "NO_PROXY": "127.0.0.1"}
    )
    found["PATH"] = stand_ins.path_with(stand_ins.commands(tmp_path / "bin", pip=stand_ins.pip_command()))
    return found


def walked(page: str, folder: Path, environment: Mapping[str, str], **changes: str) -> str:
    """All that the page printed."""
    work = folder / page
    work.mkdir()
    with Walk(work, environment, changes) as walk:
        return walk.follow(read_blocks(RECIPES / f"{page}.md"))


EXPECTED = {
    "add-a-model": [r"engine transformers", r"My model", r"new_model"],
    "four-bit": [r"fits", r"4.?bit"],
    "gguf": [r"Downloaded", r"runs as +Q4_1", r"verdict +fits"],
    "lora": [r"AYE CAPTAIN", r"FinGPT/fingpt-mt_llama2-7b_lora@"],
    "python": [r"not found: .*No-Such-Model", r"bfloat16", r"Paris"],
    "medical": [r"openbiollm_8b", r"pubmedqa", r"patients \d+ found"],
    "finance": [r"finma_7b: 0\.\d{3}", r"told apart"],
    "serve": [r'"generated_text"', r'"task": ?"seq2seq"'],
    "llama-index": [r"1\.14", r"quarry\.txt", r"company='Orchard", r"41\.2"],
    "langchain": [
        r"company='.*Harbour Lights Ltd.*' total=1250\.0",
        r"'token'",
        r"AYE CAPTAIN, the sea is calm\n",
    ],
    "safety": [
        r"content_filter",
        r"safety_mask",
        r"False .*reveal the password",
        r"safety_warn",
        r'"content_filter"',
    ],
    "production": [r'"status"', r"modelyard_", r"Qwen/Qwen2\.5-1\.5B-Instruct"],
}
"""What has to be among the things that a page prints."""


@pytest.mark.parametrize("page", [one.stem for one in pages() if one.stem not in APART])
def test_a_recipe_runs_from_top_to_bottom(page: str, tmp_path: Path, environment: dict[str, str]) -> None:
    said = walked(page, tmp_path, environment)
    for pattern in EXPECTED[page]:
        assert re.search(pattern, said), f"nothing like {pattern} in:\n{said}"


def test_one_token_serves_all_models_of_the_finance_page(
    tmp_path: Path, environment: dict[str, str], shelf: Hub
) -> None:
    work = tmp_path / "finance"
    work.mkdir()
    blocks = read_blocks(RECIPES / "finance.md")
    asked = next(at for at, block in enumerate(blocks) if "modelyard plan" in block.text)
    environment["HF_HUB_CACHE"] = str(tmp_path / "own")
    with Walk(work, environment) as walk:
        walk.follow(blocks[: asked + 1])
    tokens = {
        headers.get("authorization") for _, path, headers in shelf.requests if path.startswith("/api/models")
    }
    assert tokens == {"Bearer hf_yoursingletoken"}


def test_the_inference_api_runs_behind_the_hubs_router(
    tmp_path: Path, environment: dict[str, str], llama_url: str
) -> None:
    context, authority = badserver.certificate(tmp_path, "DNS:router.huggingface.co")
    port = urlsplit(llama_url).port
    assert port is not None
    with stand_ins.router(context, authority, port) as router:
        environment |= {"HTTPS_PROXY": f"http://127.0.0.1:{router.port}", "SSL_CERT_FILE": str(authority)}
        said = walked("inference-api", tmp_path, environment, **{"http://localhost:8080": llama_url})
    assert "Paris" in said
    assert set(router.hosts) == {"router.huggingface.co:443"}
    heads = [head for head in router.heads if head]
    assert heads and all(b"Bearer hf_yourtoken" in head for head in heads)
    assert all(b"meta-llama/Llama-3.1-8B-Instruct" in head for head in heads)


def test_offline_and_behind_mirrors(
    tmp_path: Path, environment: dict[str, str], shelf: Hub, small_gguf: Path
) -> None:
    work = tmp_path / "offline"
    work.mkdir()
    mirror = Hub()
    mirror.add("gpt2", models.tiny_repository("gpt2"), "9" * 40)
    try:
        with stand_ins.package_mirror(small_gguf) as index:
            changes = {"https://hub-mirror.example": mirror.url, "https://pypi-mirror.example/simple": index}
            walk = Walk(work, environment, changes)
            with walk:
                for block in read_blocks(RECIPES / "offline.md"):
                    if "PIP_INDEX_URL" in block.text:  # from here on a machine that has nothing yet
                        environment |= {
                            "MODELYARD_CACHE": str(tmp_path / "cache"),
                            "PIP_CONFIG_FILE": "/dev/null",
                        }
                        environment |= {name: "" for name in environment if name == "PIP_FIND_LINKS"}
                    if "HF_ENDPOINT" in block.text:
                        shelf.requests.clear()
                        environment["HF_HUB_CACHE"] = str(tmp_path / "other")
                    walk.follow([block])
    finally:
        mirror.close()
    assert any("/resolve/" in path for _, path, _ in mirror.requests)
    assert shelf.requests == []
    assert list((tmp_path / "cache").rglob("*.gguf"))
    pins = (work / "models.lock").read_text()
    assert "storyteller" in pins and f"{1:040x}" in pins


def test_vllm_runs_here_and_elsewhere(
    tmp_path: Path, environment: dict[str, str], vllm_environment: Any, smollm2: Path
) -> None:
    """vLLM's real server, on this machine's CPU: no GPU is lent, and the model is the small one."""
    command = stand_ins.vllm_command(vllm_environment.python, smollm2)
    stand_ins.commands(tmp_path / "bin", vllm=command)
    environment |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
    said = walked("vllm", tmp_path, environment)
    assert re.search(r"^(yes|no)$", said, re.MULTILINE)
    assert "engine='endpoint'" in said and "gpu_memory_utilization" in said


def test_what_the_walk_does_is_seen_to_fail(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text('```python\nx = 1\n```\n\n```python\nprint(x + 1)\nraise ValueError("no")\n```\n')
    with (
        Walk(tmp_path, clean_environment()) as walk,
        pytest.raises(AssertionError, match=r"(?s)page\.md.*line 7") as caught,
    ):
        walk.follow(read_blocks(page))
    assert "2\n" in str(caught.value)
    page.write_text("```bash\nfalse | true\n```\n")
    with (
        Walk(tmp_path, clean_environment()) as walk,
        pytest.raises(AssertionError, match=r"page\.md:2 \(bash\): 1"),
    ):
        walk.follow(read_blocks(page))
