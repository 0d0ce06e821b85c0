"""The real sidecar as a child process, and a probe that sees what it takes of the machine."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

import psutil

from bench.flatness import flatness
from bench.machine import ROOT
from zombiewatch.running import ADDRESS_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

_START_S: Final = 120.0
_STALL_S: Final = 60.0
_LOOK_S: Final = (0.02, 0.25)
_COUNT_S: Final = 0.5
"""Files are counted so often: it takes of the cores that the sidecar runs on."""

_SCHEDULED: Final = 2
"""With the inverted process ID above it, Linux' clock of a process's CPU time, in nanoseconds:
`/proc` counts in hundredths of a second, too coarse for a short run."""


class SidecarError(Exception):
    """The sidecar did not start, or stopped applying; the message holds its own last words."""


@dataclass(slots=True)
class Sidecar:
    """A `zombiewatch run` on free ports, its data below *folder*; killed at the end."""

    folder: Path
    settings: Mapping[str, object] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)
    ready_s: float = 0.0
    _process: subprocess.Popen[bytes] | None = None
    _connection: HTTPConnection | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """The ID of the running process."""
        assert self._process is not None  # noqa: S101 - started before it is asked
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it is ready; `ready_s` is how long that took."""
        address = self.folder / "data" / ADDRESS_FILE
        address.unlink(missing_ok=True)
        said = {
            "data_dir": self.folder / "data",
            "http.port": 0,
            "otlp.port": 0,
            "grpc.port": 0,
            "log.level": "warning",
            **self.settings,
        }
        words = [word for name, value in said.items() for word in ("--set", f"{name}={value}")]
        kept = {name: of for name, of in os.environ.items() if not name.startswith("ZOMBIEWATCH_")}
        kept["PYTHONPATH"] = str(ROOT / "bench" / "without")
        begun = time.monotonic()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command line
                [sys.executable, "-m", "zombiewatch", "run", *words],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=kept, cwd=ROOT,
            )  # fmt: skip
        while time.monotonic() < begun + _START_S and self._process.poll() is None:
            with contextlib.suppress(OSError, ValueError):
                self.urls = json.loads(address.read_text())
                self.ready_s = time.monotonic() - begun
                return
            time.sleep(0.005)  # a poll of a file, bounded by _START_S
        self.kill()
        raise SidecarError(self._words("the sidecar did not start"))

    def kill(self) -> None:
        """End it as a power cut would, and wait until it has gone."""
        if self._connection:
            self._connection.close()
            self._connection = None
        if self._process:
            self._process.kill()
            self._process.wait()

    def applied(self) -> int:
        """Return how many signals are in the relations since it started, from `/metrics`."""
        if self._connection is None:
            to = urlsplit(self.urls["http"])
            self._connection = HTTPConnection(to.hostname or "", to.port, timeout=_STALL_S)
        self._connection.request("GET", "/metrics")
        text = self._connection.getresponse().read().decode()
        return sum(
            int(float(line.rpartition(" ")[2]))
            for line in text.splitlines()
            if line.startswith("zombiewatch_signals_total{")
        )

    def wait_applied(self, records: int) -> float:
        """Wait until *records* are applied; return when that was seen, of `time.monotonic`.

        Raises SidecarError where nothing more is applied for a minute.
        """
        before, since = -1, (begun := time.monotonic())
        while True:
            try:
                now = self.applied()
            except OSError as error:
                raise SidecarError(self._words(f"the sidecar does not answer: {error}")) from None
            if now >= records:
                return time.monotonic()
            if now != before:
                before, since = now, time.monotonic()
            elif time.monotonic() > since + _STALL_S:
                said = f"the sidecar applied {now} of {records} records, then no more"
                raise SidecarError(self._words(said))
            least, most = _LOOK_S  # a look costs the sidecar some milliseconds
            rest = min(most, max(least, 0.02 * (time.monotonic() - begun)))
            time.sleep(rest)  # a poll, bounded by _STALL_S

    @property
    def _log(self) -> Path:
        return self.folder / "sidecar.log"

    def _words(self, what: str) -> str:
        return f"{what}:\n{self._log.read_text(errors='replace')[-2000:]}"


class Probe:
    """Watches a process from when it is entered until it is left: CPU seconds, memory.

    With *folder*, the process's own, also how many files there are.
    """

    def __init__(self, pid: int, folder: Path | None = None) -> None:
        self._process = psutil.Process(pid)
        self._folder = folder
        self._clock = (~pid << 3) | _SCHEDULED
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._cpu_before = 0.0
        self.cpu_s = 0.0
        self.peak_mb = 0.0
        self._rss_mb: list[tuple[float, float]] = []
        self._files: list[tuple[float, float]] = []

    def __enter__(self) -> Self:
        self._cpu_before = self._cpu()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            self.cpu_s = self._cpu() - self._cpu_before

    def flat(self) -> dict[str, float]:
        """Return the figures that say whether memory and, with a folder, files grew."""
        rss = flatness(self._rss_mb)
        figures = {
            "rss_first_third_mb": rss.first,
            "rss_last_third_mb": rss.last,
            "rss_growth_mb_per_min": rss.per_min,
        }
        if self._files:
            files = flatness(self._files)
            figures |= {"files_first_third": files.first, "files_last_third": files.last}
        return figures

    def _cpu(self) -> float:
        return time.clock_gettime(self._clock)

    def _watch(self) -> None:
        with contextlib.suppress(psutil.Error):
            while True:
                now, mb = time.monotonic(), self._process.memory_info().rss / 1e6
                self.peak_mb = max(self.peak_mb, mb)
                self._rss_mb.append((now, mb))
                if self._folder and (not self._files or now >= self._files[-1][0] + _COUNT_S):
                    count = sum(len(names) for _, _, names in os.walk(self._folder))
                    self._files.append((now, float(count)))
                if self._done.wait(0.05):
                    return
