"""A supervised server is started, killed, stopped, or loses its parent or its keeper: nothing of it stays."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard.engines.supervised import Server, free_port, keeper
from modelyard.engines.supervised.words import Words, telling
from modelyard.errors import EngineError, EngineNotInstalledError, ResourceExhaustedError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which processes there are")
MB = 1 << 20

# python server.py PORT FOLDER WORD...: each word is something that it does before it answers.
SERVER = """
import http.server, os, signal, sys, threading, time
port, folder, words = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
kept = []

def note():
    with open(os.path.join(folder, "pids"), "a") as file:
        file.write(f"{os.getpid()}\\n")

def daemonise():  # a grandchild that nobody owns, in a session of its own, and that listens to no signal
    if os.fork() == 0:
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(one, signal.SIG_IGN)
        note()
        while True:
            time.sleep(60)
    os.wait()

def child():
    if os.fork() == 0:
        note()
        time.sleep(600)

def bye(*_):
    open(os.path.join(folder, "bye"), "w").close()
    os._exit(0)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/grow":
            kept.append(b"x" * (64 << 20))
        elif self.path == "/child":
            child()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"here")
    def log_message(self, *_):
        pass

note()
for word in words:
    match word.partition("="):
        case ("daemon", _, _): daemonise()
        case ("child", _, _): child()
        case ("stubborn", _, _): signal.signal(signal.SIGTERM, signal.SIG_IGN)
        case ("polite", _, _): signal.signal(signal.SIGTERM, bye)
        case ("says", _, text): print(text, flush=True)
        case ("exit", _, code): sys.exit(int(code))
        case ("raise", _, code): exec(code)
        case ("sleep", _, _):
            while True: time.sleep(60)
        case ("orphan", _, _):
            if os.fork() == 0:
                if os.fork() == 0:
                    note()
                os._exit(0)
            os.wait()
        case ("shared", _, _):
            from multiprocessing.shared_memory import SharedMemory
            kept.append(SharedMemory(create=True, size=1024))
            print(kept[-1].name, flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""

# A process of ours: python -c OURS PORT COMMAND...; prints the processes, then does what it is told.
OURS = """
import json, os, signal, subprocess, sys, time, urllib.request
from modelyard.engines.supervised import Server
def ready():
    return urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}", timeout=5).status == 200
server = Server("it", sys.argv[2:], ready=ready)
signal.signal(signal.SIGINT, lambda *_: print("interrupted", flush=True))
server.start()
keeper = int(open(f"/proc/{server.pid}/stat").read().rpartition(")")[2].split()[1])
print(json.dumps([keeper, *server.pids()]), flush=True)
match sys.stdin.readline().strip():
    case "fork":
        if os.fork():
            print("forked", flush=True)
        while True: time.sleep(60)
    case "close in a fork":
        pid = os.fork()
        if pid == 0:
            server.close()
            os._exit(0)
        os.waitpid(pid, 0)
        time.sleep(0.3)
        print("alive" if server.alive and ready() else "gone", flush=True)
    case "wait":
        while True: time.sleep(60)
"""


def until(condition: Callable[[], object], seconds: float = 5) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it did not come to pass"
        time.sleep(0.01)
    return time.monotonic() - began


def state(pid: int) -> str:
    fields = keeper.stat_fields(pid)
    return fields[0].decode() if fields else ""


def gone(*pids: int) -> bool:
    return all(state(pid) in ("", "Z") for pid in pids)


def parent(pid: int) -> int:
    return int(keeper.stat_fields(pid)[1])


def get(port: int, path: str = "/health") -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return bool(answer.read() == b"here")


def pipes(pid: int) -> set[str]:
    links = [str(one.readlink()) for one in Path(f"/proc/{pid}/fd").iterdir() if one.is_symlink()]
    return {link for link in links if link.startswith("pipe:")}


class Bench:
    """Makes servers, and knows the processes that they have started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "server.py").write_text(SERVER)
        self.made: list[Server] = []
        self.port = 0

    def command(self, *words: str) -> list[str]:
        self.port = free_port()
        return [sys.executable, str(self.folder / "server.py"), str(self.port), str(self.folder), *words]

    def server(self, *words: str, **how: Any) -> Server:
        command = self.command(*words)
        port = self.port
        one = Server("the server", command, **{"ready": lambda: get(port), **how})
        self.made.append(one)
        return one

    def noted(self) -> list[int]:
        file = self.folder / "pids"
        return [int(one) for one in file.read_text().split()] if file.exists() else []


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    one = Bench(tmp_path)
    yield one
    for server in one.made:
        server.close()
    for pid in one.noted():
        if not gone(pid):
            os.kill(pid, signal.SIGKILL)


# -- its life ------------------------------------------------------------------------------------------


def test_a_started_server_answers_and_a_closed_one_leaves_nothing(bench: Bench) -> None:
    server = bench.server("daemon", "child")
    assert server.pid is None and not server.alive and server.pids() == []
    server.start()
    assert get(bench.port) and server.alive and server.ended is None
    until(lambda: len(bench.noted()) == 3)
    assert server.pids() == sorted(bench.noted()) and server.pid == bench.noted()[0]
    assert server.pid is not None
    between = parent(server.pid)
    server.close()
    assert gone(between, *bench.noted())
    assert (server.ended, server.alive, server.pids(), server.memory()) == ("was stopped", False, [], 0)


def test_a_server_that_is_not_ready_in_time_is_stopped(bench: Bench) -> None:
    server = bench.server("says=loading the weights", "daemon", "sleep", ready_timeout=0.8, grace=1)
    with pytest.raises(
        EngineError, match=r"not ready after 0\.8 seconds \(URLError(.|\n)*loading the weights"
    ):
        server.start()
    assert len(bench.noted()) == 2 and gone(*bench.noted())


@pytest.mark.parametrize(
    ("words", "kind", "said"),
    [
        (["says=no such model: x", "exit=3"], EngineError, r"exited with status 3 while it started; [^\0]*no such model"),
        (["raise=raise RuntimeError('CUDA out of memory.')"], ResourceExhaustedError, "RuntimeError: CUDA out of"),
        (["raise=import vllm_of_old"], EngineNotInstalledError, "No module named 'vllm_of_old'"),
        (["raise=os.kill(os.getpid(), 9)"], EngineError, "was killed by SIGKILL while it started"),
    ],
)  # fmt: skip
def test_one_that_ends_at_once_is_an_error_with_its_last_words(
    bench: Bench, words: list[str], kind: type[Exception], said: str
) -> None:
    server = bench.server("child", *words)
    with pytest.raises(EngineError if kind is EngineError else kind, match=said) as found:
        server.start()
    assert type(found.value) is kind and "Traceback" not in str(found.value)
    assert bench.noted() and gone(*bench.noted())


def test_a_command_that_cannot_be_run_is_an_error_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EngineNotInstalledError, match="there is no command 'no-such-server'"):
        Server("it", ["no-such-server"], ready=lambda: True).start()
    with pytest.raises(EngineError, match="Permission denied"):
        Server("it", [str(tmp_path / "file")], ready=lambda: True).start()
    with pytest.raises(EngineError, match="there is no folder"):
        Server("it", ["true"], cwd=tmp_path / "nowhere", ready=lambda: True).start()
    with pytest.raises(EngineError, match="null byte"):
        Server("it", ["a\0b"], ready=lambda: True).start()


def test_a_server_has_its_own_environment_folder_and_ordinary_signals(bench: Bench, tmp_path: Path) -> None:
    lines: list[str] = []
    code = 'echo "$(pwd) $A $HOME"; cat; [ -t 0 ]; echo $?; grep SigIgn /proc/self/status'
    env = {"A": "1", "PATH": os.environ["PATH"]}
    server = Server(
        "it", ["sh", "-c", code], env=env, cwd=tmp_path, ready=lambda: False, on_line=lines.append
    )
    with pytest.raises(EngineError):
        server.start()
    assert lines[:2] == [f"{tmp_path} 1 ", "1"]
    ignored = int(lines[2].split()[1], 16)
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
        assert not ignored & 1 << one - 1


def test_ready_is_asked_only_while_the_server_lives(bench: Bench) -> None:
    asked: list[bool] = []
    server = bench.server("exit=1", ready=lambda: asked.append(server.alive) is not None)
    with pytest.raises(EngineError):
        server.start()
    count = len(asked)
    time.sleep(0.4)  # in which it would be asked twice
    assert all(asked) and len(asked) == count


def test_a_question_that_hangs_hides_no_end(bench: Bench) -> None:
    ask, leave = threading.Event(), threading.Event()

    def ready() -> bool:
        ask.set()
        return leave.wait(20)

    server = bench.server("sleep", ready=ready)
    threading.Thread(target=lambda: ask.wait(10) and os.kill(server.pid or 0, signal.SIGKILL)).start()
    began = time.monotonic()
    with pytest.raises(EngineError, match="SIGKILL"):
        server.start()
    leave.set()
    assert time.monotonic() - began < 5


def test_a_server_is_started_once(bench: Bench) -> None:
    server = bench.server()
    server.start()
    with pytest.raises(EngineError, match="started already"):
        server.start()
    assert server.alive and get(bench.port)
    server.close()
    with pytest.raises(EngineError, match="closed already"):
        server.start()


# -- its end -------------------------------------------------------------------------------------------


def test_a_killed_server_is_reported_at_once_and_its_descendants_are_killed(bench: Bench) -> None:
    server = bench.server("says=all is well", "daemon", "child")
    server.start()
    heard: list[tuple[float, str]] = []
    server.on_end(lambda how: heard.append((time.monotonic(), how)))
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    began = time.monotonic()
    until(lambda: heard)
    assert heard[0][0] - began < 0.5
    assert heard[0][1] == server.ended == "was killed by SIGKILL; its last words:\nall is well"
    assert not server.alive
    until(lambda: gone(*bench.noted()), 2)
    assert len(bench.noted()) == 3
    server.close()
    assert len(heard) == 1


def test_a_server_that_exits_by_itself_is_reported_with_its_status(bench: Bench) -> None:
    server = bench.server("daemon", "raise=threading.Timer(0.5, os._exit, [5]).start()")
    server.start()
    until(lambda: server.ended)
    assert server.ended == "exited with status 5"
    until(lambda: gone(*bench.noted()), 2)
    late: list[str] = []
    server.on_end(late.append)
    assert late == ["exited with status 5"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_callbacks_may_fail_and_may_close(bench: Bench) -> None:
    server = bench.server()
    server.start()
    heard: list[str] = []

    def fail(how: str) -> None:
        raise ValueError(how)

    server.on_end(fail)
    server.on_end(lambda _: server.close())
    server.on_end(heard.append)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGTERM)
    assert until(lambda: heard) < 1  # `close` has not waited for itself
    server.close()
    assert gone(server.pid)


def test_a_killed_keeper_takes_all_with_it(bench: Bench) -> None:
    server = bench.server("daemon", "child", "stubborn")
    server.start()
    heard: list[str] = []
    server.on_end(heard.append)
    assert server.pid is not None
    until(lambda: len(bench.noted()) == 3)
    os.kill(parent(server.pid), signal.SIGKILL)
    until(lambda: heard, 1)
    until(lambda: gone(*bench.noted()), 1)
    assert server.ended == "ended with its keeper, which was killed by SIGKILL" and not server.alive
    server.close()


@pytest.mark.parametrize("words", [["shared"], ["shared", "child"]])
def test_shared_memory_of_a_killed_server_is_removed(bench: Bench, words: list[str]) -> None:
    lines: list[str] = []
    server = bench.server(*words, on_line=lines.append)
    server.start()
    until(lambda: lines)
    file = Path("/dev/shm", lines[0])
    assert server.pid is not None and file.exists()
    os.kill(server.pid, signal.SIGKILL)
    until(lambda: not file.exists(), 2)
    server.close()


# -- closing -------------------------------------------------------------------------------------------


def test_closing_asks_first_and_forces_after_the_grace(bench: Bench) -> None:
    polite = bench.server("polite", "child", grace=5)
    polite.start()
    began = time.monotonic()
    polite.close()
    assert time.monotonic() - began < 2 and (bench.folder / "bye").exists()
    stubborn = bench.server("stubborn", grace=0.5)
    stubborn.start()
    began = time.monotonic()
    stubborn.close()
    assert 0.5 <= time.monotonic() - began < 1.5
    assert gone(*bench.noted())


def test_a_keeper_that_hangs_holds_up_no_close(bench: Bench) -> None:
    server = bench.server("daemon", grace=0.2)
    server.start()
    assert server.pid is not None
    between = parent(server.pid)
    os.kill(between, signal.SIGSTOP)
    try:
        began = time.monotonic()
        server.close()
        assert time.monotonic() - began < 0.2 + 2.2
        assert len(bench.noted()) == 2 and gone(between, *bench.noted())
    finally:
        if not gone(between):
            os.kill(between, signal.SIGKILL)


def test_closing_from_many_threads_is_closing_once(bench: Bench) -> None:
    server = bench.server("daemon", "stubborn", grace=0.5)
    server.start()
    heard: list[str] = []
    server.on_end(heard.append)
    left: list[bool] = []

    def close() -> None:
        server.close()
        left.append(gone(*bench.noted()))

    threads = [threading.Thread(target=close) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(5)
    server.close()
    assert left == [True] * 4 and heard == ["was stopped"]


@pytest.mark.parametrize("when", [0.0, 0.03, 0.4])
def test_closing_while_it_starts_ends_the_start(bench: Bench, when: float) -> None:
    server = bench.server("daemon", "sleep", grace=1)
    errors: list[Exception] = []

    def start() -> None:
        try:
            server.start()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    time.sleep(when)
    server.close()
    thread.join(5)
    assert type(errors[0]) is EngineError and "closed" in str(errors[0])
    assert gone(*bench.noted()) and not server.alive


def test_an_interrupted_start_leaves_nothing(bench: Bench) -> None:
    server = bench.server("daemon", "sleep", grace=1)
    here = threading.get_ident()

    def interrupt() -> None:
        until(lambda: len(bench.noted()) == 2)
        signal.pthread_kill(here, signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        server.start()
    assert gone(*bench.noted())


def test_closing_again_writes_into_nobodys_pipe(bench: Bench) -> None:
    server = bench.server()
    server.start()
    server.close()
    fresh = [os.pipe() for _ in range(10)]  # which have the numbers that the server's pipes had
    server.close()
    assert select.select([one for one, _ in fresh], [], [], 0)[0] == []
    for pair in fresh:
        for one in pair:
            os.close(one)


def test_closing_before_the_start_is_nothing() -> None:
    server = Server("it", ["true"], ready=lambda: True)
    server.close()
    server.close()
    assert server.ended is None


# -- our own end ---------------------------------------------------------------------------------------


def ours(start: Any, bench: Bench, *words: str) -> tuple[subprocess.Popen[str], list[int]]:
    command = bench.command(*words)
    process: subprocess.Popen[str] = start(str(bench.port), *command, script=OURS)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    pids = json.loads(line)
    until(lambda: len(bench.noted()) == 1 + sum(one in ("daemon", "child") for one in words))
    return process, sorted({*pids, *bench.noted()})


def tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def test_nothing_stays_when_we_are_killed(start: Any, bench: Bench) -> None:
    process, pids = ours(start, bench, "daemon", "child")
    assert len(pids) == 4 and not any(gone(pid) for pid in pids)
    process.kill()
    process.wait()
    until(lambda: gone(*pids), 3)


def test_nothing_stays_when_we_are_killed_and_a_forked_child_of_ours_lives_on(
    start: Any, bench: Bench
) -> None:
    process, pids = ours(start, bench, "daemon")
    tell(process, "fork")
    assert process.stdout is not None and process.stdout.readline() == "forked\n"
    (fork,) = [one for one in keeper.descendants(process.pid) if one not in pids]
    try:
        process.kill()
        process.wait()
        until(lambda: gone(*pids), 3)
        assert not gone(fork)
    finally:
        os.kill(fork, signal.SIGKILL)


def test_nothing_stays_when_we_exit_without_closing(start: Any, bench: Bench) -> None:
    process, pids = ours(start, bench, "daemon", "child")
    tell(process, "exit")
    out, err = process.communicate(timeout=5)
    assert (out, err, process.returncode) == ("", "", 0)
    until(lambda: gone(*pids), 3)


@pytest.mark.slow
def test_nothing_stays_of_a_stubborn_server_when_we_are_killed(start: Any, bench: Bench) -> None:
    process, pids = ours(start, bench, "stubborn")
    process.kill()
    process.wait()
    assert until(lambda: gone(*pids), 3) > 1.5  # it had two seconds


def test_closing_in_a_forked_child_harms_nothing(start: Any, bench: Bench) -> None:
    process, pids = ours(start, bench)
    tell(process, "close in a fork")
    assert process.communicate(timeout=5)[0] == "alive\n"
    until(lambda: gone(*pids), 3)


def test_ctrl_c_is_not_the_servers_to_handle(bench: Bench) -> None:
    command = bench.command("raise=signal.signal(2, lambda *_: os._exit(1))")
    process = subprocess.Popen(
        [sys.executable, "-c", OURS, str(bench.port), *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a terminal sends to the group, and ours must not be pytest's
    )
    assert process.stdout is not None
    pids = json.loads(process.stdout.readline())
    os.killpg(process.pid, signal.SIGINT)
    assert process.stdout.readline() == "interrupted\n"
    assert get(bench.port) and not any(gone(pid) for pid in pids)
    assert [os.getsid(pid) for pid in pids] == pids  # nor does a terminal that is closed reach them
    os.kill(pids[1], signal.SIGINT)  # while the server hears those that are meant for it
    until(lambda: gone(*pids))
    process.kill()
    process.communicate()


def test_no_pipe_of_a_server_is_inherited_by_another_child(bench: Bench) -> None:
    before = pipes(os.getpid())
    first = bench.server()
    first.start()
    asleep = subprocess.Popen(["sleep", "60"], stdin=-3, stdout=-3, stderr=-3)
    try:
        second = bench.server()
        second.start()
        assert first.pid is not None and second.pid is not None
        new = pipes(os.getpid()) - before
        assert len(new) == 6  # of each server: control, status, output
        assert not pipes(asleep.pid) & new
        assert len(pipes(first.pid) & new) == len(pipes(second.pid) & new) == 1  # what it prints
        keepers = [pipes(parent(one)) & new for one in (first.pid, second.pid)]
        assert [len(one) for one in keepers] == [3, 3] and not keepers[0] & keepers[1]
        first.close()
        assert gone(first.pid) and second.alive and get(bench.port)
    finally:
        asleep.kill()
        asleep.wait()
    second.close()
    assert not pipes(os.getpid()) - before


# -- memory and words ----------------------------------------------------------------------------------


def test_memory_is_that_of_all_processes_and_shared_pages_count_once(bench: Bench) -> None:
    server = bench.server()
    server.start()
    before = server.memory()
    assert 4 * MB < before < 60 * MB
    assert get(bench.port, "/grow")
    grown = server.memory()
    assert 60 * MB < grown - before < 80 * MB
    for _ in range(2):
        assert get(bench.port, "/child")  # forks: the 64 MB are in all three now, once
    assert len(server.pids()) == 3
    assert server.memory() - grown < 30 * MB


def test_lines_are_passed_on_as_they_come(bench: Bench) -> None:
    lines: list[str] = []
    text = "one\n\ntwo \x1b[31mred\x1b[0m\n10%\r20%\rf\u00fcnf"
    server = bench.server(f"says={text}", "raise=os.write(2, b'error\\n')", on_line=lines.append)
    server.start()
    until(lambda: len(lines) == 6)
    assert lines == ["one", "two red", "10%", "20%", "f\u00fcnf", "error"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_listener_that_fails_stops_no_server(bench: Bench) -> None:
    def fail(line: str) -> None:
        raise ValueError(line)

    server = bench.server(
        "says=" + "x" * 1000, "raise=print(('y' * 99 + '\\n') * 9999, flush=True)", on_line=fail
    )
    server.start()  # a pipe that nobody reads would have held it up
    assert get(bench.port)


def test_keys_are_not_shown(bench: Bench) -> None:
    env = {**os.environ, "VLLM_API_KEY": "very-secret", "MODEL": "some-model"}
    server = bench.server("says=very-secret some-model hf_abcdefghij", "exit=1", env=env)
    with pytest.raises(EngineError) as found:
        server.start()
    assert "*** some-model hf_***" in str(found.value) and "secret" not in str(found.value)


def test_only_the_end_of_the_words_is_kept() -> None:
    words = Words({})
    for at in range(100):
        assert words.feed(f"{at} ".encode() * 2000) == []
        assert len(words.feed(b"\n")) == 1
    words.feed(b"the rest")
    assert words.last()[-1] == "the rest"
    assert len(words.last()) == 8 and max(map(len, words.last())) == 600
    assert sum(map(len, words._lines)) <= 32 * 1024


def test_of_a_traceback_the_error_is_told() -> None:
    prefix = "(EngineCore_DP0 pid=77) ERROR 10-14 07:52:54 [core.py:708] "
    said = [
        "INFO 10-14 07:52:50 [core.py:1] Starting to load model",
        prefix + "Traceback (most recent call last):",
        prefix + '  File "/x/core.py", line 699, in run_engine_core',
        prefix + "    engine_core = EngineCoreProc(*args, **kwargs)",
        prefix + "                  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^",
        prefix + "ValueError: No available memory for the cache blocks.",
        "INFO shutting down",
        "(EngineCore_DP0 pid=77) Traceback (most recent call last):",
        "(EngineCore_DP0 pid=77) ValueError: No available memory for the cache blocks.",
        "(APIServer pid=70) RuntimeError: Engine core initialization failed. See root cause above.",
        "",
    ]
    assert telling(said) == [said[0], said[6], said[8], said[9]]


# -- the keeper by itself ------------------------------------------------------------------------------


class Kept:
    """A keeper with pipes of our own, and the one server of it."""

    def __init__(self, *command: str, alone: float = 2) -> None:
        heard, self.control = os.pipe()
        status, told = os.pipe()
        numbers = map(str, (heard, told, os.getpid(), 2, alone))
        line = [sys.executable, "-I", "-S", keeper.__file__, *numbers, *command]
        self.process = subprocess.Popen(line, pass_fds=[heard, told], stdout=subprocess.PIPE)
        os.close(heard)
        os.close(told)
        self.status = os.fdopen(status)
        self.told = self.status.readline()

    def end(self) -> tuple[int, str]:
        """Its exit status, and the rest of what it has told."""
        code = self.process.wait(5)
        if self.control:
            os.close(self.control)
        assert self.process.stdout is not None
        self.process.stdout.close()
        with self.status:
            return code, self.status.read()


@pytest.mark.parametrize(("command", "code", "told"), [("exit 7", 7, "ended 7\n"), ("kill -9 $$", 137, "ended -9\n")])  # fmt: skip
def test_the_keeper_exits_as_the_server_did(command: str, code: int, told: str) -> None:
    kept = Kept("sh", "-c", command)
    assert kept.told.startswith("pid ")
    assert kept.end() == (code, told)


def test_the_keeper_stops_when_its_pipe_ends_and_when_it_is_told_to() -> None:
    stubborn = ("sh", "-c", "trap '' TERM; echo; while :; do sleep 1; done")
    kept = Kept(*stubborn, alone=0.3)
    assert (
        kept.process.stdout is not None and kept.process.stdout.readline() == b"\n"
    )  # it ignores SIGTERM now
    os.close(kept.control)
    kept.control = 0
    began = time.monotonic()
    assert kept.end() == (137, "ended -9\n")
    assert time.monotonic() - began < 1.5
    kept = Kept("sleep", "60")
    kept.process.terminate()
    assert kept.end() == (143, "ended -15\n")


def test_the_keeper_goes_on_when_it_is_interrupted_and_stops_when_it_is_asked() -> None:
    kept = Kept("sleep", "60")
    kept.process.send_signal(signal.SIGINT)
    os.write(kept.control, b"s")
    assert kept.end() == (143, "ended -15\n")


def test_the_system_ends_the_server_of_a_killed_keeper() -> None:
    kept = Kept("sleep", "60")
    pid = int(kept.told.split()[1])
    assert not gone(pid)
    kept.process.kill()
    assert kept.end() == (-signal.SIGKILL, "")
    until(lambda: gone(pid), 1)


BETWEEN = """
import os, subprocess, sys
heard, told, file, *how = sys.argv[1:]
code = "import os, runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
code = f"import os; {how[0]}; {code}"
line = [sys.executable, "-I", "-c", code, file, heard, told, str(os.getpid()), "2", "2", "sleep", "60"]
subprocess.Popen(line, pass_fds=[int(heard), int(told)])
sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["pass", "del os.pidfd_open"])
def test_the_keeper_sees_its_parents_end_while_the_pipe_is_open(how: str) -> None:
    heard, control = os.pipe()
    status, told = os.pipe()
    line = [sys.executable, "-c", BETWEEN, str(heard), str(told), keeper.__file__, how]
    between = subprocess.Popen(line, pass_fds=[heard, told], stdin=subprocess.PIPE)
    os.close(heard)
    os.close(told)
    with os.fdopen(status) as lines:
        assert lines.readline().startswith("pid ")
        between.kill()
        began = time.monotonic()
        between.communicate()
        assert lines.read() == "ended -15\n"
        assert time.monotonic() - began < 2
    os.close(control)


def test_the_keeper_does_not_start_for_a_parent_that_has_gone() -> None:
    kept = Kept("true")
    kept.end()
    line = [sys.executable, "-I", "-S", keeper.__file__, "0", "1", "1", "1", "1", "echo", "started"]
    assert subprocess.run(line, capture_output=True, timeout=5).stdout == b""


def test_orphans_leave_no_zombies(bench: Bench) -> None:
    server = bench.server("orphan")
    server.start()
    until(lambda: len(bench.noted()) == 2)
    until(lambda: state(bench.noted()[1]) == "", 1)


def test_the_keeper_imports_next_to_nothing() -> None:
    line = [sys.executable, "-I", "-S", "-X", "importtime", keeper.__file__]
    report = subprocess.run(line, capture_output=True, text=True, timeout=10).stderr
    imported = {
        line.rpartition("|")[2].strip() for line in report.splitlines() if line.startswith("import time")
    }
    assert "select" in imported
    assert not imported & {"typing", "pathlib", "subprocess", "threading", "re", "modelyard", "site"}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_free_port_can_be_had(host: str) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as one:
        try:
            one.bind((host, 0))
        except OSError:
            pytest.skip(f"this machine has no {host}")
        port = free_port(host)
        assert port != one.getsockname()[1]
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as one:
        one.bind((host, port))
