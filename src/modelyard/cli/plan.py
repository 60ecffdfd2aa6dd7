"""`plan`: which engine runs a model, and whether it fits, before anything is downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from modelyard.cli.settings import SETTINGS
from modelyard.cli.show import print_json, size

if TYPE_CHECKING:
    from modelyard.catalog.lock import Lock
    from modelyard.catalog.memory.device import Device
    from modelyard.catalog.memory.facts import ModelFacts
    from modelyard.catalog.memory.footprint import Footprint
    from modelyard.catalog.plan import Plan
    from modelyard.catalog.spec import ModelSpec

_CONTEXT = 4096  # tokens, or what the model was made for if that is less


def plan(
    names: Annotated[list[str], typer.Argument(help="Aliases, Hub ids, or paths of files or folders.")],
    context: Annotated[
        int | None, typer.Option(min=2, help="Tokens of prompt and answer (4096, or what the model holds).")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Requests at once.")] = 1,
    memory: Annotated[
        str | None, typer.Option(help="So much memory, as in 24GB, in place of this machine.")
    ] = None,
    gpu: Annotated[str | None, typer.Option(help="A GPU by name, as in l4 or a100-80gb.")] = None,
    quantization: Annotated[
        Literal["4bit", "8bit"] | None, typer.Option(help="Pack Hub files as they load.")
    ] = None,
    dtype: Annotated[
        Literal["bfloat16", "float16", "float32"] | None, typer.Option(help="Number type of the weights.")
    ] = None,
    work: Annotated[
        Literal["batch", "stream"] | None, typer.Option(help="Many requests, or one that somebody reads.")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="One engine in place of the automatic choice.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Say which engine would run a model and why, and whether it fits, before any download."""
    from modelyard.catalog.lock import read_lock
    from modelyard.catalog.memory.footprint import Workload
    from modelyard.catalog.plan import plan as plan_model
    from modelyard.engines.registry import availability

    device = _device(memory, gpu)
    catalog = SETTINGS.load_catalog()
    lock, missing = read_lock(catalog), availability()
    changes = {"quantization": quantization} if quantization else {}
    found = []
    for name in names:
        spec = catalog.resolve(name).model_copy(update=changes | _engine(engine))
        facts, said = _from_hub(spec, lock)
        first = plan_model(spec, missing, lock=lock, facts=facts, work=work, device=device)
        load = Workload(batch, context or min(_CONTEXT, first.context_length or _CONTEXT))
        made = plan_model(
            spec, missing, lock=lock, facts=facts, work=work, device=device, load=load, dtype=dtype
        )
        found.append((spec, made, said))
    if as_json:
        print_json({"plans": [_planned(spec, made, said) for spec, made, said in found]})
        return
    for spec, made, said in found:
        _print(spec, made, said)


def _engine(name: str | None) -> dict[str, str]:
    if name is None:
        return {}
    from modelyard.engines.registry import engine_class

    engine_class(name)  # says which there are, where there is none of this name
    return {"engine": name}


def _device(memory: str | None, gpu: str | None) -> Device:
    from modelyard.catalog.memory.device import named_gpu, of_memory, this_machine
    from modelyard.errors import InvalidArgumentError

    if memory and gpu:
        raise InvalidArgumentError("--memory and --gpu are both given", hint="Keep one of them.")
    return named_gpu(gpu) if gpu else of_memory(memory) if memory else this_machine()


def _from_hub(spec: ModelSpec, lock: Lock | None) -> tuple[ModelFacts | None, str]:
    """What the Hub tells of a model that is not here; and why it tells nothing."""
    from modelyard.catalog.memory.remote import of_hub
    from modelyard.catalog.pull import find_local
    from modelyard.catalog.spec import HubSource
    from modelyard.errors import ModelyardError, OfflineError

    sources = [one for one in spec.sources if isinstance(one, HubSource)]
    if not sources or find_local(spec, lock) is not None:
        return None, ""
    if SETTINGS.offline:
        return None, "not known offline: the Hub would have to be asked for its config.json"
    failed: ModelyardError | None = None
    for source in sources:
        try:
            return of_hub(spec, source, lock=lock), ""
        except OfflineError as error:
            return None, f"not known offline: {error.message}"
        except ModelyardError as error:
            failed = error
    if failed is not None and len(sources) == len(spec.sources):
        raise failed
    return None, f"the Hub was asked: {failed.message}" if failed else ""


def _print(spec: ModelSpec, made: Plan, said: str) -> None:
    print(f"{spec.alias}: engine {made.engine}")
    for reason in made.reasons:
        print(f"  - {reason}")
    if made.missing:
        print(f"  - it cannot run here yet: {made.missing}")
    if said:
        print(f"  - {said}")
    for name, text in _rows(made):
        print(f"  {name:<16} {text}")


def _rows(made: Plan) -> list[tuple[str, str]]:
    if made.facts is None:
        return [("runs at", made.source)]
    counted = f"{made.parameters:,}" if made.parameters else "not known"
    rows = [
        ("files", str(made.path or "not here: " + (made.source or "unknown"))),
        ("size", size(made.size) + ("" if made.local else " to download") if made.size else "not known"),
        ("parameters", counted + (f" ({made.architecture})" if made.architecture else "")),
        ("context", f"{made.context_length:,} tokens" if made.context_length else "not known"),
    ]
    found = made.memory
    if found is None:
        return rows
    shown = found.packed if found.verdict == "fits at 4-bit" else found.predicted
    if shown is not None and made.facts is not None and made.facts.architecture is not None:
        from modelyard.catalog.memory.footprint import kv_a_token

        each, load = kv_a_token(made.facts.architecture, found.how), found.work
        asked = f"{load.batch} x {load.context:,} tokens"
        rows += [
            ("runs as", found.how.quantization or _numbers(made)),
            *([("options", _options(found.how.options))] if found.how.options else []),
            ("weights", size(shown.weights)),
            ("KV a token", f"{each:,} bytes"),
            ("KV cache", f"{size(shown.kv_cache)} for {asked}"),
            ("activations", size(shown.activations)),
            ("process", size(shown.process)),
            ("peak", f"{size(shown.total)}" + (" while it loads" if _loads(shown) else "")),
        ]
        packed = found.packed.notes if found.packed is not None else ()
        rows += [("note", note) for note in dict.fromkeys((*shown.notes, *packed))]
    rows.append(("verdict", f"{found.verdict} on {found.device.name}: {found.why}"))
    if shown is not None:
        rows.append(("longest context", f"{found.longest:,} tokens alone" if found.longest else "none fits"))
        rows.append(
            (
                "largest batch",
                f"{found.largest:,} x {found.work.context:,} tokens" if found.largest else "none fits",
            )
        )
    return rows


def _options(given: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in given.items())


def _numbers(made: Plan) -> str:
    gguf = made.facts.gguf if made.facts else None
    if gguf is not None and made.engine != "transformers":
        return gguf.file_type
    return made.memory.how.dtype if made.memory else ""


def _loads(shown: Footprint) -> bool:
    return shown.loading == shown.predicted


def _planned(spec: ModelSpec, made: Plan, said: str) -> dict[str, Any]:
    return {
        "alias": spec.alias, "engine": made.engine, "reasons": list(made.reasons), "missing": made.missing,
        "format": made.format, "path": str(made.path) if made.path else None, "source": made.source,
        "size": made.size, "weights": made.weights, "context_length": made.context_length,
        "architecture": made.architecture, "local": made.local, "parameters": made.parameters,
        "unknown": [*(made.facts.unknown if made.facts else ()), *([said] if said else [])],
        "memory": _memory(made),
    }  # fmt: skip


def _memory(made: Plan) -> dict[str, Any] | None:
    found = made.memory
    if found is None:
        return None
    from modelyard.catalog.memory.footprint import kv_a_token

    model = made.facts.architecture if made.facts else None
    return {
        "verdict": found.verdict, "why": found.why,
        "device": {
            "name": found.device.name, "kind": found.device.kind, "total": found.device.total,
            "available": found.device.available,
        },
        "batch": found.work.batch, "context": found.work.context,
        "options": dict(found.how.options), "dtype": found.how.dtype, "quantization": found.how.quantization,
        "kv_a_token": kv_a_token(model, found.how) if model is not None else None,
        "predicted": _bytes(found.predicted), "at_4bit": _bytes(found.packed),
        "longest_context": found.longest, "largest_batch": found.largest,
    }  # fmt: skip


def _bytes(found: Footprint | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "process": found.process, "weights": found.weights, "kv_cache": found.kv_cache,
        "activations": found.activations, "loading": found.loading, "total": found.total,
        "mapped": found.mapped, "needed": found.needed, "factor": found.factor, "notes": list(found.notes),
    }  # fmt: skip
