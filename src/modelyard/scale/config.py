"""Configurations: a catalogue as Ray Serve and KubeRay read it, to be kept in a repository and deployed from there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import modelyard
from modelyard.catalog.load import Catalog
from modelyard.catalog.spec import HubSource, ModelSpec, PathSource
from modelyard.engines.vllm.command import arguments, check_quantization, variables_of
from modelyard.engines.vllm.settings import ServeSettings
from modelyard.errors import UnsupportedError
from modelyard.scale.served import (
    APP,
    FRONT,
    HEALTH,
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
ADAPTERS = "modelyard_adapters"
"""Under `experimental_configs` of an LLMConfig: the catalogue's entries of the model's adapters."""
_RAY_LLM = "modelyard.scale.ray_llm"
_POOL_OWN = ("worker", "memory")  # options of ours that are for no engine
_NOT_OF_AN_ENTRY = {"alias", "sources", "defined_in"}


def serve_config(
    catalog: Catalog,
    specs: Sequence[ModelSpec],
    settings: ServerSettings,
    *,
    resources: Mapping[str, Mapping[str, Any]] | None = None,
    log: Form = "json",
) -> dict[str, Any]:
    """A Serve configuration (`serve deploy FILE`): our server and models, and Ray Serve LLM for those of vLLM.

    Args:
        catalog: where adapters find their bases.
        specs: the models that are served.
        settings: of the server.
        resources: for each model what a replica takes, as Ray takes it.
        log: the form of the server's log.

    Raises:
        UnsupportedError: a model that cannot be deployed from a file.
        InvalidArgumentError: an option of a vLLM model is not known, or has no such value.
    """
    resources = resources or {}
    applications: list[dict[str, Any]] = []
    models = with_bases(catalog, specs)
    vllm = llm_args(models, "cuda")
    if vllm:
        applications.append(
            {
                "name": VLLM_APP, "route_prefix": VLLM_ROUTE, "import_path": "ray.serve.llm:build_openai_app",
                "args": vllm,
            }
        )  # fmt: skip
    args: dict[str, Any] = {"catalog": {one.alias: _entry(one) for one in models}}
    if told := settings_of(settings):
        args["settings"] = told
    if log != "json":
        args["log"] = log
    if vllm:
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


def llm_args(
    specs: Sequence[ModelSpec], kind: str, *, key: str | None = None, offline: bool = False
) -> dict[str, Any]:
    """What Ray Serve LLM's `build_openai_app` takes for the models of engine vllm; empty where there are none.

    Args:
        specs: the models that are served, adapters and their bases among them.
        kind: what the replicas compute on: `cuda` or `cpu`.
        key: that requests have to carry; without one the replicas make it of `MODELYARD_API_KEYS`.
        offline: the replicas use only what is on their machines.

    Raises:
        UnsupportedError: a model or an option that Ray Serve LLM cannot be given.
        InvalidArgumentError: an option is not known, or has no such value.
    """
    found = [one for one in specs if one.engine == "vllm" and not one.adapter]
    if not found:
        return {}
    adapters = {
        base.alias: [one for one in specs if one.adapter and one.base == base.alias] for base in found
    }
    extra: dict[str, Any] = {"key": key} if key else {}
    if named := {base: [one.alias for one in those] for base, those in adapters.items() if those}:
        extra["adapters"] = named
    ingress = {"ingress_cls": f"{_RAY_LLM}:Closed", **({"ingress_extra_kwargs": extra} if extra else {})}
    return {
        "llm_configs": [_llm_config(one, adapters[one.alias], kind, offline) for one in found],
        "ingress_cls_config": ingress,
        "ingress_deployment_config": {"ray_actor_options": {"num_cpus": 0}},
    }


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


def _llm_config(spec: ModelSpec, adapters: Sequence[ModelSpec], kind: str, offline: bool) -> dict[str, Any]:
    """A vLLM model as Ray Serve LLM's LLMConfig."""
    options = {name: value for name, value in spec.options.items() if name not in _POOL_OWN}
    settings = ServeSettings.read(options)
    if settings.command is not None:
        raise UnsupportedError(
            f"option 'command' of '{spec.alias}' names a program, and Ray Serve LLM starts vLLM itself",
            hint="Leave it out; what it sets can stand in options: args and env.",
        )
    check_quantization(spec, kind)
    if adapters:
        settings = replace(settings, adapters=True)
    if adapters and kind == "cpu":
        settings = replace(settings, max_num_seqs=1)  # vLLM mixes up the adapters of a batch there
    engine = arguments(spec, settings, kind)
    source = spec.source
    if isinstance(source, HubSource) and source.file is None:
        model = source.repo
        if source.revision:
            engine |= {"revision": source.revision, "tokenizer_revision": source.revision}
    elif isinstance(source, PathSource):
        model = source.path
    else:
        raise UnsupportedError(
            f"model '{spec.alias}' is for vLLM and comes from {source}",
            hint="Ray Serve LLM loads whole Hub repositories and folders; take engine: llamacpp for a GGUF file.",
        )
    if spec.chat_template is not None:
        engine["chat_template"] = spec.chat_template
    engine |= _named(spec, settings.args)
    variables = variables_of(settings, kind) | {
        "RAYLLM_ENGINE_START_TIMEOUT_S": str(ceil(settings.ready_timeout))
    }
    if offline:
        variables["HF_HUB_OFFLINE"] = "1"
    replicas = spec.replicas
    found: dict[str, Any] = {
        "model_loading_config": {"model_id": spec.alias, "model_source": model},
        "engine_kwargs": engine,
        "runtime_env": {"env_vars": variables},
        "accelerator_config": {"kind": "cpu" if kind == "cpu" else "gpu"},
        "deployment_config": {
            "autoscaling_config": {
                "min_replicas": replicas.min if replicas else 1,
                "max_replicas": replicas.max if replicas else 1,
                "target_ongoing_requests": replicas.requests if replicas else 16,
            },
            "health_check_period_s": HEALTH,
        },
    }
    if adapters:
        found["lora_config"] = {"max_num_adapters_per_replica": max(2, len(adapters))}
        found["server_cls"] = f"{_RAY_LLM}:Server"
        found["experimental_configs"] = {ADAPTERS: {one.alias: _entry(one) for one in adapters}}
    return found


def _named(spec: ModelSpec, words: Sequence[str]) -> dict[str, Any]:
    """Arguments of a command line by their names in Python.

    Raises:
        UnsupportedError: a word belongs to no argument.
    """
    found: dict[str, Any] = {}
    name = ""
    for word in words:
        if word.startswith("--"):
            flag, equals, value = word[2:].partition("=")
            name = flag.replace("-", "_")
            if equals:
                found[name], name = _value(value), ""
            elif name.startswith("no_"):
                found[name.removeprefix("no_")], name = False, ""
            else:
                found[name] = True
        elif not name:
            raise UnsupportedError(
                f"option 'args' of '{spec.alias}' has {word!r:.80}, which belongs to no argument",
                hint="Ray Serve LLM takes arguments by name: write --name value.",
            )
        elif found[name] is True:
            found[name] = _value(word)
        else:
            found[name] = [*(found[name] if isinstance(found[name], list) else [found[name]]), _value(word)]
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


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
