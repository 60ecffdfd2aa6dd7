"""Plans: which engine, and why."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from tests.catalog.published import published

from modelyard.catalog.memory.device import Device, named_gpu
from modelyard.catalog.memory.facts import ModelFacts, of_config
from modelyard.catalog.memory.footprint import Workload
from modelyard.catalog.memory.predict import predict_model
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


CPU = Device("a test's", "cpu", 16 * 10**9, 16 * 10**9)


def large(architecture: str = "qwen2") -> ModelSpec:
    """A GGUF file of 1.3B parameters, by its header."""
    spec = gguf(architecture)
    start = Path("m.gguf").read_bytes()
    name = b"blk.0.ffn_up.weight"
    entry = struct.pack("<Q", len(name)) + name + struct.pack("<IQQIQ", 2, 1 << 10, 1_300_000, 12, 0)
    Path("m.gguf").write_bytes(start[:8] + struct.pack("<Q", 1) + start[16:] + entry)
    return spec


@pytest.mark.parametrize(
    ("work", "engine", "why"),
    [
        ("stream", "llamacpp", "one stream of a model of 1.3B"),
        ("batch", "openvino", "a batch goes to OpenVINO"),
        (None, "openvino", "no torch"),
    ],
)
def test_the_work_decides_for_a_larger_gguf(work, engine, why):
    found = plan(large(), ALL, work=work)
    assert found.engine == engine and why in found.reasons[-1]


def test_a_small_gguf_stays_with_openvino_whatever_the_work():
    assert plan(gguf("qwen2"), ALL, work="stream").engine == "openvino"


def test_a_stream_falls_back_to_what_is_installed():
    found = plan(large(), {**ALL, "llamacpp": "pip install xllamacpp"}, work="stream")
    assert found.engine == "openvino" and "llamacpp cannot run here: pip install xllamacpp" in found.reasons


def test_the_hardware_decides():
    gpu = named_gpu("l4")
    assert plan(gguf("llama"), ALL, device=gpu).engine == "llamacpp"
    hub = ModelSpec(alias="m", sources=(HubSource(repo="o/n"),))
    assert plan(hub, ALL, device=gpu, work="batch").engine == "vllm"
    assert plan(hub, ALL, device=gpu, work="stream").engine == "transformers"
    assert plan(hub, ALL, device=CPU, work="batch").engine == "transformers"


def test_quantisation_is_transformers_for_hub_files_and_nothing_for_gguf():
    packed = {"quantization": "4bit"}
    hub = ModelSpec(alias="m", sources=(HubSource(repo="o/n"),), **packed)
    assert plan(hub, ALL).engine == "transformers" and "bitsandbytes" in plan(hub, ALL).reasons[-1]
    found = plan(gguf("llama").model_copy(update=packed), ALL)
    assert found.engine == "openvino" and "quantised already" in found.reasons[0]


EXPORT = {**ALL, "openvino-export": None}
HUB = ModelSpec(alias="m", sources=(HubSource(repo="o/n"),))


@pytest.mark.parametrize("quantization", [None, "4bit", "8bit"])
def test_on_a_cpu_hub_files_are_exported_where_the_exporter_is_installed(quantization):
    spec = HUB.model_copy(update={"quantization": quantization})
    found = plan(spec, EXPORT, device=CPU)
    assert found.engine == "openvino" and "exported for OpenVINO" in found.reasons[-1]
    without = plan(spec, {**ALL, "openvino-export": "modelyard engines install openvino-export"}, device=CPU)
    assert without.engine == "transformers"
    assert "modelyard engines install openvino-export" in without.reasons[-1]
    fallback = plan(spec, {**EXPORT, "openvino": "pip install modelyard"}, device=CPU)
    assert fallback.engine == "transformers"
    gpu = plan(spec, EXPORT, device=named_gpu("l4"))
    assert gpu.engine == "transformers" and "OpenVINO" not in gpu.reasons[-1]


@pytest.mark.parametrize(
    "changes",
    [
        {"trust_remote_code": "a" * 40},
        {"allow_pickle": True},
        {"task": "embedding"},
        {"task": "seq2seq"},
        {"options": {"dtype": "float32"}},
        {"options": {"attn_implementation": "eager"}},
        {"options": {"load_in_4bit": True}},
        {"options": {"device_map": "auto"}},
        {"options": {"device": "cuda:0"}},
        {"options": {"kv_cache_gb": 0.5}},
    ],
    ids=str,
)
def test_what_transformers_alone_can_do_stays_there(changes):
    found = plan(HUB.model_copy(update=changes), EXPORT, device=CPU)
    assert found.engine == "transformers" and "OpenVINO" not in found.reasons[-1]


def test_options_that_both_have_decide_nothing():
    options = {"device": "cpu", "threads": 2, "kv_cache_gb": 1, "worker": True, "dtype": None}
    assert plan(HUB.model_copy(update={"options": options}), EXPORT, device=CPU).engine == "openvino"


@pytest.mark.parametrize(
    ("name", "task", "engine"),
    [
        ("llama-2-70b", "generation", "openvino"),
        ("t5-large", "generation", "transformers"),
        ("gemma-3-4b", "generation", "transformers"),
        ("llama-2-70b", "vision", "transformers"),
    ],
)
def test_the_architecture_decides_whether_it_is_exported(name, task, engine):
    spec = folder(name).model_copy(update={"task": task})
    found = plan(spec, EXPORT, device=CPU, load=Workload(1, 512))
    assert found.engine == engine
    if engine == "openvino":
        assert found.memory.verdict == "fits at 4-bit" or found.memory.how.engine == "openvino"


def test_a_vision_model_whose_images_can_be_counted_is_exported():
    Path("vl").mkdir()
    text = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100}
    for kind, engine in (("qwen2_5_vl", "openvino"), ("llava", "transformers")):
        config = {"model_type": kind, **text, "vision_config": {"depth": 2}}
        (Path("vl") / "config.json").write_text(json.dumps(config))
        spec = ModelSpec(alias="m", sources=(PathSource(path="vl"),), task="vision")
        assert plan(spec, EXPORT, device=CPU).engine == engine
    assert plan(HUB.model_copy(update={"task": "vision"}), EXPORT, device=CPU).engine == "transformers"


def test_vectors_from_a_gguf_are_made_by_llamacpp():
    assert plan(gguf("qwen3").model_copy(update={"task": "embedding"}), ALL).engine == "llamacpp"


def folder(name: str, **changes: object) -> ModelSpec:
    """A folder that holds a published configuration, and nothing else."""
    Path(name).mkdir()
    (Path(name) / "config.json").write_text(json.dumps({**published(name), **changes}))
    return ModelSpec(alias="m", sources=(PathSource(path=name),))


def test_a_folder_with_a_config_alone_is_planned():
    found = plan(folder("llama-2-70b"), ALL, load=Workload(1, 4096), device=named_gpu("h100"))
    assert (found.parameters, found.weights) == (68_976_648_192, 137_953_296_384)
    assert found.memory is not None and found.memory.verdict == "fits at 4-bit"
    assert found.memory.how.quantization == "4bit" and found.memory.longest == 4096


def test_memory_is_not_worked_out_where_nobody_asks():
    assert plan(folder("llama-2-70b"), ALL).memory is None


def test_facts_of_the_hub_stand_in_for_files():
    facts = of_config(published("gemma-3-4b"))
    spec = ModelSpec(alias="m", sources=(HubSource(repo="o/n"),))
    found = plan(spec, ALL, facts=facts, load=Workload(), device=CPU, dtype="bfloat16")
    assert found.memory is not None and found.memory.verdict == "fits" and not found.local
    assert plan(spec, ALL, load=Workload(), device=CPU).memory.verdict == "not known"


def test_the_number_type_is_asked_for_told_or_the_machines():
    spec = folder("gemma-3-4b")
    how = {"load": Workload(), "device": CPU}
    assert plan(spec, ALL, dtype="float32", **how).memory.how.dtype == "float32"
    told = spec.model_copy(update={"options": {"torch_dtype": "torch.float16"}})
    assert plan(told, ALL, **how).memory.how.dtype == "float16"
    auto = spec.model_copy(update={"options": {"dtype": "auto", "load_in_8bit": True}})
    assert plan(auto, ALL, **how).memory.how.dtype == "bfloat16"
    assert plan(auto, ALL, **how).memory.how.quantization == "8bit"


def test_the_pool_is_told_what_a_model_will_take():
    spec = folder("t5-large")
    found = predict_model(pull(spec), "transformers", {"dtype": "float32"}, work=Workload(2, 100))
    assert found is not None
    assert found[0].weights == 737_668_096 * 4 and found[1].dtype == "float32"
    assert predict_model(Model.builtin(ModelSpec(alias="m", engine="fake")), "fake") is None


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"model_type": "new"}', '{"model_type": ["x"], "hidden_size": {}}']
)
def test_a_strange_config_never_stops_a_plan(text):
    spec = folder("t5-large")
    (Path("t5-large") / "config.json").write_text(text)
    found = plan(spec, ALL, load=Workload(), device=CPU)
    assert found.engine == "transformers" and found.memory.verdict == "not known" and found.memory.why


def test_a_model_elsewhere_takes_nothing_here():
    found = plan(ModelSpec(alias="m", url="http://localhost/v1"), ALL, load=Workload(), device=CPU)
    assert found.memory is None and found.facts is None
    assert ModelFacts().loaded_bytes("float32", None) is None
