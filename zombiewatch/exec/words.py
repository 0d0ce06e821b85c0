"""What is said of a run, in the form of each channel: an OTLP log request, and an HTTP call.

Whichever arrives, and however often, it is one task: both bear its ID, and a report that is sent
again bears the times that it had. A beat has a number by which it counts once.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

from zombiewatch.exec.child import signal_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zombiewatch.exec.asked import Asked, Run
    from zombiewatch.exec.output import Ends

_INFO: Final = 9
_ERROR: Final = 17
_MESSAGE_MAX: Final = 10_000
"""Characters, as the API takes them."""

_JSON: Final = "application/json"
_TEXT: Final = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Call:
    """A POST to the sidecar's API."""

    path: str
    body: str
    content_type: str


@dataclass(frozen=True, slots=True)
class Report:
    """One thing that is said: *otlp* is an ExportLogsServiceRequest in JSON, *call* a POST."""

    otlp: Mapping[str, Any]
    call: Call | None

    def as_json(self) -> str:
        """Return it as it is kept."""
        call = self.call and [self.call.path, self.call.body, self.call.content_type]
        return json.dumps({"otlp": self.otlp, "call": call})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return what `as_json` was called on. Raises ValueError where that cannot be read."""
        try:
            said = json.loads(text)
            call = said["call"]
            return cls(dict(said["otlp"]), Call(*call) if call else None)
        except (KeyError, TypeError) as error:
            raise ValueError(f"no report: {error!r}") from error


@dataclass(slots=True)
class Words:
    """All that can be said of one run."""

    asked: Asked
    run: Run
    beats: int = 0

    def start(self) -> Report:
        """Say that it has begun."""
        if self.run.pinged:
            return Report(self._otlp(*self._started()), self._ping("start"))
        return Report(self._otlp(*self._started()), self._heartbeat(None, event="started"))

    def beat(self, text: str = "") -> Report:
        """Say that it lives, and *text*."""
        self.beats += 1
        record = self._record("task.heartbeat", text, **{"heartbeat.sequence": self.beats})
        return Report(self._otlp(record), self._heartbeat(text or None))

    def end(self, code: int, output: Mapping[str, Ends], said: str, *, start_too: bool) -> Report:
        """Say how it has ended; that it has begun as well, where that was not taken yet."""
        took_s = (time.time_ns() - self.run.began_ns) / 1e9
        by = signal_of(code)
        how = f"{code} ({by})" if by else f"{code}"
        parts = [f"{self.asked.name} ended with {how} after {took_s:.3g} s{said}"]
        parts += [
            f"{name}, {ends.size:,} bytes:\n{ends.text().rstrip()}"
            for name, ends in output.items()
            if ends.size
        ]
        body = "\n".join(parts)
        finished = self._record(
            "task.finished",
            body,
            _ERROR if code else _INFO,
            **{"task.outcome": "failure" if code else "success", "task.exit_code": code},
        )
        stopped = self._record("instance.stopped", "", **{"instance.clean": True})
        before = self._started() if start_too else ()
        call = (
            self._ping(str(code), body)
            if self.run.pinged
            else self._heartbeat(
                body,
                event="finished",
                outcome="failure" if code else "success",
                exit_code=code,
            )
        )
        return Report(self._otlp(*before, finished, stopped), call)

    def _started(self) -> tuple[dict[str, Any], ...]:
        at = {"timeUnixNano": str(self.run.began_ns)}
        return (
            {**self._record("instance.started", ""), **at},
            {**self._record("task.started", ""), **at},
        )

    def _record(
        self, event: str, body: str, severity: int = _INFO, /, **more: object
    ) -> dict[str, Any]:
        """Return a log record of now; all of the task's own where *event* is about the task."""
        said: dict[str, object] = {"event.name": event, **more}
        if event.startswith("task."):
            asked = self.asked
            said |= {
                "task.id": self.run.task,
                "task.attempt": asked.attempt,
                "task.name": asked.name,
                "task.queue": asked.queue,
                "task.timeout_s": asked.timeout_s,
                "task.heartbeat_interval_s": asked.beat_s,
                # nobody records what becomes of a job of its own
                "task.reports": False if self.run.pinged else None,
            }
        return {
            "timeUnixNano": str(time.time_ns()),
            "severityNumber": severity,
            "body": {"stringValue": body},
            "attributes": _attributes(said),
        }

    def _otlp(self, *records: Mapping[str, Any]) -> dict[str, Any]:
        resource = {
            "service.name": self.asked.service,
            "service.instance.id": self.run.instance,
            "host.name": self.run.host,
            "instance.boot": self.run.id,
            "zombiewatch.side": "agent",
        }
        return {
            "resourceLogs": [
                {
                    "resource": {"attributes": _attributes(resource)},
                    "scopeLogs": [{"logRecords": list(records)}],
                }
            ]
        }

    def _heartbeat(self, message: str | None, **more: object) -> Call:
        said = {
            "task_id": self.run.task,
            "attempt": self.asked.attempt,
            "task_name": self.asked.name,
            "queue": self.asked.queue,
            "service": self.asked.service,
            "instance": self.run.instance,
            "host": self.run.host,
            "boot": self.run.id,
            "interval_s": self.asked.beat_s,
            "message": message and message[:_MESSAGE_MAX],
            "ts": time.time_ns() / 1e9,
        }
        return Call("/api/v1/heartbeat", json.dumps(said | more), _JSON)

    def _ping(self, what: str, body: str = "") -> Call:
        name, run = quote(self.asked.name, safe=""), self.run.id
        return Call(f"/ping/{name}/{what}?rid={run}", body, _TEXT)


def _attributes(said: Mapping[str, object]) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": _value(value)} for key, value in said.items() if value is not None
    ]


def _value(value: object) -> dict[str, object]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": str(value)}
