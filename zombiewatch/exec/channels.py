"""Two ways to the sidecar: OTLP over HTTP, and its API. Each is tried once, at the same time.

What a channel answers with 200 is on disk there. All else (refused, away, too slow) is no answer.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

    from zombiewatch.exec.words import Report

_OK: Final = range(200, 300)
_OTHER_S: Final = 0.5
"""When one channel has taken a report, the other has so much time left."""


@dataclass(frozen=True, slots=True)
class Channels:
    """Base URLs ('' for none), and the token that each asks for."""

    otlp: str
    url: str
    otlp_token: str | None = None
    url_token: str | None = None

    def deliver(self, report: Report, within_s: float) -> bool:
        """Send *report* by both channels; return whether one has taken it within *within_s*."""
        ways = self._ways(report, within_s)
        if not ways:
            return False
        taken, done = threading.Event(), threading.Semaphore(0)

        def send(way: Callable[[], bool]) -> None:
            if way():
                taken.set()
            done.release()

        until = time.monotonic() + within_s
        for way in ways:
            # a channel that hangs must not keep us
            threading.Thread(target=send, args=(way,), daemon=True).start()
        for _ in ways:
            left = until - time.monotonic()
            if not done.acquire(timeout=max(0.0, min(left, _OTHER_S) if taken.is_set() else left)):
                break
        return taken.is_set()

    def beat(self, report: Report, within_s: float) -> bool:
        """Send *report* by the first channel that takes it; return whether one has."""
        return any(way() for way in self._ways(report, within_s))

    def _ways(self, report: Report, within_s: float) -> list[Callable[[], bool]]:
        ways: list[Callable[[], bool]] = []
        if self.otlp:
            body = json.dumps(report.otlp).encode()
            to = f"{self.otlp}/v1/logs"
            ways.append(lambda: post(to, body, "application/json", self.otlp_token, within_s))
        if self.url and (call := report.call):
            words = call.body.encode()
            there = f"{self.url}{call.path}"
            ways.append(lambda: post(there, words, call.content_type, self.url_token, within_s))
        return ways


def post(url: str, body: bytes, content_type: str, token: str | None, timeout_s: float) -> bool:
    """Return whether *body* was taken at *url*; each step may take *timeout_s*.

    Straight to it: a proxy of the environment has no business between us.
    """
    parts = urlsplit(url)
    made = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = made(parts.hostname or "", parts.port, timeout=timeout_s)
    headers = {"Content-Type": content_type}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    try:
        connection.request("POST", target, body, headers)
        answer = connection.getresponse()
        answer.read()
    except (OSError, HTTPException):
        return False
    else:
        return answer.status in _OK
    finally:
        connection.close()
