"""The load generator: a process of its own, with keep-alive connections and bodies made before.

Run by `Load`; it speaks JSON lines: the plan comes in, `prepared` goes out, the address comes
in, and what came of it goes out. Connections are threads on plain sockets: an HTTP client would
take of the two cores what is to be measured.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from bench.machine import ROOT
from bench.traffic import Request, requests

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

_OK, _BUSY = 200, 503
_PATIENCE_S: Final = 60.0
_PREPARE_S: Final = 300.0
_ROOM: Final = 1 << 16

TARGETS: Final = {
    "spans": ("otlp", "/v1/traces", "application/x-protobuf"),
    "logs": ("otlp", "/v1/logs", "application/x-protobuf"),
    "beats": ("http", "/api/v1/heartbeat", "application/json"),
    "flags": ("http", "/ofrep/v1/evaluate/flags/degrade.level", "application/json"),
}
"""Kind of traffic → which address of the sidecar, path, content type."""


class LoadError(Exception):
    """The load could not be sent; the message says what was answered."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send: *kind* of traffic, at least *records*, over so many *connections*.

    *per_s* is the pace in records per second; 0 is as fast as the sidecar takes them.
    """

    kind: str
    records: int
    connections: int = 1
    compressed: bool = False
    per_s: float = 0.0


@dataclass(slots=True)
class Outcome:
    """What came of it. Times are of `time.monotonic`, which all processes of a machine share."""

    records: int = 0
    sent_bytes: int = 0
    refused: int = 0
    began: float = 0.0
    ended: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    cpu_s: float = 0.0

    @property
    def took_s(self) -> float:
        """From the first byte sent to the last acknowledgement, seconds."""
        return self.ended - self.began


class Load:
    """The parent's end: `with Load(plan) as load: … load.send(address)`."""

    def __init__(self, plan: Plan) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        self._say(asdict(plan))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def prepare(self) -> None:
        """Wait until all bodies are made, so that the clock can start."""
        self._hear()

    def send(self, url: str) -> Outcome:
        """Send everything to the server at *url*. Raises LoadError where something is refused."""
        self._say({"url": url})
        said = self._hear()
        if "error" in said:
            raise LoadError(said["error"])
        return Outcome(**said)

    def _say(self, said: Any) -> None:  # noqa: ANN401 - whatever JSON holds
        assert self._process.stdin is not None  # noqa: S101 - a pipe was asked for
        self._process.stdin.write(json.dumps(said).encode() + b"\n")
        self._process.stdin.flush()

    def _hear(self) -> Any:  # noqa: ANN401 - likewise
        assert self._process.stdout is not None  # noqa: S101 - likewise
        watchdog = threading.Timer(_PREPARE_S, self._process.kill)
        watchdog.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            msg = "the load generator ended, or had to be ended after five minutes"
            raise LoadError(msg)
        return json.loads(line)


class Connection:
    """One keep-alive HTTP/1.1 connection that posts bodies to one path."""

    def __init__(self, url: str, path: str, content_type: str, *, compressed: bool) -> None:
        to = urlsplit(url)
        self._socket = socket.create_connection((to.hostname, to.port), _PATIENCE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        encoding = "Content-Encoding: gzip\r\n" if compressed else ""
        self._head = (
            f"POST {path} HTTP/1.1\r\nHost: {to.netloc}\r\nContent-Type: {content_type}\r\n"
            f"{encoding}Content-Length: "
        ).encode()

    def post(self, body: bytes) -> tuple[int, bytes]:
        """Send *body*; return the status and the body of the answer."""
        self._socket.sendall(self._head + b"%d\r\n\r\n" % len(body) + body)
        heard = b""
        while (end := heard.find(b"\r\n\r\n")) < 0:
            heard += self._receive()
        head, answer = heard[:end].lower(), heard[end + 4 :]
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        while len(answer) < length:
            answer += self._receive()
        return int(head.split(b" ", 2)[1]), answer

    def _receive(self) -> bytes:
        data = self._socket.recv(_ROOM)
        if not data:
            msg = "the sidecar closed the connection"
            raise LoadError(msg)
        return data

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


@dataclass(slots=True)
class _Sending:
    """All connections together, until nothing is left to send."""

    left: deque[tuple[float, Request]]
    """When each is due (seconds from `began`), and what it is."""

    began: float
    took_s: list[float] = field(default_factory=list)
    refused: int = 0
    failed: str = ""

    def run(self, connection: Connection) -> None:
        """Send by one connection, one request after the other. Runs in a thread of its own."""
        try:
            while self.left and not self.failed:
                self._post(connection, *self.left.popleft())
        except IndexError:  # another connection took the last one
            return
        except (OSError, LoadError) as error:
            self.failed = str(error)

    def _post(self, connection: Connection, due_s: float, request: Request) -> None:
        early = self.began + due_s - time.monotonic()
        if early > 0:
            time.sleep(early)  # the pace that is asked for
        # where there is a pace, one that is sent late has waited since it was due
        begun = self.began + due_s if due_s else time.monotonic()
        status, answer = connection.post(request.body)
        while status == _BUSY and time.monotonic() < begun + _PATIENCE_S:
            self.refused += 1
            time.sleep(1.0)  # as Retry-After says
            status, answer = connection.post(request.body)
        if status != _OK:
            msg = f"answered {status}: {answer[:200]!r}"
            raise LoadError(msg)
        self.took_s.append(time.monotonic() - begun)


def _share(values: list[float], share: float) -> float:
    """Return the value below which *share* of the sorted *values* lie."""
    return values[min(len(values) - 1, int(share * len(values)))]


def _due(plan: Plan, made: list[Request]) -> Iterator[tuple[float, Request]]:
    """Yield each request with when it is due."""
    sent = 0
    for one in made:
        yield (sent / plan.per_s if plan.per_s else 0.0), one
        sent += one.records


def run(plan: Plan, made: list[Request], url: str) -> Outcome:
    """Send *made* to the server at *url* as *plan* says. Raises LoadError."""
    _, path, content_type = TARGETS[plan.kind]
    links = [
        Connection(url, path, content_type, compressed=plan.compressed)
        for _ in range(plan.connections)
    ]
    sending = _Sending(deque(_due(plan, made)), time.monotonic())
    threads = [threading.Thread(target=sending.run, args=(link,), daemon=True) for link in links]
    before = time.process_time()
    sending.began = began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended, after = time.monotonic(), time.process_time()
    for link in links:
        link.close()
    if sending.failed or not sending.took_s:
        raise LoadError(sending.failed or "nothing was sent")
    took = sorted(sending.took_s)
    return Outcome(
        records=sum(one.records for one in made),
        sent_bytes=sum(len(one.body) for one in made),
        refused=sending.refused,
        began=began,
        ended=ended,
        p50_ms=1000 * _share(took, 0.50),
        p99_ms=1000 * _share(took, 0.99),
        cpu_s=after - before,
    )


def main() -> None:
    """Follow the plan on standard input."""
    plan = Plan(**json.loads(sys.stdin.readline()))
    made = requests(plan.kind, plan.records, compressed=plan.compressed)
    print(json.dumps({"prepared": len(made)}), flush=True)
    told = sys.stdin.readline()
    if not told:
        return
    try:
        print(json.dumps(asdict(run(plan, made, json.loads(told)["url"]))), flush=True)
    except (OSError, LoadError) as error:
        print(json.dumps({"error": str(error)}), flush=True)


if __name__ == "__main__":
    main()
