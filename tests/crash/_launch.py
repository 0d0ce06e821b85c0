"""Sidecars that start in a tenth of a second, are killed at any moment, and start again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from prometheus_client.parser import text_string_to_metric_families

from tests.e2e._sidecar import call

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT: Final = Path(__file__).resolve().parent.parent.parent

READY_S: Final = 60.0
"""A sidecar that is not ready by then has refused to start."""

_READY: Final = re.compile(rb"is ready\. Page and API: (\S+)  OTLP: (\S+)  ")
"""As told on standard error: `address.json` cannot be written where the disk is full."""

SETTINGS: Final[dict[str, Any]] = {
    "http": {"port": 0},
    "otlp": {"port": 0},
    "grpc": {"port": 0},
    "follow_every_s": 0.02,
    "apply_every_s": 0,
    "evaluate_every_s": 1,
    "log": {"level": "warning"},
    "store": {
        "checkpoint_every_s": 1,
        "segment_rows": 1000,
        "settle_s": 2,
        "min_free_disk_bytes": 0,
    },
}
"""As small as is allowed: checkpoints, merges and trims come many times a second."""


class RefusedError(AssertionError):
    """A sidecar ended, or was not ready in time, though nobody had ended it."""


class Zygote:
    """The process that forks sidecars (see `_zygote`)."""

    def __init__(self) -> None:
        kept = {name: said for name, said in os.environ.items() if "ZOMBIEWATCH_" not in name}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.crash._zygote"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            # a thread pool that starts with the imports would not survive the fork
            env={**kept, "OPENBLAS_NUM_THREADS": "1"}, start_new_session=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def ask(self, **said: Any) -> Any:
        """Return what it answers to *said*."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(said) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@dataclass(slots=True)
class Sidecar:
    """A sidecar on *folder*, started and ended many times; *settings* go over `SETTINGS`."""

    zygote: Zygote
    folder: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    clock: Path | None = None
    """The file that says by how many seconds its clock is off; not where it starts cold."""
    data: Path = field(init=False)
    urls: dict[str, str] = field(init=False, default_factory=dict)
    began: float = field(init=False, default=0.0)
    _said: int = field(init=False, default=0)
    _pid: int | None = field(init=False, default=None)
    _cold: subprocess.Popen[bytes] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        said = {"data_dir": str(self.folder / "data"), **SETTINGS, **self.settings}
        said["store"] = {**SETTINGS["store"], **self.settings.get("store", {})}
        self.data = Path(said["data_dir"])
        (self.folder / "zombiewatch.yaml").write_text(json.dumps(said))  # JSON is YAML

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def begin(self, *, cold: bool = False) -> None:
        """Start it, and do not wait; *cold* by the command that a person types, imports too."""
        config, log = self.folder / "zombiewatch.yaml", self.log
        self._said = log.stat().st_size if log.exists() else 0
        self.urls, self.began = {}, time.monotonic()
        if not cold:
            clock = str(self.clock) if self.clock else None
            asked = {"config": str(config), "log": str(log), "clock": clock}
            self._pid = self.zygote.ask(do="start", **asked)["pid"]
            return
        words = ["run", "--config", str(config), "--leash"]
        with log.open("ab") as file:
            self._cold = subprocess.Popen(
                [sys.executable, "-m", "zombiewatch", *words],
                stdin=subprocess.PIPE, stdout=file, stderr=file, start_new_session=True, cwd=ROOT,
            )  # fmt: skip
        self._pid = self._cold.pid

    def ready(self) -> float:
        """Wait until it is ready; return how long that took, in seconds, since it was begun.

        Raises RefusedError.
        """
        until = self.began + READY_S
        while time.monotonic() < until:
            said = _READY.search(self.log.read_bytes()[self._said :]) if self.log.exists() else None
            if said:
                self.urls = {"http": said[1].decode(), "otlp": said[2].decode()}
                return time.monotonic() - self.began
            if (status := self._wait(0.0)) is not None:
                raise RefusedError(f"it ended with {status} at its start:\n{self.words()}")
            time.sleep(0.002)  # a poll, bounded by READY_S
        raise RefusedError(f"it was not ready within {READY_S:g} s:\n{self.words()}")

    def start(self, *, cold: bool = False) -> float:
        """Start it and wait until it is ready; return how long that took. Raises RefusedError."""
        self.begin(cold=cold)
        return self.ready()

    def kill(self) -> None:
        """End it as a power cut would. Raises RefusedError where it had ended by itself."""
        if self._pid is None:
            return
        self.signal(signal.SIGKILL)
        status = self._wait(30)
        if status not in {-signal.SIGKILL, 0}:
            raise RefusedError(f"it had ended with {status} by itself:\n{self.words()}")

    def signal(self, number: int) -> None:
        """Send it the signal *number*."""
        assert self._pid is not None
        os.kill(self._pid, number)

    def stop(self, within_s: float = 60.0) -> None:
        """Tell it to stop, and wait. Raises RefusedError where it does not end well."""
        if self._pid is None:
            return
        self.signal(signal.SIGTERM)
        status = self._wait(within_s)
        if status is None:
            self.kill()
        if status != 0:
            raise RefusedError(f"told to stop, it ended with {status}:\n{self.words()}")

    def _wait(self, within_s: float) -> int | None:
        if self._pid is None:
            return 0
        status: int | None
        if self._cold:
            with suppress(subprocess.TimeoutExpired):
                self._cold.wait(within_s or 0.001)
            status = self._cold.returncode
        else:
            status = self.zygote.ask(do="wait", pid=self._pid, within_s=within_s)["status"]
        if status is not None:
            if self._cold and self._cold.stdin:
                self._cold.stdin.close()
            self._pid = self._cold = None
        return status

    @property
    def log(self) -> Path:
        """What it writes on standard output and error."""
        return self.folder / "sidecar.log"

    @property
    def pid(self) -> int:
        """Its process ID, while it runs."""
        assert self._pid is not None
        return self._pid

    def words(self) -> str:
        """Return the last that it wrote on standard error."""
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""

    def heard(self, task: str) -> int:
        """Return how many entries the timeline of *task* has; -1 where it cannot be had."""
        answer = call("GET", f"{self.urls['http']}/api/v1/tasks/{task}")
        return len(answer.json()["entries"]) if answer.status == 200 else -1

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of the samples *name* that bear *labels*; 0 where there is none."""
        text = call("GET", f"{self.urls['http']}/metrics").body.decode()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )
