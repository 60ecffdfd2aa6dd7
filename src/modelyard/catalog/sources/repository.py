"""Repository files: which of a Hub repository's files a model needs."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterable

from modelyard.catalog.spec import HubSource, ModelSpec
from modelyard.errors import InvalidArgumentError, ModelNotFoundError, UnsupportedError, nearest

_BESIDE = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken", "tokenizer*", "vocab*", "merges*")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_SHARD = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<end>\.\w+)")


def choose_files(spec: ModelSpec, source: HubSource, names: Collection[str]) -> list[str]:
    """The files to download, in order.

    With `file`, that file, or the one that its pattern matches, and the other shards of it. Else everything
    at the top of the repository that one format needs: safetensors before OpenVINO before GGUF.

    Raises:
        ModelNotFoundError: the repository has no such file, or no weights.
        UnsupportedError: it has only pickled weights, and the spec does not allow them.
        InvalidArgumentError: several GGUF files, or several matches of the pattern.
    """
    if source.file:
        return _named(source, source.file, names)
    top = sorted(name for name in names if "/" not in name)
    weights = _weights(spec, source, top)
    beside = [name for name in top if _any(name, _BESIDE) and not _any(name, (*_PICKLES, "*.safetensors"))]
    # A model's own code is fetched only where the spec allows it to run.
    code = [name for name in top if name.endswith(".py")] if spec.trust_remote_code else []
    return list(dict.fromkeys([*beside, *code, *weights]))


def shards(name: str) -> list[str]:
    """All the shards that a shard's name speaks of; the name itself where it is none.

    >>> shards("m-00001-of-00002.gguf")
    ['m-00001-of-00002.gguf', 'm-00002-of-00002.gguf']
    """
    match = _SHARD.fullmatch(name)
    if match is None:
        return [name]
    count = min(int(match["count"]), 10_000)
    return [
        f"{match['stem']}-{number:05}-of-{match['count']}{match['end']}" for number in range(1, count + 1)
    ]


def _named(source: HubSource, wanted: str, names: Collection[str]) -> list[str]:
    found = [wanted] if wanted in names else sorted(fnmatch.filter(names, wanted))
    if not found:
        raise ModelNotFoundError(
            f"{source.repo} has no file '{wanted}'.{nearest(wanted, names)}", hint=f"It has: {_some(names)}."
        )
    whole = shards(found[0])
    if set(found) - set(whole):
        raise InvalidArgumentError(
            f"'{wanted}' matches several files of {source.repo}: {_some(found)}",
            hint="Name one of them in 'file'.",
        )
    if missing := [name for name in whole if name not in names]:
        raise ModelNotFoundError(f"{source.repo} lacks {_some(missing)}, a shard of {found[0]}", hint="")
    return whole


def _weights(spec: ModelSpec, source: HubSource, top: list[str]) -> list[str]:
    tensors = [name for name in top if name.endswith(".safetensors")]
    if tensors:
        # Some publishers add the same weights in their own layout.
        ours = [name for name in tensors if not name.startswith("consolidated")]
        return ours or tensors
    graphs = [name for name in top if name.startswith("openvino_") and name.endswith(".xml")]
    if graphs:
        return [*graphs, *(name for name in top if name.startswith("openvino_") and name.endswith(".bin"))]
    if ggufs := [name for name in top if name.endswith(".gguf")]:
        return _only_gguf(source, ggufs)
    return _pickles(spec, source, top)


def _only_gguf(source: HubSource, ggufs: list[str]) -> list[str]:
    whole = shards(ggufs[0])
    if set(ggufs) - set(whole):
        raise InvalidArgumentError(
            f"{source.repo} has {len(ggufs)} GGUF files and the catalogue names none",
            hint=f"Add 'file: …' to the source; it has: {_some(ggufs)}.",
        )
    return whole


def _pickles(spec: ModelSpec, source: HubSource, top: list[str]) -> list[str]:
    pickles = [name for name in top if _any(name, _PICKLES)]
    if not pickles:
        raise ModelNotFoundError(f"{source.repo} has no weights at its top", hint=f"It has: {_some(top)}.")
    if not spec.allow_pickle:
        raise UnsupportedError(
            f"{source.repo} has only pickled weights ({_some(pickles)}); reading a pickle can run any code",
            hint=f"Choose a safetensors or GGUF version, or set 'allow_pickle: true' for '{spec.alias}'.",
        )
    return pickles


def _any(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _some(names: Collection[str]) -> str:
    shown = sorted(names)[:12]
    return ", ".join(shown) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
