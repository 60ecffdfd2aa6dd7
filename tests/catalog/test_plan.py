"""Plans: which engine, and why."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from modelyard.catalog.model import Model
from modelyard.catalog.plan import plan
from modelyard.catalog.pull import pull
from modelyard.catalog.spec import HubSource, ModelSpec, PackagePart, PackageSource, PathSource
from modelyard.errors import ModelNotFoundError

ALL = dict.fromkeys(("openvino", "llamacpp", "transformers", "vllm", "endpoint", "fake"))


def gguf(architecture: str) -> ModelSpec:
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    pairs = text("general.architecture") + struct.pack("<I", 8) + text(architecture)
    pairs += text(f"{architecture}.context_length") + struct.pack("<II", 4, 4096)
    Path("m.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + pairs)
    return ModelSpec(alias="m", sources=(PathSource(path="m.gguf"),))


@pytest.mark.parametrize(
    ("architecture", "engine"),
    [("llama", "openvino"), ("qwen2", "openvino"), ("qwen3", "openvino"), ("gemma3", "llamacpp")],
)
def test_a_gguf_file_goes_by_its_architecture(architecture, engine):
    found = plan(gguf(architecture), ALL)
    assert (found.engine, found.architecture, found.context_length) == (engine, architecture, 4096)
    assert found.local and found.size == found.weights == Path("m.gguf").stat().st_size
    assert architecture in found.reasons[0]


def test_a_missing_engine_is_passed_over_and_named():
    found = plan(gguf("llama"), {**ALL, "openvino": "pip install openvino-genai"})
    assert found.engine == "llamacpp" and found.missing is None
    assert "openvino cannot run here: pip install openvino-genai" in found.reasons


def test_without_any_engine_the_best_one_says_what_it_lacks():
    found = plan(gguf("llama"), dict.fromkeys(ALL, "not installed"))
    assert (found.engine, found.missing) == ("openvino", "not installed")


def test_an_explicit_engine_is_kept():
    spec = gguf("llama").model_copy(update={"engine": "llamacpp"})
    assert plan(spec, ALL).engine == "llamacpp"


def test_hub_files_go_to_transformers(machine):
    found = plan(ModelSpec(alias="m", sources=(HubSource(repo="o/n"),)), ALL)
    assert (found.engine, found.local, found.size) == ("transformers", False, None)
    assert found.reasons[0] == "not here yet: hub:o/n"


def test_a_package_tells_its_size_beforehand():
    part = PackagePart(package="p==1", file="f")
    source = PackageSource(parts=(part,), name="m.gguf", sha256="0" * 64, size=77)
    found = plan(ModelSpec(alias="m", sources=(source,)), ALL)
    assert (found.engine, found.format, found.size, found.weights) == ("openvino", "gguf", 77, 77)


def test_an_openvino_folder_goes_to_openvino():
    folder = Path("ir")
    folder.mkdir()
    (folder / "openvino_model.xml").write_text("<net/>")
    (folder / "openvino_model.bin").write_bytes(bytes(10))
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 512, "model_type": "llama"}))
    found = plan(ModelSpec(alias="m", sources=(PathSource(path="ir"),)), ALL)
    assert (found.engine, found.weights, found.context_length) == ("openvino", 10, 512)


def test_a_url_goes_to_endpoint_and_an_adapter_to_transformers():
    assert plan(ModelSpec(alias="m", url="http://localhost/v1"), ALL).engine == "endpoint"
    adapter = ModelSpec(alias="m", sources=(HubSource(repo="o/n"),), adapter=True, base="o/b")
    assert plan(adapter, ALL).engine == "transformers"


def test_a_model_that_runs_elsewhere_is_pulled_without_files():
    spec = ModelSpec(alias="m", url="http://me:geheim@localhost/v1")
    model = pull(spec)
    assert model == Model.builtin(spec) and model.revision == "remote" and "geheim" not in model.source


def test_a_path_has_a_revision_and_a_missing_one_is_named():
    spec = gguf("llama")
    first = pull(spec)
    assert first.revision.startswith("sha256:") and pull(spec) == first
    Path("m.gguf").unlink()
    with pytest.raises(ModelNotFoundError, match=r"no file or folder m\.gguf"):
        pull(spec)
