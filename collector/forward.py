"""What came in over OTLP, sent on unchanged to another OTLP/HTTP endpoint.

In memory, and at nobody's cost: where the endpoint is slow or away, the oldest is dropped, and
counted. What was taken is on disk here in any case.
"""

from __future__ import annotations

import gzip
import http.client
import logging
import random
import threading
import time
import urllib.parse
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import uuid4

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

_LOG: Final = logging.getLogger("zombiewatch.forward")

VIA: Final = "X-Zombiewatch-Via"
"""The header that names the sidecars that a request has come through, against going in circles."""

_SENDERS: Final = 2
_RETRY: Final = frozenset({429, 502, 503, 504})
_OK: Final = range(200, 300)
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
_SAY_EVERY_S: Final = 60.0
_ROOM: Final = 512
"""What a request takes beside its body, in bytes."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send: an address without /v1/…, and how. Seconds, bytes."""

    endpoint: str
    token: str | None = None
    context: ssl.SSLContext | None = None
    compress: bool = False
    queue_max_bytes: int = 64 << 20
    timeout_s: float = 10.0
    retry_for_s: float = 300.0


@dataclass(frozen=True, slots=True)
class _Request:
    signal: str
    content_type: str
    body: bytes
    via: str
    since: float

    @property
    def size(self) -> int:
        return len(self.body) + _ROOM


class Forward:
    """A bounded queue and the threads that empty it; `put` never waits."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._id = uuid4().hex
        self._queue: deque[_Request] = deque()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._said = 0.0
        self.queued_bytes = 0
        self.sent: Counter[str] = Counter()
        """By signal: requests that the endpoint took."""
        self.retried = 0
        self.dropped: Counter[tuple[str, str]] = Counter()
        """By signal and reason: full, refused, too_old, circle, stopped."""
        self._threads = [
            threading.Thread(target=self._run, name=f"forward-{number}", daemon=True)
            for number in range(_SENDERS)
        ]

    def start(self) -> None:
        """Begin to send."""
        for one in self._threads:
            one.start()

    def stop(self, within_s: float) -> None:
        """Send what waits, for so long; what is left is dropped, and counted."""
        with self._changed:
            self._changed.wait_for(lambda: self.queued_bytes == 0, within_s)
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
            while self._queue:
                self._leave(self._queue.popleft(), "stopped")

    def came_back(self, via: str) -> bool:
        """Return whether we have sent this on before: then it is here already."""
        return self._id in via

    def put(self, signal: str, content_type: str, body: bytes, via: str) -> None:
        """Queue a request; where there is no room, at the cost of the oldest."""
        request = _Request(signal, content_type, body, via, time.monotonic())
        with self._changed:
            self.queued_bytes += request.size
            self._queue.append(request)
            while self.queued_bytes > self._target.queue_max_bytes and self._queue:
                self._leave(self._queue.popleft(), "full")
            self._changed.notify()

    def _leave(self, request: _Request, reason: str) -> None:
        """Count *request* out; *reason* is empty where it was sent. The lock is held."""
        self.queued_bytes -= request.size
        if reason:
            self.dropped[request.signal, reason] += 1
        else:
            self.sent[request.signal] += 1
        if self.queued_bytes == 0:
            self._changed.notify_all()

    # -- the senders ----------------------------------------------------------------------

    def _run(self) -> None:
        link = _Link(self._target)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._stopping.is_set())
                if self._stopping.is_set():
                    return
                request = self._queue.popleft()
            reason = "refused"
            try:
                reason = self._deliver(link, request)
            except Exception:  # noqa: BLE001 - the thread must live: without it all is dropped
                _LOG.exception("a request could not be sent on")
            with self._changed:
                self._leave(request, reason)

    def _deliver(self, link: _Link, request: _Request) -> str:
        """Send until it is taken or given up; return why it was dropped, or nothing."""
        headers = {
            "Content-Type": request.content_type,
            VIA: f"{request.via},{self._id}".strip(","),
        }
        body, wait_s = request.body, _FIRST_WAIT_S
        if self._target.compress:
            body, headers["Content-Encoding"] = gzip.compress(body, 1), "gzip"
        while True:
            asked_s = 0.0
            try:
                status, asked_s = link.post(f"/v1/{request.signal}", body, headers)
            except (OSError, http.client.HTTPException) as error:
                problem = f"{error or type(error).__name__}"
            else:
                if status in _OK:
                    return ""
                problem = f"HTTP status {status}"
                if status not in _RETRY:
                    self._say(f"{request.signal} is refused ({problem}) and dropped")
                    return "refused"
            self._say(f"{problem}; it is tried again, for {self._target.retry_for_s:g} s each")
            pause_s = max(asked_s, wait_s * random.uniform(0.5, 1.0))  # noqa: S311 - not a secret
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
            if time.monotonic() + pause_s - request.since > self._target.retry_for_s:
                return "too_old"
            if self._stopping.wait(pause_s):
                return "stopped"
            self.retried += 1

    def _say(self, problem: str) -> None:
        now = time.monotonic()
        if not self._said or now - self._said > _SAY_EVERY_S:
            self._said = now
            _LOG.warning("forwarding to %s: %s", self._target.endpoint, problem)


class _Link:
    """One connection to the endpoint, kept open from request to request."""

    def __init__(self, target: Target) -> None:
        self._to = urllib.parse.urlsplit(target.endpoint)
        self._target = target
        self._connection: http.client.HTTPConnection | None = None

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, float]:
        """Return the status, and the seconds that the endpoint asks to wait for.

        Raises OSError, http.client.HTTPException.
        """
        if self._connection is None:
            self._connection = self._opened()
        said = dict(headers)
        if self._target.token:
            said["Authorization"] = f"Bearer {self._target.token}"
        try:
            self._connection.request("POST", self._to.path + path, body, said)
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self._connection = None
            raise
        asked = answer.headers.get("Retry-After", "")
        return answer.status, min(float(asked), _LONGEST_WAIT_S) if asked.isdigit() else 0.0

    def _opened(self) -> http.client.HTTPConnection:
        host, port, timeout_s = self._to.hostname or "", self._to.port, self._target.timeout_s
        if self._to.scheme == "https":
            return http.client.HTTPSConnection(
                host, port, timeout=timeout_s, context=self._target.context
            )
        return http.client.HTTPConnection(host, port, timeout=timeout_s)
