"""Catalogue files: what is read, and what is said about mistakes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from modelyard.catalog import HubSource, PackageSource, PathSource, load_catalog, load_file
from modelyard.errors import CatalogError, ModelNotFoundError

SHA = "a" * 64


def read(text: str):
    Path("models.yaml").write_text(text)
    return load_file(Path("models.yaml"))


def mistake(text: str) -> CatalogError:
    with pytest.raises(CatalogError) as caught:
        read(text)
    assert caught.value.file == "models.yaml"
    return caught.value


def test_each_form_of_source_is_read():
    (spec,) = read(f"""
models:
  m:
    source:
      - org/name
      - {{hub: org/other, revision: v1, file: m.gguf, sha256: {SHA}}}
      - {{path: weights/m.gguf}}
      - {{package: one==1.0, file: one/m.gguf, sha256: {SHA}, size: 5}}
      - packages: [{{package: a==1, file: a/1}}, {{package: b==1, file: b/1}}]
        name: j.gguf
        sha256: {SHA}
        size: 9
""")
    short, full, path, package, packages = spec.sources
    assert short == HubSource(repo="org/name")
    assert full == HubSource(repo="org/other", revision="v1", file="m.gguf", sha256=SHA)
    assert path == PathSource(path=str(Path("weights/m.gguf").resolve()))
    assert isinstance(package, PackageSource) and package.name == "m.gguf"
    assert isinstance(packages, PackageSource) and [part.package for part in packages.parts] == [
        "a==1",
        "b==1",
    ]


def test_numbered_packages_are_written_once():
    (spec,) = read(f"""
models:
  m:
    source:
      packages: {{template: "part-{{n}}==0.2", file: "part_{{n}}/p{{n:02}}.bin", count: 12}}
      name: m.gguf
      sha256: {SHA}
      size: 10
""")
    assert spec.source.parts[0].file == "part_1/p01.bin"
    assert spec.source.parts[11].package == "part-12==0.2"


def test_defaults_of_the_file_lie_under_those_of_a_model():
    one, two = read("""
defaults: {temperature: 0.2, max_new_tokens: 10}
models:
  one: {source: org/one}
  two: {source: org/two, defaults: {max_length: 99}}
""")
    assert one.defaults == {"temperature": 0.2, "max_new_tokens": 10}
    assert two.defaults == {"temperature": 0.2, "max_length": 99}


def test_anchors_and_merge_keys_work():
    one, two = read("models:\n  one: &a {source: org/one, task: seq2seq}\n  two: {<<: *a, source: org/two}\n")
    assert (two.task, two.source.repo) == ("seq2seq", "org/two")
    assert one.source.repo == "org/one"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("models:\n  a: {source: [\n", 3, "not YAML"),
        ("models:\n\ta: 1\n", 2, "not YAML"),
        ("models:\n  a: {source: o/n}\n  a: {source: o/m}\n", 3, "key 'a' is given twice, first on line 2"),
        ("models:\n  a:\n    source: o/n\n    temprature: 1\n", 4, "key 'temprature' is not known"),
        ("models:\n  a:\n    source: o/n\n    tsak: vision\n", 4, "Did you mean 'task'"),
        ("models:\n  a:\n    source: o/n\n    task: poetry\n", 4, "key 'task' has value 'poetry'"),
        ("models:\n  a:\n    source: o/n\n    parameters: 7\n", 4, "Put it in quotes"),
        ("models:\n  a:\n    source:\n      hub: o/n\n      rev: x\n", 5, "key 'rev' is not known"),
        ("models:\n  a:\n    source:\n      hub: a/b/c\n", 3, "organization/name"),
        ("models:\n  a:\n    source:\n      package: p\n      file: f\n", 4, "exact version"),
        ("models:\n  a:\n    source: {package: p==1, file: f, sha256: zz, size: 1}\n", 3, "64 hexadecimal"),
        ("models:\n  a:\n    source: {package: p==1, file: ../f, sha256: zz, size: 1}\n", 3, "without '..'"),
        ("models:\n  a:\n    source: {hub: o/n, path: x}\n", 3, "hub and path"),
        ("models:\n  a:\n    display_name: A\n", 2, "'source' is missing"),
        ("models:\n  a:\n    source: o/n\n    base: o/b\n", 2, "belongs to an adapter"),
        ("models:\n  a:\n    source: o/n\n    trust_remote_code: true\n", 4, "trust_remote_code"),
        ("models:\n  a:\n    source: o/n\n    trust_remote_code: main\n", 4, "never a plain yes"),
        (
            "models:\n  a:\n    source: o/n\n    defaults:\n      temperature: 1\n      top_q: 1\n",
            6,
            "'top_p'",
        ),
        (
            "models:\n  a:\n    source: o/n\n    defaults:\n      temperature: -1\n",
            5,
            "'temperature' has value -1",
        ),
        (
            "models:\n  a:\n    source: o/n\n    defaults:\n      max_length: 9\n      max_new_tokens: 9\n",
            4,
            "both given",
        ),
        ("models:\n  a b: {source: o/n}\n", 2, "cannot be used"),
        ("models:\n  12: {source: o/n}\n", 2, "is not text"),
        ("models:\n  a: o/n\n", 2, "model 'a' has value 'o/n'"),
        ("modles:\n  a: {source: o/n}\nmore: 3\n", 3, "key 'more' has value 3"),
        ("# nothing\n", 1, "no models"),
        ("just words\n", 1, "'just words'"),
        ("models: &a\n  x: *a\n", 2, "refer to themselves"),
        (
            "models:\n  a: {source: o/n, endpoint: x/y}\n  b: {source: o/n, endpoint: x/y}\n",
            3,
            "belongs to 'a'",
        ),
        ("models:\n  a: {source: o/n, endpoint: ../y}\n", 2, "key 'endpoint'"),
        ("models:\n  a: {source: {hub: o/n, sha256: '" + SHA + "'}}\n", 2, "add 'file'"),
    ],
)
def test_a_mistake_is_named_with_its_line(text, line, words):
    error = mistake(text)
    assert words in str(error)
    assert error.line == line


def test_a_file_that_is_not_text_is_named():
    Path("models.yaml").write_bytes(b"models: \xff")
    with pytest.raises(CatalogError, match=r"models\.yaml.*UTF-8"):
        load_file(Path("models.yaml"))


def test_aliases_that_multiply_are_stopped():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "far too many" in str(mistake("\n".join(lines)))


def test_the_users_file_lies_over_the_starter(monkeypatch):
    Path("models.yaml").write_text("models: {mistral_7b: {source: my/mistral}, mine: {source: my/own}}")
    catalog = load_catalog()
    assert catalog.get("mistral_7b").source.repo == "my/mistral"
    assert "mine" in catalog and "llama2_7b" in catalog
    assert catalog.file == Path("models.yaml")


def test_the_option_goes_before_the_variable_before_the_folder(monkeypatch):
    for name in ("models", "variable", "option"):
        Path(f"{name}.yaml").write_text(f"models: {{{name}: {{source: o/n}}}}")
    assert "models" in load_catalog()
    monkeypatch.setenv("MODELYARD_CATALOG", "variable.yaml")
    assert "variable" in load_catalog() and "models" not in load_catalog()
    assert "option" in load_catalog(Path("option.yaml"))


def test_a_named_catalogue_that_is_missing_is_an_error(monkeypatch):
    monkeypatch.setenv("MODELYARD_CATALOG", "gone.yaml")
    with pytest.raises(CatalogError, match=r"gone\.yaml: MODELYARD_CATALOG names it"):
        load_catalog()


def test_the_users_endpoint_wins_over_the_starters():
    Path("models.yaml").write_text("models: {mine: {source: o/n, endpoint: /models/gpt2/generate/}}")
    catalog = load_catalog()
    assert catalog.get("mine").endpoint == "models/gpt2/generate"
    assert catalog.get("gpt2-model").endpoint is None


def test_an_unknown_alias_offers_the_nearest():
    with pytest.raises(ModelNotFoundError, match="Did you mean 'mistral_7b'"):
        load_catalog().get("mistal_7b")


def test_a_name_is_an_alias_or_a_hub_id_or_a_path():
    catalog = load_catalog()
    Path("w.gguf").touch()
    assert catalog.resolve("gpt2-model").endpoint == "models/gpt2/generate"
    assert catalog.resolve("org/unknown").source == HubSource(repo="org/unknown")
    assert catalog.resolve("w.gguf").source == PathSource(path=str(Path("w.gguf").resolve()))
    assert catalog.resolve(".").alias == "work"


def test_a_hub_id_has_the_facts_of_its_alias_but_not_its_defaults():
    spec = load_catalog().resolve("microsoft/phi-2")
    assert (spec.alias, spec.defaults, spec.endpoint, spec.licence) == ("microsoft/phi-2", {}, None, "MIT")
    assert load_catalog().resolve("t5-small").task == "seq2seq"
    assert load_catalog().resolve("FinGPT/fingpt-mt_llama2-7b_lora").base == "meta-llama/Llama-2-7b-hf"


@pytest.mark.parametrize("name", ["nothing-like-it", "./gone.gguf", "gone.gguf", "notes.txt"])
def test_a_name_that_is_nothing_is_an_error(name):
    Path("notes.txt").touch()
    with pytest.raises(ModelNotFoundError):
        load_catalog().resolve("./notes.txt" if name == "notes.txt" else name)


def test_a_model_behind_a_url_needs_no_source():
    (spec,) = read("models: {a: {url: 'http://localhost:8080/v1', engine: endpoint}}")
    assert spec.elsewhere and spec.sources == ()
    with pytest.raises(ModelNotFoundError, match="no source"):
        _ = spec.source


def test_loading_a_catalogue_imports_nothing_heavy():
    code = (
        "import sys\nfrom modelyard.catalog.load import load_catalog\nimport modelyard.catalog.pull\n"
        "load_catalog()\n"
        "print([m for m in ('huggingface_hub', 'httpx2', 'unearth', 'filelock', 'tqdm') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_a_source_may_be_a_starter_models_alias(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text("- {name: mine, type: huggingface, hf_model_name: smollm2-135m, endpoint: mine}\n")
    catalog = load_catalog(file)
    assert catalog.get("mine").sources == catalog.get("smollm2-135m").sources
    assert catalog.get("mine").endpoint == "mine"


@pytest.mark.parametrize("name", ["./model.gguf", "model.gguf", "/models/folder", "~/model"])
def test_a_source_may_be_a_path(tmp_path: Path, name: str) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(f"models:\n  mine: {{source: {name}}}\n")
    (source,) = load_catalog(file).get("mine").sources
    assert isinstance(source, PathSource)
    assert Path(source.path).is_absolute()
