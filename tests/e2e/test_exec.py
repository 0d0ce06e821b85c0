"""`zombiewatch exec` around real jobs: killed, cut off and restarted, the verdict is right."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.e2e._sidecar import Running, eventually, named
from zombiewatch.client import tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE_S = 30.0
SETTINGS = {
    "detectors": {
        "silent_task": {"silence_min_s": 1.5},
    },
}
NOBODY = "http://127.0.0.1:9"  # the discard port: nobody listens on it


@dataclass
class Wrapped:
    """A job in its wrapper, as a shell would start it."""

    process: subprocess.Popen[bytes]
    name: str

    @property
    def job(self) -> psutil.Process:
        """The job's process, once it is there."""
        own = psutil.Process(self.process.pid)
        eventually(1, lambda: len(own.children()))
        return own.children()[0]

    def ends(self) -> tuple[int, bytes, bytes]:
        """Wait for the end; return exit code, output and errors."""
        out, errors = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, out, errors


@dataclass
class Shell:
    """Starts jobs against a sidecar, or whatever stands before it."""

    spool: Path
    url: str
    otlp: str
    made: list[Wrapped] = field(default_factory=list)

    def start(self, *command: str, name: str | None = None, **options: object) -> Wrapped:
        """Start *command* in a wrapper that beats often."""
        name = name or named("job")
        said: dict[str, object] = {
            "name": name,
            "beat": 0.3,
            "url": self.url,
            "otlp": self.otlp,
            "spool": self.spool,
            **options,
        }
        words = [f"--{key.replace('_', '-')}={value}" for key, value in said.items()]
        process = subprocess.Popen(
            [sys.executable, "-m", "zombiewatch", "exec", *words, "--", *command],
            preexec_fn=_heeding,  # noqa: PLW1509 - nothing else happens there
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )
        self.made.append(Wrapped(process, name))
        return self.made[-1]

    def run(self, *command: str, **options: Any) -> tuple[int, bytes, bytes]:
        """Start *command*, and wait for its end."""
        return self.start(*command, **options).ends()

    def close(self) -> None:
        """Leave nothing behind: the jobs end with their wrappers."""
        for one in self.made:
            with suppress(ProcessLookupError):
                one.process.kill()
            one.process.communicate()


def _heeding() -> None:
    """Heed what a shell has its background jobs ignore, and what a library of the tests blocks.

    No child could trap it.
    """
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One that many tests tell of jobs of their own."""
    with Running(tmp_path_factory.mktemp("exec"), SETTINGS) as running:
        yield running
        assert running.stop() == 0, running.log


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Shell]]:
    """Return what makes a shell for a sidecar; what it has started is ended after the test."""
    with ExitStack() as stack:

        def shell(running: Running | None = None, **instead: str) -> Shell:
            url, otlp = (running.url(), running.url("otlp")) if running else (NOBODY, NOBODY)
            found = Shell(tmp_path / "spool", instead.get("url", url), instead.get("otlp", otlp))
            stack.callback(found.close)
            return found

        yield shell


def rows(running: Running, query: str) -> list[list[Any]]:
    said = {"query": query, "limit": 100, "timeout_s": 10}
    return list(tell(running.url(), "/api/v1/sql", said)["rows"])


def fate(running: Running, name: str, columns: str = "outcome, exit_code") -> list[list[Any]]:
    """Return *columns* of each attempt of the job *name*."""
    return rows(running, f"SELECT {columns} FROM attempts WHERE name = '{name}'")


def begun(running: Running, one: Wrapped) -> str:
    """Wait until the start of *one* is known; return its task ID."""
    eventually(1, lambda: len(fate(running, one.name, "started_us")))
    return str(fate(running, one.name, "task")[0][0])


def verdicts(running: Running, detector: str, task: str) -> list[str]:
    found = running.findings(detector=detector)
    return [one["verdict"] for one in found if one["task"] == task]


def missed(running: Running, task: str) -> bool:
    """Say whether the silence of *task* is an open finding, were it only suspected yet."""
    return bool({"suspected", "confirmed"} & set(verdicts(running, "silent_task", task)))


SLEEP = ("sleep", "600")
ENDS_ON_TERM = "import signal,sys,time; signal.signal(15, lambda *_: sys.exit(0)); print('up', flush=True); time.sleep(600)"  # noqa: E501 - one program


# What a job sees


def test_a_job_is_as_it_would_be_without_us(make: Callable[..., Shell]) -> None:
    """Output of any bytes, errors and exit code are the job's own, with nobody to tell."""
    script = "import os,sys; os.write(1, bytes(range(256)) * 999); os.write(2, b'x'); sys.exit(3)"
    expected = (3, bytes(range(256)) * 999, b"x")
    assert expected == make().run(sys.executable, "-c", script)


@pytest.mark.parametrize("number", [9, 15])
def test_a_job_that_dies_of_a_signal_ends_as_in_a_shell(
    make: Callable[..., Shell], number: int
) -> None:
    """128 and the signal's number."""
    assert make().run("sh", "-c", f"kill -{number} $$")[0] == 128 + number


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [("no-such-program", 127, "command not found"), ("/", 126, "Permission denied")],
)
def test_what_cannot_be_started_is_said_as_a_shell_does(
    make: Callable[..., Shell], command: str, code: int, told: str
) -> None:
    """The exit code, and one line that says why."""
    done = make().run(command, name="x")
    assert (code, f"zombiewatch: {command}: {told}\n") == (done[0], done[2].decode())


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "USR1", "USR2"])
def test_signals_are_passed_on(make: Callable[..., Shell], name: str) -> None:
    """The job gets what we get, and decides."""
    one = make().start("sh", "-c", f"trap 'exit 42' {name}; echo up; while :; do sleep 0.05; done")
    assert one.process.stdout
    assert one.process.stdout.readline() == b"up\n"
    one.process.send_signal(signal.Signals[f"SIG{name}"])
    assert one.ends()[0] == 42


def test_a_reader_that_leaves_is_noticed_by_the_job(make: Callable[..., Shell]) -> None:
    """`job | head -1` ends: the job gets SIGPIPE, as it would without us."""
    one = make().start("yes")
    assert one.process.stdout
    assert one.process.stdout.read(2) == b"y\n"
    one.process.stdout.close()
    one.process.stdout = None
    assert one.ends()[0] == 128 + signal.SIGPIPE


def test_what_runs_on_behind_a_job_does_not_hold_us(make: Callable[..., Shell]) -> None:
    """A daemon that keeps the output open is not waited for."""
    one = make().start("sh", "-c", "sleep 60 & echo $!")
    assert one.process.wait(PATIENCE_S) == 0
    assert one.process.stdout
    os.kill(int(one.process.stdout.readline()), signal.SIGKILL)


# What the sidecar is told


def test_two_channels_make_one_run(sidecar: Running, make: Callable[..., Shell]) -> None:
    """One attempt, one run of known length, and both ends of what it wrote."""
    shell = make(sidecar)
    one = shell.start("sh", "-c", "echo out; echo oops >&2; sleep 1; exit 4", timeout="2h")
    assert one.ends() == (4, b"out\n", b"oops\n")
    columns = "outcome, exit_code, timeout_s, beat_s, agent_service"
    eventually([["failure", 4, 7200.0, 0.3, "jobs"]], lambda: fate(sidecar, one.name, columns))
    ways = "SELECT DISTINCT way FROM marks WHERE phase = 'finished' AND task_name"
    eventually([["otlp"], ["ping"]], lambda: sorted(rows(sidecar, f"{ways} = '{one.name}'")))
    counted = f"SELECT sum(n) FROM rates WHERE measure = 'run' AND key = '{one.name}'"
    eventually([[1]], lambda: [[int(n or 0)] for (n,) in rows(sidecar, counted)])
    texts = [entry["body"] or "" for entry in sidecar.task(begun(sidecar, one))]
    assert any("stdout, 4 bytes:\nout\nstderr, 5 bytes:\noops" in text for text in texts), texts
    assert not list(shell.spool.iterdir())


def test_a_task_of_a_scheduler_bears_its_id(sidecar: Running, make: Callable[..., Shell]) -> None:
    """With --task-id it is the scheduler's task, and no job that pings."""
    task = named("t")
    assert make(sidecar).run("true", name="train", task_id=task, attempt=2)[0] == 0
    told = "SELECT attempt, outcome, reports FROM attempts WHERE task"
    eventually([[2, "success", None]], lambda: rows(sidecar, f"{told} = '{task}'"))
    assert rows(sidecar, "SELECT 1 FROM schedules WHERE schedule = 'train'") == []


@pytest.mark.parametrize("of", ["a job of its own", "a scheduler"])
@pytest.mark.parametrize("off", ["url", "otlp"])
def test_one_channel_is_enough(
    sidecar: Running, make: Callable[..., Shell], off: str, of: str
) -> None:
    """Start, beats and end arrive though nobody listens at the other."""
    shell = make(sidecar, **{off: NOBODY})
    given = {"task_id": named("t")} if of == "a scheduler" else {}
    one = shell.start("sleep", "1.2", **given)
    assert one.ends()[0] == 0
    eventually([["success", 0]], lambda: fate(sidecar, one.name))
    assert fate(sidecar, one.name, "started_us < beat_us AND beat_us < finished_us") == [[True]]
    assert not list(shell.spool.iterdir())


def test_it_tells_of_sigterm_at_once(sidecar: Running, make: Callable[..., Shell]) -> None:
    """Whoever is killed soon after has said why; a job that ends well has succeeded."""
    one = make(sidecar).start(sys.executable, "-c", ENDS_ON_TERM, beat="60s")
    task = begun(sidecar, one)
    assert one.process.stdout
    one.process.stdout.readline()
    one.process.terminate()
    assert one.ends()[0] == 0
    eventually([["success", 0]], lambda: fate(sidecar, one.name))
    texts = [(entry["phase"], entry["body"]) for entry in sidecar.task(task)]
    assert ("heartbeat", "SIGTERM came, and was passed on") in texts
    assert any("after SIGTERM came" in (body or "") for phase, body in texts if phase == "finished")


# Kills


def test_a_job_that_is_killed_has_failed(run: Callable[..., Running], make: Any) -> None:
    """Its wrapper says so, and its schedule is told to whom it concerns."""
    name = named("job")
    running = run({**SETTINGS, "schedules": [{"name": name, "every_s": 3600}]})
    one = make(running).start(*SLEEP, name=name)
    begun(running, one)
    one.job.kill()
    assert one.ends()[0] == 137
    eventually([["failure", 137]], lambda: fate(running, name))
    eventually(
        [("failed_run", "confirmed")],
        lambda: [(one["detector"], one["verdict"]) for one in running.findings()],
    )


@pytest.mark.slow
def test_a_wrapper_that_is_killed_takes_its_job_along_and_is_missed(
    sidecar: Running, make: Callable[..., Shell]
) -> None:
    """The job is not left running with nobody who knows of it; the silence is found."""
    shell = make(sidecar)
    other = shell.start(*SLEEP)  # by whom the sidecar knows that it could hear
    one = shell.start(*SLEEP)
    task, others = begun(sidecar, one), begun(sidecar, other)
    job = one.job
    os.kill(one.process.pid, signal.SIGKILL)
    job.wait(PATIENCE_S)
    # who was heard within the last minute may be heard again, and tell of records that it lost
    eventually(["confirmed"], lambda: verdicts(sidecar, "silent_task", task), 60 + PATIENCE_S)
    assert verdicts(sidecar, "silent_task", others) == []
    assert fate(sidecar, one.name) == [[None, None]]


def test_a_sidecar_that_is_killed_and_back_knows_how_it_ended(
    run: Callable[..., Running], make: Callable[..., Shell]
) -> None:
    """The job goes on meanwhile; nothing false is found afterwards."""
    running = run(SETTINGS)
    shell = make(running)
    gate = shell.spool.parent / "gate"
    os.mkfifo(gate)
    one = shell.start("cat", str(gate))
    begun(running, one)
    running.kill()
    time.sleep(1.0)  # some beats find nobody
    running.again()
    gate.write_text("done\n")
    assert one.ends() == (0, b"done\n", b"")
    eventually([["success", 0]], lambda: fate(running, one.name))
    # that it was away itself may be said, as unknown
    assert [one["fix"] for one in running.findings() if one["confirmed_at"]] == []


def test_what_was_missed_is_told_by_a_later_run(
    run: Callable[..., Running], make: Callable[..., Shell]
) -> None:
    """A sidecar that is away delays no job, and hears of it later, with the times that it had."""
    running = run(SETTINGS)
    shell = make(running)
    running.kill()
    one = shell.start("sh", "-c", "echo hello; exit 5")
    assert one.ends() == (5, b"hello\n", b"")
    ended_us = time.time_ns() // 1000
    (kept,) = shell.spool.iterdir()
    assert "hello" in kept.read_text()
    running.again()
    assert shell.run("true")[0] == 0
    eventually([["failure", 5]], lambda: fate(running, one.name))
    ((finished_us, started_us),) = fate(running, one.name, "finished_us, started_us")
    assert started_us < finished_us < ended_us
    assert not list(shell.spool.iterdir())


# The network


class Proxy:
    """Stands before a port; drops all connections, and takes or refuses new ones."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self.mode = "pass"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def set(self, mode: str) -> None:
        """Drop what is open; from now on `pass`, `drop` (at once) or `hold` (and say nothing)."""
        with self._guard:
            self.mode = mode
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
            self._open.clear()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._server.accept()[0]
                with self._guard:
                    if self.mode == "drop":
                        client.close()
                        continue
                    self._open.add(client)
                    if self.mode == "hold":
                        continue
                    with suppress(OSError):
                        there = socket.create_connection(("127.0.0.1", self._to))
                        self._open.add(there)
                        for pair in ((client, there), (there, client)):
                            threading.Thread(target=self._pass, args=pair, daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.set("drop")
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._server.close()


@contextmanager
def proxies(running: Running) -> Iterator[tuple[Proxy, Proxy]]:
    """Yield one before each port of *running*: OTLP, and the API."""
    both = [Proxy(int(running.url(of).rpartition(":")[2])) for of in ("otlp", "http")]
    try:
        yield both[0], both[1]
    finally:
        for one in both:
            one.close()


def test_a_cut_is_silence_and_its_end_takes_that_back(
    sidecar: Running, make: Callable[..., Shell]
) -> None:
    """While nothing gets through it is missed; when it is heard again, that has ended."""
    other = make(sidecar).start(*SLEEP)
    begun(sidecar, other)
    with proxies(sidecar) as (otlp, api):
        one = make(sidecar, otlp=otlp.url, url=api.url).start(sys.executable, "-c", ENDS_ON_TERM)
        task = begun(sidecar, one)
        eventually([[True]], lambda: fate(sidecar, one.name, "beat_us IS NOT NULL"))
        otlp.set("drop")
        ((cut_us,),) = fate(sidecar, one.name, "beat_last_us")
        later = f"beat_last_us > {cut_us} + 3000000"
        eventually([[True]], lambda: fate(sidecar, one.name, later))
        assert not missed(sidecar, task)  # the other channel has it
        api.set("drop")
        eventually(True, lambda: missed(sidecar, task))
        otlp.set("pass")
        eventually(False, lambda: missed(sidecar, task))
        one.process.terminate()
        assert one.ends()[0] == 0
        eventually([["success", 0]], lambda: fate(sidecar, one.name))


def test_a_network_that_swallows_all_delays_the_end_by_little(
    sidecar: Running, make: Callable[..., Shell]
) -> None:
    """What is connected and never answered is given up, and told by a later run."""
    with proxies(sidecar) as (otlp, api):
        shell = make(sidecar, otlp=otlp.url, url=api.url)
        for one in (otlp, api):
            one.set("hold")
        one_job = shell.start("echo", "done")
        assert one_job.ends() == (0, b"done\n", b"")
        assert len(list(shell.spool.iterdir())) == 1
        for one in (otlp, api):
            one.set("pass")
        assert shell.run("true")[0] == 0
        eventually([["success", 0]], lambda: fate(sidecar, one_job.name))


# How it is called


def test_it_starts_without_an_engine(tmp_path: Path) -> None:
    """Neither DuckDB nor Arrow nor anything else that is large is loaded for it."""
    script = (
        "import sys\n"
        "from zombiewatch.cli import main\n"
        "sys.argv = ['zombiewatch', *sys.argv[1:]]\n"
        "heavy = {'duckdb', 'pyarrow', 'numpy', 'aiohttp', 'pydantic', 'yaml', 'asyncio'}\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    print(end.code, sorted(heavy & set(sys.modules)))\n"
    )
    words = ("exec", f"--url={NOBODY}", f"--otlp={NOBODY}", f"--spool={tmp_path}", "sh", "-c")
    done = subprocess.run(
        [sys.executable, "-c", script, *words, "exit 3"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "3 []", done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--timeout", "soon"), "--timeout soon: write a number of seconds, or like 90s, 10m, 2h"),
        (("--url", "here"), "--url here: write it like http://127.0.0.1:9797, or '' for none"),
        (("--name", "a/b"), "--name a/b: it must be without /, which stands before a run's ID"),
    ],
)
def test_what_is_asked_wrongly_is_said_before_the_job_begins(
    tmp_path: Path, words: tuple[str, str], told: str
) -> None:
    """Exit status 2, one line, and no job."""
    done = subprocess.run(
        [sys.executable, "-m", "zombiewatch", "exec", *words, "touch", str(tmp_path / "x")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (2, f"zombiewatch: {told}\n") == (done.returncode, done.stderr)
    assert not list(tmp_path.iterdir())
