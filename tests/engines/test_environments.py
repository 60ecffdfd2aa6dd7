"""Environments of their own: real virtual environments, built by a real pip from wheels made here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from modelyard.engines.environments import Environment, Recipe, find, install, names, pip, recipe, remove
from modelyard.errors import (
    DiskFullError,
    DownloadError,
    EngineError,
    InvalidArgumentError,
    ModelNotFoundError,
    OfflineError,
)

Start = Callable[..., subprocess.Popen[str]]
PATIENCE = 60


def wheel(folder: Path, name: str, version: str, files: dict[str, str], needs: str = "") -> None:
    """A wheel of a few files of text."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"
    about = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files = {**files, f"{info}/METADATA": metadata, f"{info}/WHEEL": about}
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)


class Index:
    """A package index on this machine; `stall` makes it take a request for a wheel and not answer."""

    def __init__(self, wheels: Path) -> None:
        self.asked, self.answer = threading.Event(), threading.Event()
        self.answer.set()
        self.wheels: list[str] = []
        index = self

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.endswith(".whl"):
                    index.wheels.append(self.path)
                    index.asked.set()
                    index.answer.wait(PATIENCE)
                try:
                    super().do_GET()
                except OSError:
                    self.close_connection = True  # who asked has been killed

            def log_message(self, *_: object) -> None:
                pass

        root = wheels.parent
        for file in wheels.glob("*.whl"):
            page = root / "simple" / file.name.split("-")[0]
            page.mkdir(parents=True, exist_ok=True)
            (page / "index.html").write_text(f'<a href="/{wheels.name}/{file.name}">{file.name}</a>')
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(root)))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/simple"

    def close(self) -> None:
        self.answer.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Heard:
    """Progress that is written down."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.files: list[tuple[str, int, int | None]] = []
        self.notes: list[str] = []

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def download(self, file: str, done: int, total: int | None) -> None:
        self.files.append((file, done, total))

    def note(self, text: str) -> None:
        self.notes.append(text)


MADE = Recipe(
    name="toy",
    purpose="a toy",
    hardware="cpu",
    steps=(("toybase==1.0",), ("toy",)),
    distributions=("toy", "toybase"),
    imports="toy:THING",
    removed=("toyextra", "never-installed"),
    variables={"TOY_QUIET": "1"},
)
ONE = Recipe("one", "one package", "cpu", (("toybase",),), ("toybase",), "toybase")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index") / "wheels"
    folder.mkdir()
    wheel(folder, "toybase", "1.0", {"toybase.py": "VALUE = 1\n"})
    wheel(folder, "toyextra", "1.0", {"toyextra.py": ""})
    code = "import os, toybase\nassert os.environ['TOY_QUIET'] == '1' and os.environ['PYTHONNOUSERSITE']\nTHING = 1\n"
    wheel(folder, "toy", "2.5", {"toy.py": code}, "Requires-Dist: toybase\nRequires-Dist: toyextra\n")
    wheel(
        folder, "broken", "1.0", {"broken.py": "raise ImportError('operator torchvision::nms is missing')\n"}
    )
    return folder


@pytest.fixture
def settings(wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A data folder of the test's own, and pip's settings for the wheels alone."""
    changes = {
        "MODELYARD_DATA": str(tmp_path / "data"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_FIND_LINKS": str(wheels),
        "PIP_NO_INDEX": "1",
        "PIP_NO_CACHE_DIR": "1",
        "NO_PROXY": "127.0.0.1",
        "PYTHONPATH": str(tmp_path / "astray"),
    }
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    return changes


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    subprocess.run([sys.executable, "-I", "-m", "venv", str(folder)], check=True)
    return folder


@pytest.fixture
def quick(template: Path, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Environments begin as a copy, here and in the scripts that a test starts."""
    from modelyard.engines.environments.install import _Work

    monkeypatch.setattr(_Work, "create", _Work.create)  # put back afterwards
    monkeypatch.setenv("TEMPLATE", str(template))
    settings["TEMPLATE"] = str(template)
    exec(TEMPLATE, {})


@pytest.fixture
def index(wheels: Path, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """An index that pip is told to ask, in place of the folder."""
    server = Index(wheels)
    for name, value in {"PIP_INDEX_URL": server.url, "PIP_FIND_LINKS": "", "PIP_NO_INDEX": "0"}.items():
        monkeypatch.setenv(name, value)
        settings[name] = value
    yield server
    server.close()


# A venv takes seconds to make. Where a test is about what comes after it, it is a copy of one made before.
TEMPLATE = """
import os, shutil
from modelyard.engines.environments.install import _Work

def copy(self):
    self._progress.stage("creating an environment")
    self._temporary.mkdir()
    shutil.copytree(os.environ["TEMPLATE"], self._folder, symlinks=True, dirs_exist_ok=True)

_Work.create = copy
"""

SCRIPT = """
import sys
from modelyard.engines.environments import Recipe, install

class Stderr:
    def stage(self, text): print(text, file=sys.stderr, flush=True)
    def download(self, *_): pass
    def note(self, text): print(text, file=sys.stderr, flush=True)

recipe = Recipe("one", "one package", "cpu", (("toybase",),), ("toybase",), "toybase")
try:
    print(install(recipe, progress=Stderr(), force="force" in sys.argv).installed_at)
except KeyboardInterrupt:
    sys.exit(130)
"""


def engines(settings: dict[str, str]) -> Path:
    return Path(settings["MODELYARD_DATA"]) / "engines"


def processes_in(folder: Path) -> list[str]:
    """The command lines of processes that have to do with a folder."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if str(folder) in line:
            found.append(line)
    return found


def wait_until(true: Callable[[], bool], seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.02)


def all_gone(folder: Path) -> None:
    if not Path("/proc/self/cmdline").exists():
        pytest.skip("needs /proc")
    wait_until(lambda: not processes_in(folder))


# -- a whole one, from the first stage to its removal ------------------------------------------------------


@pytest.mark.slow
def test_a_whole_install_is_recorded_works_and_can_be_removed(settings: dict[str, str]) -> None:
    heard = Heard()
    made = install(MADE, progress=heard)
    assert (made.name, made.hardware, made.version) == ("toy", "cpu", "2.5")
    assert dict(made.versions) == {"toy": "2.5", "toybase": "1.0"}
    assert made.folder == engines(settings) / "toy" and made.size > 1_000_000
    assert [stage.split(": ")[0].split(" in ")[0] for stage in heard.stages] == [
        "creating an environment", "step 1 of 2", "unpacking 1 package", "step 2 of 2",
        "unpacking 2 packages", "taking out toyextra, never-installed", "trying to import toy:THING",
    ]  # fmt: skip
    assert find("toy") == made
    assert not (made.folder / "tmp").exists() and not (made.folder / "pip.conf").exists()

    seen = run_in(made, "import sys, toy; print(sys.path)")
    assert str(made.folder) in seen and "astray" not in seen
    with pytest.raises(AssertionError, match="toyextra"):
        run_in(made, "import toyextra")

    again = Heard()
    assert install(MADE, progress=again, offline=True) == made and again.stages == []
    with pytest.raises(InvalidArgumentError, match="installed for 'cpu', not for 'cuda'"):
        install(MADE, hardware="cuda")

    freed = remove("toy")
    assert freed >= made.size and not made.folder.exists() and find("toy") is None


def run_in(made: Environment, code: str) -> str:
    line = [str(made.python), "-P", "-c", code]
    done = subprocess.run(line, env=made.environ(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_downloads_are_told_with_their_bytes(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pip, "_GLANCE", 0.01)
    heard = Heard()
    install(ONE, progress=heard)
    file = "toybase-1.0-py3-none-any.whl"
    assert heard.files[0][:2] == (file, 0)
    assert heard.files[-1] == (file, heard.files[-1][2], heard.files[-1][2])
    remove("one")


def test_a_download_on_its_way_is_measured_by_its_file(tmp_path: Path) -> None:
    heard = Heard()
    ear = pip._Ear(heard, tmp_path)
    ear.hear("  Downloading https://user:****@index/a/torch-2.13.0-cp311-cp311-linux_x86_64.whl (1.5 GB)")
    ear.look()
    folder = tmp_path / "pip-unpack-x1"
    folder.mkdir()
    (folder / "torch-2.13.0-cp311-cp311-linux_x86_64.whl").write_bytes(b"x" * 1000)
    ear.look()
    ear.hear("Installing collected packages: a, b")
    ear.look()
    assert [one[1:] for one in heard.files] == [
        (0, 1_500_000_000),
        (1000, 1_500_000_000),
        (1_500_000_000, 1_500_000_000),
    ]
    assert heard.stages == ["unpacking 2 packages"]


@pytest.mark.usefixtures("quick")
def test_force_builds_anew_and_a_failure_keeps_the_old_one(
    settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = install(ONE)
    (first.folder / "old").touch()
    gone = Recipe("one", "", "cpu", (("no-such-package-of-ours",),), ("toybase",), "toybase")
    with pytest.raises(EngineError, match="no-such-package-of-ours"):
        install(gone, force=True)
    assert find("one") == first and (first.folder / "old").exists()
    second = install(ONE, force=True)
    assert not (second.folder / "old").exists()
    assert [one.name for one in engines(settings).iterdir() if one.is_dir()] == ["one"]


# -- interrupted, killed, two at once ----------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
def test_killed_in_the_middle_it_leaves_nothing_that_is_taken_for_whole(
    start: Start, index: Index, settings: dict[str, str]
) -> None:
    index.answer.clear()
    process = start(script=TEMPLATE + SCRIPT, env=settings)
    assert index.asked.wait(PATIENCE)
    process.kill()
    process.wait()
    folder = engines(settings) / "one"
    all_gone(folder)
    assert folder.is_dir() and find("one") is None
    index.answer.set()
    (folder / "left").touch()
    made = install(ONE)
    assert dict(made.versions) == {"toybase": "1.0"} and not (folder / "left").exists()


@pytest.mark.usefixtures("quick")
def test_a_killed_rebuild_gives_the_old_one_back(
    start: Start, index: Index, settings: dict[str, str]
) -> None:
    first = install(ONE)
    index.asked.clear()
    index.answer.clear()
    process = start("force", script=TEMPLATE + SCRIPT, env=settings)
    assert index.asked.wait(PATIENCE)
    process.kill()
    process.wait()
    all_gone(first.folder)
    assert find("one") is None
    assert install(ONE, progress=Heard()) == first
    remove("one")
    assert not any(one.is_dir() for one in engines(settings).iterdir())


@pytest.mark.slow
def test_ctrl_c_leaves_no_folder_and_no_child(start: Start, index: Index, settings: dict[str, str]) -> None:
    index.answer.clear()
    process = start(script=SCRIPT, env=settings)
    assert index.asked.wait(PATIENCE)
    folder = engines(settings) / "one"
    assert processes_in(folder)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130, err
    assert not folder.exists()
    all_gone(folder)


@pytest.mark.usefixtures("quick")
def test_two_at_once_build_it_once(start: Start, index: Index, settings: dict[str, str]) -> None:
    index.answer.clear()
    first = start(script=TEMPLATE + SCRIPT, env=settings)
    assert index.asked.wait(PATIENCE)
    second = start(script=TEMPLATE + SCRIPT, env=settings)
    assert second.stderr is not None
    assert "Another process is installing one; waiting for it." in second.stderr.readline()
    with pytest.raises(EngineError, match="is being installed by another process"):
        remove("one")
    index.answer.set()
    said = [one.communicate(timeout=PATIENCE)[0] for one in (first, second)]
    assert said[0] == said[1] != ""
    assert len(index.wheels) == 1


# -- what goes wrong ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
def test_a_package_that_does_not_exist_is_named(settings: dict[str, str]) -> None:
    missing = Recipe("one", "", "cpu", (("no-such-package-of-ours",),), (), "toybase")
    with pytest.raises(EngineError, match="no-such-package-of-ours") as caught:
        install(missing)
    assert "no index that pip asks" in caught.value.message and "PIP_INDEX_URL" in caught.value.hint
    assert not (engines(settings) / "one").exists()


@pytest.mark.usefixtures("quick")
def test_an_index_that_is_away_is_said_and_its_password_is_not(
    settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "PIP_INDEX_URL": "http://someone:verysecret@127.0.0.1:9/simple",
        "PIP_EXTRA_INDEX_URL": "http://hf_tokentokentoken@127.0.0.1:9/simple",
        "PIP_NO_INDEX": "0",
        "PIP_FIND_LINKS": "",
        "PIP_RETRIES": "1",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(DownloadError, match="the package index gives no answer") as caught:
        install(ONE)
    text = str(caught.value)
    assert "verysecret" not in text and "hf_token" not in text
    assert "toybase" in text and "PIP_INDEX_URL" in text


@pytest.mark.usefixtures("quick")
def test_what_cannot_be_imported_is_not_installed(settings: dict[str, str]) -> None:
    broken = Recipe("one", "", "cpu", (("broken",),), ("broken",), "broken")
    with pytest.raises(EngineError, match="torchvision::nms is missing") as caught:
        install(broken)
    assert "Traceback" not in caught.value.message
    assert find("one") is None and not (engines(settings) / "one").exists()


def test_offline_nothing_is_tried(settings: dict[str, str]) -> None:
    with pytest.raises(OfflineError, match="'one' has to be downloaded") as caught:
        install(ONE, offline=True)
    assert "modelyard engines install one" in caught.value.hint
    assert not engines(settings).exists()


def test_no_room_is_said_before_anything_is_done(settings: dict[str, str]) -> None:
    huge = Recipe("one", "", "cpu", (("toybase",),), (), "toybase", room=10**18)
    with pytest.raises(DiskFullError, match="'one' needs 1,000,000,000,000,000,000 bytes") as caught:
        install(huge)
    assert "MODELYARD_DATA" in caught.value.hint
    assert not (engines(settings) / "one").exists()


@pytest.mark.parametrize(
    ("line", "error", "words"),
    [
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            DiskFullError,
            "the disk filled up",
        ),
        (
            "WARNING: Retrying (Retry(total=0)) after connection broken by 'ReadTimeoutError(...)': /simple/a/",
            DownloadError,
            "ReadTimeoutError",
        ),
        (
            "WARNING: 401 Client Error: Unauthorized for url: https://me:pw123@host/a",
            DownloadError,
            "https://***@host/a",
        ),
        ("ERROR: ResolutionImpossible: for help visit https://pip.pypa.io", EngineError, "Impossible"),
        ("something odd", EngineError, "something odd"),
    ],
)
def test_what_pip_says_is_understood(line: str, error: type[Exception], words: str, tmp_path: Path) -> None:
    found = pip.failure("installing one", ["Collecting a", line], tmp_path)
    assert type(found) is error and words in str(found)


def test_a_name_that_is_unknown_or_leads_away(settings: dict[str, str]) -> None:
    for ask in (install, recipe, remove):
        with pytest.raises(InvalidArgumentError, match="Did you mean 'vllm'"):
            ask("vlm")
    with pytest.raises(InvalidArgumentError, match="cannot be made for 'cuda'"):
        recipe("openvino-export", "cuda")
    with pytest.raises(ModelNotFoundError, match="'vllm' is not installed"):
        remove("vllm")
    for name in ("..", "", "../data", "/tmp"):
        with pytest.raises(InvalidArgumentError, match="cannot be named"):
            remove(name)


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"versions": 1}'])
def test_a_record_that_cannot_be_read_is_none(settings: dict[str, str], record: str) -> None:
    folder = engines(settings) / "one"
    folder.mkdir(parents=True)
    (folder / "modelyard.json").write_text(record)
    assert find("one") is None


def test_the_record_is_plain_json_and_an_environment_without_its_python_is_none(
    settings: dict[str, str],
) -> None:
    folder = engines(settings) / "one"
    (folder / "bin").mkdir(parents=True)
    record = {"hardware": "cpu", "versions": {"a": "1"}, "installed_at": "2026-11-21T10:00:00+00:00"}
    record |= {"size": 5, "variables": {}, "requirements": ["a"]}
    (folder / "modelyard.json").write_text(json.dumps(record))
    assert find("one") is None
    (folder / "bin" / "python").touch()
    found = find("one")
    assert found is not None and found.version == "1" and found.requirements == ("a",)


def test_the_recipes_are_complete_and_keep_the_cpu_build_of_torch() -> None:
    assert names() == ("vllm", "openvino-export")
    for name in names():
        made = recipe(name, "cpu")
        assert made.steps[0] == ("torch==2.13.0",) and "torch==2.13.0" in made.steps[1]
        assert "torchvision" in made.removed
        assert made.purpose and made.download and made.room > made.download
    assert recipe("vllm", "cuda").steps == (("vllm",),)


def test_the_hardware_is_found_by_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from modelyard.engines.environments import hardware_here

    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("a machine with an NVIDIA GPU")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert hardware_here() == "cpu" and recipe("vllm").hardware == "cpu"
    (tmp_path / "nvidia-smi").touch(mode=0o755)
    assert hardware_here() == "cuda" and recipe("vllm").hardware == "cuda"
    assert recipe("openvino-export").hardware == "cpu"
