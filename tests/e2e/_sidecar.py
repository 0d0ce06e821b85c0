"""A real sidecar as a child process, seen as those see it who send to it and who ask it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.parse
from copy import deepcopy
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar
from uuid import uuid4

import duckdb
import psutil
from prometheus_client.parser import text_string_to_metric_families

from zombiewatch.child import Sidecar
from zombiewatch.client import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

T = TypeVar("T")

PATIENCE_S: Final = 30.0
"""Until then a condition must have come true; on an idle machine it takes a fraction."""

_QUICK: Final = {
    "http": {"port": 0},
    "otlp": {"port": 0},
    "grpc": {"port": 0},
    "apply_every_s": 0.05,
    "evaluate_every_s": 0.2,
}


def eventually(expected: T, look: Callable[[], T], within_s: float = PATIENCE_S) -> None:
    """Look again and again until what is seen is what is expected; fail with what was seen last."""
    until = time.monotonic() + within_s
    while (seen := look()) != expected and time.monotonic() < until:
        time.sleep(0.02)  # between two looks; the deadline bounds them
    assert expected == seen, f"expected {expected!r}, saw last {seen!r}"


def named(what: str) -> str:
    """Return an ID that nobody else has."""
    return f"{what}-{uuid4().hex[:12]}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What an HTTP request was answered with; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The message of an answer of the JSON API that is an error."""
        return str(self.json()["error"])


def call(
    method: str,
    url: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send one request. An iterator as *body* is sent in HTTP chunks, of no declared length."""
    to = urllib.parse.urlsplit(url)
    connection = HTTPConnection(to.hostname or "", to.port, timeout=PATIENCE_S)
    try:
        target = f"{to.path}?{to.query}" if to.query else to.path
        chunked = body is not None and not isinstance(body, bytes)
        connection.request(method, target, body, dict(headers or {}), encode_chunked=chunked)
        answer = connection.getresponse()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, named, answer.read())
    finally:
        connection.close()


@dataclass(slots=True)
class Running:
    """A sidecar of our own; `settings` go over defaults with free ports and quick evaluations."""

    folder: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    _sidecar: Sidecar = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        base = {"data_dir": str(self.folder / "data"), **_QUICK}
        self._sidecar = Sidecar(self.folder, deepcopy(_over(base, self.settings)))

    # -- its life ---------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it on ports that are free, and wait until it is ready."""
        self._sidecar.urls = {}
        self._sidecar.start()

    def again(self) -> None:
        """Start it on the ports that it had."""
        self._sidecar.start()

    def stop(self) -> int:
        """Tell it to stop, and return its exit status."""
        self._sidecar.stop()
        return self.process.returncode

    def kill(self) -> None:
        """End it as a power cut would."""
        self._sidecar.kill()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._sidecar.process is not None
        return self._sidecar.process

    @property
    def data(self) -> Path:
        return self._sidecar.data

    @property
    def log(self) -> str:
        """All that it has written on standard error and output, over all its starts."""
        return (self.folder / "sidecar.log").read_text(errors="replace")

    @property
    def memory_bytes(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    # -- what is sent to it -----------------------------------------------------------------

    def otlp(self, kind: str, body: Any, **headers: str) -> Answer:
        """Post *body* to `/v1/<kind>`, as protobuf if *headers* say nothing else."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return call(
            "POST",
            f"{self.url('otlp')}/v1/{kind}",
            body,
            {"Content-Type": "application/x-protobuf", **named},
        )

    def beat(self, said: Mapping[str, Any] | bytes) -> Answer:
        """Post a heartbeat."""
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        return call("POST", f"{self.url()}/api/v1/heartbeat", body)

    # -- what it is asked --------------------------------------------------------------------

    def url(self, name: str = "http") -> str:
        return self._sidecar.urls[name]

    def get(
        self,
        path: str,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        asked = f"?{urllib.parse.urlencode(query)}" if query else ""
        return call("GET", f"{self.url()}{path}{asked}", headers=headers)

    def task(self, identifier: str) -> list[dict[str, Any]]:
        """Return the entries of a task's timeline."""
        return list(self.get(f"/api/v1/tasks/{quoted(identifier)}").json()["entries"])

    def request(self, identifier: str) -> list[dict[str, Any]]:
        """Return the entries of a request's timeline."""
        return list(self.get(f"/api/v1/requests/{quoted(identifier)}").json()["entries"])

    def hears(
        self, task: str | None = None, *, request: str | None = None, within_s: float = PATIENCE_S
    ) -> None:
        """Wait until the timeline of *task*, or of *request*, has one entry."""
        look = self.request if request else self.task
        eventually(1, lambda: len(look(request or task or "")), within_s)

    def findings(self, state: str = "all", **filters: str) -> list[dict[str, Any]]:
        return list(self.get("/api/v1/findings", {"state": state, **filters}).json()["findings"])

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of the samples *name* that bear *labels*; 0 where there is none."""
        text = self.get("/metrics").body.decode()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def signals(self, **labels: str) -> int:
        """Return how many signals were applied since it started."""
        return int(self.metric("zombiewatch_signals_total", **labels))


def stored(data: Path, columns: str) -> list[tuple[Any, ...]]:
    """Return *columns* of all signals in the segments of the newest manifest, as anyone can read.

    Complete only after a clean stop, which writes down everything.
    """
    newest = max((data / "snapshots").glob("*.json"))
    _, _, manifest = newest.read_bytes().partition(b"\n")
    files = [
        str(data / one["name"])
        for one in json.loads(manifest)["segments"]
        if one["table"] == "signals"
    ]
    if not files:
        return []
    with duckdb.connect() as connection:
        query = f"SELECT {columns} FROM read_parquet($files, union_by_name = true) ORDER BY seq"
        return connection.execute(query, {"files": files}).fetchall()


def zombiewatch(*words: str, within_s: float = PATIENCE_S) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, as from a wide terminal, and return what it said."""
    return subprocess.run(
        [sys.executable, "-m", "zombiewatch", *words],
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
        env=_environment(),
    )


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if "ZOMBIEWATCH_" not in name}
    return {**kept, "COLUMNS": "200", "NO_COLOR": "1"}


def _over(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        name: _over(base[name], more[name])
        for name in base.keys() & more.keys()
        if isinstance(base[name], dict)
    }
    return {**base, **more, **both}
