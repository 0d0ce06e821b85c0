"""Celery by its logs alone, and by OpenTelemetry's spans alone: what each becomes.

Lines and attributes are those of Celery 5.7 and opentelemetry-instrumentation-celery 0.66b2.
"""

from __future__ import annotations

from typing import Any

import pytest

from collector.presets import load
from tests.collector._taken import NOW_NS, span_body, taken

_TASK = "e52ba2cf-b9a4-4e02-a307-e9ce9989bc0f"
_AT = "[2026-11-27 19:17:57,920: INFO/MainProcess] "


@pytest.mark.parametrize(
    ("line", "phase", "outcome"),
    [
        (f"Task app.add[{_TASK}] received", "accepted", None),
        (f"Task app.add[{_TASK}] succeeded in 0.22273274100007256s: 3", "finished", "success"),
        (f"Task app.add[{_TASK}] retry: Retry in 1s: ValueError('no')", "finished", "yielded"),
        (f"Task app.add[{_TASK}] raised unexpected: KeyError('x')", "finished", "failure"),
        (f"Task app.add[{_TASK}] raised expected: KeyError('x')", "finished", "failure"),
        (f"Task app.add[{_TASK}] INTERNAL ERROR: KeyError('x')", "finished", "failure"),
        (f"Task app.add[{_TASK}] ignored", "finished", "canceled"),
        (f"Hard time limit (5.0s) exceeded for app.add[{_TASK}]", "finished", "timeout"),
        (f"Discarding revoked task: app.add[{_TASK}]", "finished", "canceled"),
        ("Process 'ForkPoolWorker-2' pid:9758 exited with 'signal 9 (SIGKILL)'", None, None),
        (f"I wonder whether Task app.add[{_TASK}] receives anything", None, None),
    ],
)
def test_a_worker_s_line_is_read(line: str, phase: str | None, outcome: str | None) -> None:
    """Whatever stands before it: time, level and process, or what another format puts there."""
    rules = load("celery-logs").rules
    for before in (_AT, ""):
        [one], _ = taken(("lines", (before + line).encode()), rules=rules)
        assert (one["phase"], one["outcome"]) == (phase, outcome)
        if phase:
            assert (one["task"], one["task_name"], one["side"]) == (_TASK, "app.add", "agent")
            assert one["reports"] is False


def test_a_worker_that_is_ready_has_begun() -> None:
    """Its node name is its instance."""
    line = f"{_AT}w1@host ready."
    [one], _ = taken(("lines", line.encode()), rules=load("celery-logs").rules)
    assert (one["phase"], one["instance"]) == ("instance.started", "w1@host")


def _span(action: str, kind: int, at_s: float, until_s: float, **more: Any) -> dict[str, Any]:
    said = {
        "celery.action": action,
        "celery.task_name": "app.flaky",
        "messaging.message.id": _TASK,
        "messaging.destination": "celery",
        "messaging.destination_kind": "queue",
    }
    return {
        "traceId": "1" * 32,
        "spanId": f"{round(at_s * 10):016x}",
        "name": f"{action}/app.flaky",
        "kind": kind,
        "startTimeUnixNano": NOW_NS + round(at_s * 1e9),
        "endTimeUnixNano": NOW_NS + round(until_s * 1e9),
        "attributes": said | {f"celery.{name}": value for name, value in more.items()},
    }


def test_spans_of_a_task_that_is_retried_are_one_attempt() -> None:
    """Where it is sent again the span has no number: a retry ends a run, and not the attempt."""
    spans = [
        _span("apply_async", 4, 0.1, 0.2),
        _span("run", 5, 1, 2, state="RETRY", **{"retry.reason": "Retry in 1s"}),
        _span("apply_async", 4, 1.5, 1.6),
        _span("run", 5, 3, 4, state="SUCCESS", retries="1"),
    ]
    found, _ = taken(
        ("traces+json", span_body(*spans, service__name="app")), rules=load("celery-otel").rules
    )
    told = [(one["phase"], one["outcome"], one["side"], one["attempt"]) for one in found]
    assert told == [
        ("enqueued", None, "dispatcher", None),
        ("finished", "yielded", "agent", None),
        ("enqueued", None, "dispatcher", None),
        ("finished", "success", "agent", None),
    ]
    assert {(one["task"], one["task_name"], one["queue"]) for one in found} == {
        (_TASK, "app.flaky", "celery")
    }
    assert all(one["reports"] is False for one in found)
