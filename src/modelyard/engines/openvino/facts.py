"""The facts that are kept beside a model in OpenVINO's form, and how such a folder takes its place."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from modelyard.engines.openvino.pieces import piece_kind
from modelyard.engines.progress import load_progress

FACTS = "modelyard.json"


def library_version() -> str:
    """The version of OpenVINO GenAI; converted files belong to it."""
    return importlib.metadata.version("openvino-genai")


@contextlib.contextmanager
def locked(folder: Path, what: str = "") -> Iterator[None]:
    """Two processes make a folder once; the one that waits says for what."""
    from filelock import FileLock, Timeout

    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{folder}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if what:
            load_progress().note(f"Another process is {what}; waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def publish(temporary: Path, folder: Path) -> None:
    """Puts a whole folder where it is looked for."""
    try:
        temporary.replace(folder)
    except OSError:
        if not (folder / FACTS).is_file():
            raise


def write_facts(
    folder: Path, context_length: int, weights: str, eos: Sequence[int], more: Mapping[str, Any] | None = None
) -> None:
    """Keeps what loading would otherwise work out each time: special tokens, template, context."""
    import openvino_genai as genai

    tokenizer = genai.Tokenizer(str(folder))
    vocabulary = sorted(tokenizer.get_vocab().values())
    shown = tokenizer.decode([[token] for token in vocabulary], skip_special_tokens=True)
    own = tokenizer.get_eos_token_id()
    facts = {
        "context_length": context_length,
        "weights": weights,
        "eos": list(dict.fromkeys([*eos, *([own] if own >= 0 else [])])),
        "chat_template": _template(folder) or tokenizer.get_original_chat_template() or None,
        "special": [token for token, text in zip(vocabulary, shown, strict=True) if text == ""],
        "pieces": piece_kind(tokenizer),
        **(more or {}),
    }
    (folder / FACTS).write_text(json.dumps(facts), "utf-8")


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object, empty where the file is missing or holds something else."""
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def ends_of(folder: Path) -> list[int]:
    """Every token that ends an answer, as the model's files say; the generation settings come first."""
    found: list[Any] = []
    config = read_json(folder / "config.json")
    text = config.get("text_config")
    for known in (
        read_json(folder / "generation_config.json"),
        config,
        text if isinstance(text, dict) else {},
    ):
        said = known.get("eos_token_id")
        found += said if isinstance(said, list) else [said]
    return list(dict.fromkeys(one for one in found if isinstance(one, int) and not isinstance(one, bool)))


def _template(folder: Path) -> str | None:
    """The chat template of the files, where they have one; the tokenizer may have kept another form of it."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text("utf-8")
    for name in ("tokenizer_config.json", "chat_template.json"):
        found = read_json(folder / name).get("chat_template")
        if isinstance(found, list):  # several by their names
            found = next((one.get("template") for one in found if one.get("name") == "default"), None)
        if isinstance(found, str) and found:
            return found
    return None
