"""Hub sources, against a Hub of the tests' own."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys

import pytest

from modelyard.catalog.pull import find_local, pull
from modelyard.catalog.sources.repository import choose_files
from modelyard.catalog.spec import HubSource, ModelSpec
from modelyard.errors import (
    AuthenticationError,
    DownloadError,
    GatedModelError,
    IntegrityError,
    InvalidArgumentError,
    ModelNotFoundError,
    OfflineError,
    ProviderAPIError,
    RateLimitError,
    UnsupportedError,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def spec(**source: str) -> ModelSpec:
    return ModelSpec(alias="tiny", sources=(HubSource(**{"repo": "org/tiny", **source}),))


def test_a_repository_is_pulled_at_its_commit(hub, watch):
    model = pull(spec(), progress=watch)
    assert model.revision == COMMIT and model.path.name == COMMIT
    assert (model.path / "model.safetensors").read_bytes() == b"weights"
    assert not (model.path / "README.md").exists()
    assert watch.count == watch.total == len(b"{}weights[]")


def test_a_cached_repository_asks_nobody(hub):
    first = pull(spec())
    hub.requests.clear()
    assert pull(spec()) == find_local(spec()) == pull(spec(), offline=True) == first
    assert hub.requests == []


def test_a_snapshot_that_lacks_a_file_is_not_taken(hub):
    model = pull(spec())
    (model.path / "tokenizer.json").unlink()
    assert find_local(spec()) is None
    assert (pull(spec()).path / "tokenizer.json").exists()


def test_a_named_file_is_the_models_path(hub):
    hub.files["m.Q4.gguf"], hub.files["m.Q8.gguf"] = b"GGUF4", b"GGUF8"
    model = pull(spec(file="*Q4.gguf"))
    assert model.path.name == "m.Q4.gguf" and model.path.read_bytes() == b"GGUF4"
    assert find_local(spec(file="*Q4.gguf")) == model


def test_a_wrong_hash_is_refused_and_not_kept(hub):
    hub.files["m.gguf"] = b"what the publisher has"
    hub.served["m.gguf"] = b"what a tamperer sends!"
    good = hashlib.sha256(hub.files["m.gguf"]).hexdigest()
    for _ in range(2):
        with pytest.raises(IntegrityError, match=good):
            pull(spec(file="m.gguf", sha256=good))
    hub.served.clear()
    assert pull(spec(file="m.gguf", sha256=good)).path.read_bytes() == hub.files["m.gguf"]


def test_offline_without_the_files_is_an_error_and_no_request(hub):
    with pytest.raises(OfflineError, match="tiny"):
        pull(spec(), offline=True)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("status", "headers", "error", "words"),
    [
        (
            403,
            {"X_Error_Code": "GatedRepo"},
            GatedModelError,
            "Accept its terms at https://huggingface.co/org/tiny",
        ),
        (404, {"X_Error_Code": "RepoNotFound"}, ModelNotFoundError, "no repository 'org/tiny'"),
        (401, {"X_Error_Code": "RepoNotFound"}, ModelNotFoundError, "no repository 'org/tiny'"),
        (
            401,
            {"X_Error_Message": "Invalid credentials in Authorization header"},
            AuthenticationError,
            "not accept",
        ),
        (403, {}, AuthenticationError, "may not read"),
    ],
)
def test_what_the_hub_answers_is_told_in_our_words(hub, monkeypatch, status, headers, error, words):
    monkeypatch.setenv("HF_TOKEN", "hf_averysecrettoken")
    hub.fail = (status, headers)
    with pytest.raises(error, match=words) as caught:
        pull(spec())
    assert "averysecret" not in str(caught.value)


def test_too_many_requests_and_a_broken_hub_are_told_apart(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    hub.fail = (429, {"Retry_After": "1"})
    with pytest.raises(RateLimitError):
        pull(spec())
    hub.fail = (500, {})
    with pytest.raises((ProviderAPIError, DownloadError)):
        pull(spec())


def test_an_unreachable_hub_is_a_download_error(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match="cannot be reached"):
        pull(spec())


def test_a_missing_revision_and_file_are_named(hub):
    with pytest.raises(ModelNotFoundError, match="no revision 'v9'"):
        pull(spec(revision="v9"))
    with pytest.raises(
        ModelNotFoundError, match=r"no file 'modle.safetensors'. Did you mean 'model.safetensors'"
    ):
        pull(spec(file="modle.safetensors"))


def test_the_token_goes_to_the_hub_and_into_no_log(hub, monkeypatch, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HUGGINGFACE_API_KEY", "hf_averysecrettoken")
    pull(spec())
    assert hub.requests[0][2]["authorization"] == "Bearer hf_averysecrettoken"
    said = "".join(capfd.readouterr()) + "".join(record.getMessage() for record in caplog.records)
    assert "averysecret" not in said


def test_without_a_token_none_is_sent(hub):
    pull(spec())
    assert all("authorization" not in headers for _, _, headers in hub.requests)


def test_offline_is_set_before_the_client_is_imported(hub):
    code = (
        "import os, sys\nfrom modelyard.catalog.pull import pull\nfrom modelyard.catalog.spec import *\n"
        "try: pull(ModelSpec(alias='t', sources=(HubSource(repo='org/tiny'),)), offline=True)\n"
        "except Exception as error: print(type(error).__name__)\n"
        "import huggingface_hub.constants as c; print(c.HF_HUB_OFFLINE, c.HF_HUB_DISABLE_TELEMETRY)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["OfflineError", "True", "True"]
    assert hub.requests == []


# ---- which files ----


def choose(names: list[str], file: str | None = None, **changes: object) -> list[str]:
    one = ModelSpec(alias="t", sources=(HubSource(repo="o/n", file=file),), **changes)
    return choose_files(one, one.source, names)


def test_safetensors_go_before_pickles_and_the_publishers_layout():
    names = [
        "config.json",
        "model.safetensors",
        "consolidated.safetensors",
        "pytorch_model.bin",
        "original/x.pth",
    ]
    assert choose(names) == ["config.json", "model.safetensors"]


def test_only_pickles_are_refused_unless_allowed():
    with pytest.raises(UnsupportedError, match=r"only pickled weights \(pytorch_model\.bin\)"):
        choose(["config.json", "pytorch_model.bin"])
    assert "pytorch_model.bin" in choose(["config.json", "pytorch_model.bin"], allow_pickle=True)


def test_one_of_several_gguf_files_has_to_be_named():
    with pytest.raises(InvalidArgumentError, match="2 GGUF files"):
        choose(["a.Q4.gguf", "a.Q8.gguf"])
    assert choose(["a.Q4.gguf", "a.Q8.gguf"], file="*Q8*") == ["a.Q8.gguf"]
    with pytest.raises(InvalidArgumentError, match="matches several"):
        choose(["a.Q4.gguf", "a.Q8.gguf"], file="*.gguf")


def test_all_shards_of_a_file_come_with_it():
    names = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf", "n.gguf"]
    assert choose(names, file="m-00001-of-00002.gguf") == names[:2]
    with pytest.raises(ModelNotFoundError, match=r"lacks m-00002-of-00002\.gguf"):
        choose(names[:1], file="m-00001-of-00002.gguf")


def test_an_openvino_repository_comes_with_its_tokenizer():
    names = [
        "openvino_model.xml",
        "openvino_model.bin",
        "openvino_tokenizer.xml",
        "openvino_tokenizer.bin",
        "a.md",
    ]
    assert set(choose(names)) == set(names[:4])


def test_code_is_fetched_only_where_it_may_run():
    names = ["config.json", "model.safetensors", "modeling_x.py"]
    assert "modeling_x.py" not in choose(names)
    assert "modeling_x.py" in choose(names, trust_remote_code=COMMIT)


def test_a_repository_without_weights_is_an_error():
    with pytest.raises(ModelNotFoundError, match="no weights"):
        choose(["README.md"])
