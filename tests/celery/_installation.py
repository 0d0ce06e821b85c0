"""A real Celery installation: Redis from Debian's package, Celery from PyPI, free ports."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psutil
import redis

from tests.e2e import _sidecar
from tests.e2e._sidecar import call
from tests.needs import need
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.celery._rabbitmq import Vhost
    from tests.e2e._sidecar import Running

T = TypeVar("T")

_APP: Final = """
import os, time
from celery import Celery
from celery.exceptions import Reject
app = Celery("app", broker=os.environ["BROKER"], backend=os.environ.get("RESULTS"))
app.conf.update(
    worker_send_task_events=os.environ.get("EVENTS") != "no",
    task_send_sent_event=os.environ.get("EVENTS") != "no",
    worker_prefetch_multiplier=int(os.environ.get("PREFETCH", "4")),
    broker_transport_options={"visibility_timeout": float(os.environ.get("VISIBILITY", "3600"))},
    broker_connection_retry_on_startup=True,
    worker_cancel_long_running_tasks_on_connection_loss=False,
)

@app.task
def nap(seconds): time.sleep(seconds); return seconds

@app.task(acks_late=True)
def late(seconds): time.sleep(seconds); return seconds

@app.task(ignore_result=True)
def quiet(seconds): time.sleep(seconds)

@app.task(bind=True, max_retries=2)
def flaky(self):
    if self.request.retries < 2: raise self.retry(countdown=0.5, exc=ValueError("not yet"))
    return "at last"

@app.task
def fails(): raise KeyError("no")

@app.task(acks_late=True)
def rejects(): raise Reject("not mine", requeue=False)

@app.task
def total(numbers): return sum(numbers)

class Overwritten(app.Task):
    def on_success(self, retval, task_id, args, kwargs):
        key = self.backend.get_key_for_task(task_id)
        self.backend.set(key, b'{"status": "FAILURE", "result": null}')

@app.task(base=Overwritten)
def liar(): return "well"
"""


_SENDING: Final = (
    "import json; from app import *; from celery import chord; print(json.dumps([one.id for one in "
)


PATIENCE_S: Final = 90.0
"""Others run at the same time, and workers take seconds to start."""


_SHOWN: Final = 4_000
"""Characters of a log."""


def show(name: str, log: str) -> None:
    """Show the end of a *log*; pytest keeps it to itself, unless the test failed."""
    sys.stdout.write(f"\n-- {name}\n{log[-_SHOWN:]}\n")


def eventually(expected: T, look: Callable[[], T], within_s: float = PATIENCE_S) -> None:
    """As those of other tests, with more patience."""
    _sidecar.eventually(expected, look, within_s)


@dataclass(slots=True)
class Redis:
    """A Redis server of our own."""

    folder: Path
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        command = need("redis-server", "apt-get install redis-server")
        log = (self.folder / f"redis-{self.port}.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [command, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""],
                stdout=log, stderr=log, cwd=self.folder,
            )  # fmt: skip
        eventually(True, self._answers)

    def _answers(self) -> bool:
        with suppress(redis.RedisError), self.client() as client:
            return bool(client.ping())
        return False

    def stop(self) -> None:
        """End it: what it held is gone."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE_S)
            self._process = None

    def client(self, database: int = 0) -> Any:
        return redis.Redis(port=self.port, db=database)

    def url(self, database: int = 0) -> str:
        return f"redis://127.0.0.1:{self.port}/{database}"


@dataclass(slots=True)
class Worker:
    """A Celery worker and its pool."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def instance(self) -> str:
        return f"{self.name}@{socket.gethostname()}"

    @property
    def pool(self) -> list[psutil.Process]:
        """The processes of its pool."""
        return list(psutil.Process(self.process.pid).children())

    def ready(self) -> None:
        """Wait until it takes tasks."""
        eventually(True, lambda: " ready." in self.log.read_text(errors="replace"))

    def stop(self) -> None:
        """Tell it to stop, as a deployment does."""
        self.process.terminate()
        self.process.wait(PATIENCE_S)

    def kill(self) -> None:
        """Kill it and its pool, as the kernel would, or a power cut."""
        with suppress(psutil.NoSuchProcess):
            pool = self.pool
            self.process.kill()
            for one in pool:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
        self.process.wait(PATIENCE_S)

    def pause(self) -> None:
        """Stop it (SIGSTOP); its pool goes on."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        os.kill(self.process.pid, signal.SIGCONT)


@dataclass(slots=True)
class Installation:
    """Celery with its broker and, where there is one, a result backend of its own server."""

    folder: Path
    broker: Redis | Vhost
    backend: Redis | None = None
    more: dict[str, str] = field(default_factory=dict)
    workers: list[Worker] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "app.py").write_text(_APP)

    @property
    def results(self) -> str:
        return (self.backend or self.broker).url(1)

    @property
    def redis(self) -> Redis:
        """Its broker, where that is a Redis."""
        assert isinstance(self.broker, Redis)
        return self.broker

    def _environment(self, results: str | None) -> dict[str, str]:
        said = {"BROKER": self.broker.url(), **self.more}
        return os.environ | said | ({"RESULTS": results} if results else {})

    def worker(self, name: str = "w1", *options: str, wait: bool = True) -> Worker:
        """Start a worker; two processes, unless *options* say something else."""
        log = self.folder / f"{name}-{len(self.workers)}.log"
        options = options or ("--concurrency=2",)
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "app", "worker", "-n", f"{name}@%h",
                 "--loglevel=INFO", *options],
                cwd=self.folder, env=self._environment(self.results), stdout=file, stderr=file,
            )  # fmt: skip
        made = Worker(name, process, log)
        self.workers.append(made)
        if wait:
            made.ready()
        return made

    def send(self, code: str, *, results: bool = False) -> list[str]:
        """Run *code*, an expression that makes a list of results; return the tasks' IDs.

        Without *results* the sender has no result backend: it would refuse to send while that is
        away. A chord needs one.
        """
        done = subprocess.run(
            [sys.executable, "-c", f"{_SENDING}{code}]))"],
            cwd=self.folder, env=self._environment(self.results if results else None),
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout))

    def deafen(self, queue: str) -> None:
        """Have the workers that run take nothing more from *queue*; they live on."""
        self.send(f"[type('Done', (), {{'id': str(app.control.cancel_consumer({queue!r}))}})]")

    def revoke(self, *tasks: str, terminate: bool = False) -> None:
        """Have the workers drop *tasks*; *terminate* those that run, too."""
        asked = f"app.control.revoke({[*tasks]!r}, terminate={terminate!r})"
        self.send(f"[type('Done', (), {{'id': str({asked})}})]")

    def stop(self) -> None:
        """End all that was started, and show what the workers said: it is seen of what failed."""
        for one in self.workers:
            if one.process.poll() is None:
                with suppress(ProcessLookupError):
                    one.go_on()
                one.kill()
            show(one.name, one.log.read_text(errors="replace"))
        self.broker.stop()
        if self.backend is not None:
            self.backend.stop()


def settings(of: Installation, detectors: dict[str, Any] | None = None, **celery: Any) -> Any:
    """Return the settings of a sidecar beside *of*, quicker to judge than in production."""
    quick: dict[str, Any] = {
        "agent_down": {"silence_min_s": 8},
        "zombie_task": {"start_grace_s": 5},
    }
    where = {"broker": of.broker.url(), "results": of.results, "look_every_s": 1}
    if not isinstance(of.broker, Redis):
        where["broker_api"] = of.broker.api_url()
    return {
        "presets": ["celery"],
        "celery": where | celery,
        "detectors": quick | (detectors or {}),
    }


def found(findings: Sequence[dict[str, Any]], *detectors: str) -> set[tuple[str, str]]:
    """Return detector and verdict of each of *findings*, of these *detectors* if any are named."""
    return {
        (one["detector"], one["verdict"])
        for one in findings
        if not detectors or one["detector"] in detectors
    }


def asked(sidecar: Running, query: str) -> list[list[Any]]:
    """Return the rows of *query*."""
    body = json.dumps({"query": query}).encode()
    answer = call("POST", f"{sidecar.url()}/api/v1/sql", body, {"Content-Type": "application/json"})
    return list(answer.json()["rows"])


def heard(sidecar: Running) -> None:
    """Wait until events are heard.

    With RabbitMQ that is some time after the first worker there ever was has come: nobody can
    listen to an exchange that is not there yet.
    """
    eventually(1.0, lambda: sidecar.metric("zombiewatch_celery_reached", part="events"))


def warm(celery: Installation, sidecar: Running, *names: str) -> None:
    """Let each of these tasks run to its end once: what was never seen proves nothing."""
    heard(sidecar)
    tasks = celery.send("[" + ", ".join(f"{name}.delay(0.1)" for name in names) + "]")
    eventually([True] * len(tasks), lambda: [recorded(sidecar, one) for one in tasks])


def recorded(sidecar: Running, task: str) -> bool:
    return "recorded" in phases(sidecar, task)


def phases(sidecar: Running, task: str) -> list[str]:
    return [one["phase"] for one in sidecar.task(task) if one["phase"]]


def started(sidecar: Running, *tasks: str) -> None:
    eventually([True] * len(tasks), lambda: ["started" in phases(sidecar, one) for one in tasks])


def proven(sidecar: Running, worker: Worker) -> None:
    """Wait until the worker was heard while it works: only then its silence says anything."""
    query = f"SELECT count(beat_s) FROM instances WHERE instance = '{worker.instance}'"
    eventually([[1]], lambda: asked(sidecar, query))


def one_of(sidecar: Running, detector: str, within_s: float = 120) -> dict[str, Any]:
    """Return the one finding of *detector*, when it is confirmed."""
    eventually(
        ["confirmed"],
        lambda: [one["verdict"] for one in sidecar.findings(detector=detector)],
        within_s,
    )
    return sidecar.findings(detector=detector)[0]
