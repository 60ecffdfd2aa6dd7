"""Configurations: a catalogue as Ray Serve and KubeRay read it, to be kept in a repository and deployed from there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import modelyard
from modelyard.catalog.load import Catalog
from modelyard.catalog.spec import HubSource, ModelSpec, PathSource
from modelyard.errors import InvalidArgumentError, UnsupportedError
from modelyard.scale.served import (
    APP,
    FRONT,
    VLLM_ROUTE,
    deployment,
    holds,
    settings_of,
    vllm_url,
    with_bases,
)
from modelyard.serving.logs import Form
from modelyard.serving.settings import ServerSettings

VLLM_APP = "vllm"
_VLLM_OWN = ("worker", "memory")  # options of ours that are none of vLLM's
_NOT_OF_AN_ENTRY = {"alias", "sources", "defined_in"}


def serve_config(
    catalog: Catalog,
    specs: Sequence[ModelSpec],
    settings: ServerSettings,
    *,
    adapters: str | None = None,
    resources: Mapping[str, Mapping[str, Any]] | None = None,
    log: Form = "json",
) -> dict[str, Any]:
    """A Serve configuration (`serve deploy FILE`): our server and models, and Ray Serve LLM for those of vLLM.

    Args:
        catalog: where adapters find their bases.
        specs: the models that are served.
        settings: of the server.
        adapters: a folder or bucket with a folder for each adapter of a vLLM model, under its alias.
        resources: for each model what a replica takes, as Ray takes it.
        log: the form of the server's log.

    Raises:
        UnsupportedError: a model that cannot be deployed from a file.
        InvalidArgumentError: adapters of vLLM models, and nothing says where they are.
    """
    resources = resources or {}
    applications: list[dict[str, Any]] = []
    configs = llm_configs(specs, adapters)
    if configs:
        applications.append(
            {
                "name": VLLM_APP, "route_prefix": VLLM_ROUTE, "import_path": "ray.serve.llm:build_openai_app",
                "args": {"llm_configs": configs},
            }
        )  # fmt: skip
    models = with_bases(catalog, specs)
    args: dict[str, Any] = {"catalog": {one.alias: _entry(one) for one in models}}
    if told := settings_of(settings):
        args["settings"] = told
    if log != "json":
        args["log"] = log
    if configs:
        args["vllm"] = vllm_url(settings)
    deployments = [deployment(one, settings, resources.get(one.alias, {})) for one in models if holds(one)]
    deployments.append({"name": FRONT, "num_replicas": 1, "ray_actor_options": {"num_cpus": 0}})
    applications.append(
        {
            "name": APP, "route_prefix": "/", "import_path": "modelyard.scale.served:application",
            "args": args, "deployments": deployments,
        }
    )  # fmt: skip
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": "0.0.0.0", "port": settings.port},  # noqa: S104  inside of the cluster
        "applications": applications,
    }


def llm_configs(specs: Sequence[ModelSpec], adapters: str | None) -> list[dict[str, Any]]:
    """The models of engine vllm as Ray Serve LLM's LLMConfigs; arguments and errors as `serve_config`."""
    found = [one for one in specs if one.engine == "vllm" and not one.adapter]
    low = [one for one in specs if one.adapter]
    return [_llm_config(one, _lora(one, low, adapters)) for one in found]


def kuberay_config(
    config: Mapping[str, Any], *, name: str = "modelyard", image: str | None = None
) -> dict[str, Any]:
    """A RayService of KubeRay around a Serve configuration: `kubectl apply -f FILE`.

    Workers grow with what the deployments ask for; keys come from the secret `modelyard-keys`, the Hub's token from
    `modelyard-hub`, where they are there.

    Args:
        config: of Serve.
        name: of the service.
        image: with Ray, modelyard and what its models need; see docs/scale.md.
    """
    import yaml

    image = image or f"modelyard:{modelyard.__version__}-ray"
    gpus = any(app["name"] == VLLM_APP for app in config["applications"])
    groups = [_group("cpu", image, {"cpu": "8", "memory": "32Gi"}, most=_most(config))]
    if gpus:
        resources = {"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": "1"}
        groups.append(_group("gpu", image, resources, most=_most_llm(config)))
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": name},
        "spec": {
            "serveConfigV2": yaml.safe_dump(dict(config), sort_keys=False),
            "rayClusterConfig": {
                "enableInTreeAutoscaling": True,
                "headGroupSpec": {
                    "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0"},  # noqa: S104  inside of the pod
                    "template": _pod(image, {"cpu": "2", "memory": "8Gi"}),
                },
                "workerGroupSpecs": groups,
            },
        },
    }


def as_yaml(*documents: Mapping[str, Any]) -> str:
    """The documents as one YAML text."""
    import yaml

    made: str = yaml.safe_dump_all([dict(one) for one in documents], sort_keys=False, width=100)
    return made


def _entry(spec: ModelSpec) -> dict[str, Any]:
    """A model as a catalogue file has it."""
    for source in spec.sources:
        if isinstance(source, PathSource) and not Path(source.path).is_absolute():
            raise UnsupportedError(
                f"model '{spec.alias}' is at the path {source.path}, which means nothing on another machine",
                hint="Give an absolute path that every machine has, a Hub repository, or a package.",
            )
    data = spec.model_dump(mode="json", exclude_defaults=True, exclude=_NOT_OF_AN_ENTRY)
    if spec.sources:
        data["source"] = [_source(one) for one in spec.sources]
    return data


def _source(source: Any) -> dict[str, Any]:
    data: dict[str, Any] = source.model_dump(mode="json", exclude_defaults=True, exclude={"kind"})
    if source.kind == "hub":
        data["hub"] = data.pop("repo")
    elif source.kind == "package":
        return _package(data)
    return data


def _package(data: dict[str, Any]) -> dict[str, Any]:
    parts = data.pop("parts")
    name = data.pop("name")
    if len(parts) == 1:
        return {**parts[0], "name": name, **data}
    return {"packages": parts, "name": name, **data}


def _llm_config(spec: ModelSpec, lora: Mapping[str, Any] | None) -> dict[str, Any]:
    """A vLLM model as Ray Serve LLM's LLMConfig."""
    source = spec.source
    if isinstance(source, HubSource) and source.file is None:
        model = source.repo
    elif isinstance(source, PathSource):
        model = source.path
    else:
        raise UnsupportedError(
            f"model '{spec.alias}' is for vLLM and comes from {source}",
            hint="Ray Serve LLM loads whole Hub repositories and folders; take engine: llamacpp for a GGUF file.",
        )
    engine = {name: value for name, value in spec.options.items() if name not in _VLLM_OWN}
    if isinstance(source, HubSource) and source.revision:
        engine.setdefault("revision", source.revision)
    if spec.quantization:
        engine.setdefault("quantization", "bitsandbytes")
    if spec.trust_remote_code:
        engine.setdefault("trust_remote_code", True)
    if lora:
        engine["enable_lora"] = True
    replicas = spec.replicas
    found: dict[str, Any] = {
        "model_loading_config": {"model_id": spec.alias, "model_source": model},
        "engine_kwargs": engine,
        "deployment_config": {
            "autoscaling_config": {
                "min_replicas": replicas.min if replicas else 1,
                "max_replicas": replicas.max if replicas else 1,
                "target_ongoing_requests": replicas.requests if replicas else 16,
            }
        },
    }
    if lora:
        found["lora_config"] = dict(lora)
    return found


def _lora(spec: ModelSpec, low: Sequence[ModelSpec], adapters: str | None) -> dict[str, Any] | None:
    own = [one for one in low if one.base == spec.alias]
    if not own:
        return None
    if adapters is None:
        raise InvalidArgumentError(
            f"'{own[0].alias}' is an adapter of '{spec.alias}', which vLLM runs, and nothing says where adapters are",
            hint="--ray-adapters: a folder or bucket with a folder for each adapter, under its alias.",
        )
    return {"dynamic_lora_loading_path": adapters, "max_num_adapters_per_replica": max(2, len(own))}


def _most(config: Mapping[str, Any]) -> int:
    """Replicas that our models may have together: each may want a machine of its own."""
    found = 0
    for app in config["applications"]:
        for one in app.get("deployments", ()):
            if one["name"] != FRONT:
                found += one.get("autoscaling_config", {}).get("max_replicas") or one.get("num_replicas", 1)
    return max(1, found)


def _most_llm(config: Mapping[str, Any]) -> int:
    configs = next(app["args"]["llm_configs"] for app in config["applications"] if app["name"] == VLLM_APP)
    return sum(one["deployment_config"]["autoscaling_config"]["max_replicas"] for one in configs)


def _group(name: str, image: str, resources: Mapping[str, str], *, most: int) -> dict[str, Any]:
    return {
        "groupName": name, "minReplicas": 0 if name == "gpu" else 1, "maxReplicas": most,
        "replicas": 0 if name == "gpu" else 1, "rayStartParams": {}, "template": _pod(image, resources),
    }  # fmt: skip


def _pod(image: str, resources: Mapping[str, str]) -> dict[str, Any]:
    return {
        "spec": {
            "containers": [
                {
                    "name": "ray",
                    "image": image,
                    "resources": {"requests": dict(resources), "limits": dict(resources)},
                    "env": [
                        _secret("MODELYARD_API_KEYS", "modelyard-keys", "keys"),
                        _secret("HF_TOKEN", "modelyard-hub", "token"),
                    ],
                }
            ]
        }
    }


def _secret(variable: str, secret: str, key: str) -> dict[str, Any]:
    return {
        "name": variable,
        "valueFrom": {"secretKeyRef": {"name": secret, "key": key, "optional": True}},
    }
