"""From arrival to visible in a finding of the HTTP API, beyond the hold.

The real sidecar, which has little else to do, evaluating by default and as often as is sensible.
Two things are posted over and over, at other moments of its interval each time: a call that its
caller gave up and its callee committed later, which is a finding as soon as it is known (no hold),
in one request; and a task that is handed out, of which no agent shows a sign, while its agent is
heard of all along, with a grace of 1 s (the hold). The time is from before a request is posted,
less the hold, until the finding is first shown as confirmed by `/api/v1/findings`, which is asked
every 50 ms. *Intervals* is the longest of all these times, in evaluation intervals. Beside it,
memory and the number of files in the data folder as they were in the first and in the last third of
the run (medians), and the growth of memory from the first third on: each finding stays open, so
some of it is what is found.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from bench.load import Connection
from bench.sidecar import Probe, Sidecar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from bench.results import Cases, Say
    from bench.scale import Scale

GROUP: Final = "eval"
ORDER: Final = 6.6

DEFAULT_S: Final = 5.0
SHORT_S: Final = 1.0

_HOLD_S: Final = 1.0
_LOOK_S: Final = 0.05
_BEAT_S: Final = 0.25
_SHARE: Final = 0.087
"""Of an interval, between two posts: no whole number of them fits, so that offsets differ."""

_PATIENCE: Final = 6
"""So many intervals, and the seconds beyond, may pass until all is visible."""
_PATIENCE_S: Final = 10.0
_OK: Final = 200
_NEWEST: Final = 100

_CALLER: Final = {"service.name": "worker", "zombiewatch.side": "agent"}
_CALLEE: Final = {"service.name": "control-plane", "zombiewatch.side": "dispatcher"}


class VisibleError(Exception):
    """A finding did not become visible, or what was posted was refused; the message says which."""


def case(interval_s: float) -> str:
    """Return the name of a case, as tables show it."""
    return f"evaluated every {interval_s:g} s"


def run(scale: Scale, say: Say) -> Cases:
    """Measure each interval."""
    cases: Cases = {}
    for interval_s in (DEFAULT_S, SHORT_S):
        figures = _one(interval_s, scale.visible_s)
        cases[case(interval_s)] = figures
        say(f"visible: {case(interval_s)}: {figures['visible_max_s']:.2f} s at most")
    return cases


def _one(interval_s: float, seconds: float) -> dict[str, float]:
    settings = {
        "evaluate_every_s": interval_s,
        "detectors": json.dumps({"zombie_task": {"start_grace_s": _HOLD_S}}),
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        Sidecar(Path(folder), settings) as sidecar,
        _Watch(sidecar.urls) as watch,
        Probe(sidecar.pid, Path(folder)) as probe,
    ):
        watch.begin()
        watch.post_for(seconds, every_s=_SHARE * interval_s)
        watch.wait(_PATIENCE * interval_s + _HOLD_S + _PATIENCE_S)
    calls = [took for subject, took in watch.took_s.items() if subject.startswith("call-")]
    tasks = [took for subject, took in watch.took_s.items() if subject.startswith("task-")]
    worst = max(*calls, *tasks)
    return {
        "posted": len(watch.took_s),
        "call_p50_s": statistics.median(calls),
        "call_max_s": max(calls),
        "zombie_p50_s": statistics.median(tasks),
        "zombie_max_s": max(tasks),
        "visible_max_s": worst,
        "intervals": worst / interval_s,
        **probe.flat(),
    }


@dataclass(slots=True)
class _Watch:
    """Posts what is to be found, keeps the agent heard, and looks for findings, in one thread."""

    urls: Mapping[str, str]
    due: dict[str, float] = field(default_factory=dict)
    """Subject → when it could be confirmed at the earliest, of `time.monotonic`."""

    took_s: dict[str, float] = field(default_factory=dict)
    _number: int = 0
    _beat_at: float = 0.0
    _posting: Connection = field(init=False)
    _asking: HTTPConnection = field(init=False)

    def __enter__(self) -> Self:
        self._posting = Connection(
            self.urls["otlp"], "/v1/logs", "application/json", compressed=False
        )
        to = urlsplit(self.urls["http"])
        self._asking = HTTPConnection(to.hostname or "", to.port, timeout=_PATIENCE_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._posting.close()
        self._asking.close()

    def begin(self) -> None:
        """Show a whole task, so that silence can be evidence: an agent's word was heard before."""
        task = {"task.id": "seen", "task.name": "sync"}
        self._post(
            (_CALLEE, -4.0, "task.dispatched", task),
            (_CALLER, -3.9, "task.accepted", task),
            (_CALLER, -3.0, "task.finished", {**task, "task.outcome": "success"}),
            (_CALLEE, -2.9, "task.recorded", {**task, "task.state": "success"}),
        )

    def post_for(self, seconds: float, *, every_s: float) -> None:
        """Post one of each kind *every_s* for so long."""
        ends = time.monotonic() + seconds
        while (at := time.monotonic()) < ends:
            self._call()
            self._task()
            self._look_until(at + every_s)

    def wait(self, patience_s: float) -> None:
        """Look until all is visible. Raises VisibleError where it is not within *patience_s*."""
        ends = time.monotonic() + patience_s
        while missing := self.due.keys() - self.took_s.keys():
            if time.monotonic() > ends:
                some = ", ".join(sorted(missing)[:5])
                msg = f"{len(missing)} of {len(self.due)} findings did not become visible: {some}"
                raise VisibleError(msg)
            self._look_until(time.monotonic() + _LOOK_S)

    # -- what is posted -------------------------------------------------------------------

    def _call(self) -> None:
        self._number += 1
        subject = f"call-{self._number}"
        said = {"request.id": subject, "call.purpose": "dispatch"}
        self.due[subject] = time.monotonic()
        self._post(
            (_CALLER, -3.0, "call.sent", said),
            (_CALLEE, -2.9, "call.received", said),
            (_CALLER, -2.0, "call.gave_up", said),
            (_CALLEE, -0.5, "call.committed", said),
        )

    def _task(self) -> None:
        self._number += 1
        task = f"task-{self._number}"
        self.due[f"{task}/1"] = time.monotonic() + _HOLD_S
        self._post((_CALLEE, 0.0, "task.dispatched", {"task.id": task, "task.name": "sync"}))

    def _beat(self) -> None:
        self._beat_at = time.monotonic() + _BEAT_S
        self._post((_CALLER, 0.0, "task.heartbeat", {}))

    def _post(self, *told: tuple[Mapping[str, str], float, str, Mapping[str, str]]) -> None:
        """Post log records: who says it, seconds from now, event name, attributes."""
        now_ns = time.time_ns()
        resources = [
            {
                "resource": {"attributes": _attributes({"service.instance.id": "1", **who})},
                "scopeLogs": [
                    {
                        "logRecords": [
                            {
                                "timeUnixNano": str(now_ns + round(at_s * 1e9)),
                                "eventName": event,
                                "attributes": _attributes(said),
                            }
                        ]
                    }
                ],
            }
            for who, at_s, event, said in told
        ]
        status, answer = self._posting.post(json.dumps({"resourceLogs": resources}).encode())
        if status != _OK:
            msg = f"answered {status}: {answer[:200]!r}"
            raise VisibleError(msg)

    # -- what is seen ---------------------------------------------------------------------

    def _look_until(self, ends: float) -> None:
        """Look every 50 ms, at least once, until it is *ends*."""
        while True:
            if time.monotonic() >= self._beat_at:
                self._beat()
            begun = time.monotonic()
            for one in self._findings():
                subject = one["subject"]
                if subject in self.due and subject not in self.took_s:
                    self.took_s[subject] = max(0.0, time.monotonic() - self.due[subject])
            rest = min(ends, begun + _LOOK_S) - time.monotonic()
            if rest > 0:
                time.sleep(rest)  # a poll, bounded by `wait`
            if time.monotonic() >= ends:
                return

    def _findings(self) -> Sequence[Mapping[str, Any]]:
        """Return the newest findings that are confirmed: more than one evaluation finds here."""
        self._asking.request("GET", f"/api/v1/findings?verdict=confirmed&limit={_NEWEST}")
        found: Sequence[Mapping[str, Any]] = json.loads(self._asking.getresponse().read())[
            "findings"
        ]
        return found


def _attributes(said: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {"stringValue": value}} for key, value in said.items()]
