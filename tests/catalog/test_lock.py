"""models.lock: written from the Hub, read by every pull."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from modelyard.catalog import load_catalog
from modelyard.catalog.lock import read_lock, write_lock
from modelyard.catalog.pull import pull
from modelyard.errors import CatalogError, IntegrityError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40


@pytest.fixture
def catalog(hub):
    Path("models.yaml").write_text(f"""
models:
  tiny: {{source: org/tiny}}
  packed: {{source: {{package: p==1, file: p/f.gguf, sha256: {"a" * 64}, size: 1}}}}
""")
    return load_catalog()


def test_without_a_lock_there_is_none(catalog):
    assert read_lock(catalog) is None


def test_a_lock_pins_commits_files_and_packages(catalog, hub):
    lock = write_lock(catalog)
    tiny, packed = lock.pins["tiny"][0], lock.pins["packed"][0]
    assert (tiny.commit, tiny.revision) == (COMMIT, "main")
    assert tiny.files["model.safetensors"] == hashlib.sha256(b"weights").hexdigest()
    assert (packed.packages, packed.files) == (("p==1",), {"f.gguf": "a" * 64})
    assert read_lock(catalog) == lock
    assert set(lock.pins) == {"tiny", "packed"}


def test_writing_it_again_changes_no_byte(catalog):
    write_lock(catalog)
    first = Path("models.lock").read_bytes()
    write_lock(catalog, ["tiny"])
    assert Path("models.lock").read_bytes() == first
    assert [file.name for file in Path().glob("models.lock*")] == ["models.lock"]


def test_a_pull_takes_the_locked_commit(catalog, hub):
    lock = write_lock(catalog)
    hub.commits["main"] = OTHER
    assert pull(catalog.get("tiny"), lock=lock).revision == COMMIT


def test_a_pull_checks_the_locked_hashes(catalog, hub):
    lock = write_lock(catalog)
    hub.served["model.safetensors"] = b"weighty"
    with pytest.raises(IntegrityError, match=r"org/tiny/model\.safetensors"):
        pull(catalog.get("tiny"), lock=lock)


def test_a_lock_of_another_revision_is_an_error(catalog, hub):
    lock = write_lock(catalog)
    Path("models.yaml").write_text("models: {tiny: {source: {hub: org/tiny, revision: v2}}}")
    with pytest.raises(CatalogError, match="locked at revision 'main'"):
        pull(load_catalog().get("tiny"), lock=lock)


@pytest.mark.parametrize(
    "text", ["[]", "models: {tiny: [{commit: short}]}", "models: {tiny: 3}", "models: {a: [{x: 1}]}"]
)
def test_a_broken_lock_is_named(catalog, text):
    Path("models.lock").write_text(text)
    with pytest.raises(CatalogError, match=r"models\.lock:1: "):
        read_lock(catalog)
