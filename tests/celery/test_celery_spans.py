"""Celery by OpenTelemetry's spans alone: what can be told from them is told."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.celery._installation import eventually, found
from tests.collector._taken import span_body
from tests.e2e._sidecar import Running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.fixture
def sidecar(tmp_path: Path) -> Iterator[Running]:
    """Return a sidecar with the preset alone."""
    detectors = {"overdue_task": {"samples_min": 50}, "duplicate_run": {"late_s": 2}}
    settings: dict[str, Any] = {"presets": ["celery-otel"], "detectors": detectors}
    with Running(tmp_path / "sidecar", settings) as made:
        yield made


def _send(
    to: Running, worker: str, task: str, action: str, took: tuple[float, float], **more: str
) -> None:
    """Send a span of *task*; it began and ended so many seconds from now."""
    now = time.time_ns()
    said = {
        "celery.action": action,
        "celery.task_name": "app.add",
        "messaging.message.id": task,
        "messaging.destination": "celery",
    }
    span = {
        "traceId": f"{hash(task) & (1 << 120) - 1 | 1:032x}",
        "spanId": f"{now & (1 << 60) - 1 | 1:016x}",
        "name": f"{action}/app.add",
        "kind": 4 if action == "apply_async" else 5,
        "startTimeUnixNano": now + round(took[0] * 1e9),
        "endTimeUnixNano": now + round(took[1] * 1e9),
        "attributes": said | {f"celery.{name}": value for name, value in more.items()},
    }
    body = span_body(span, service__name="app", service__instance__id=worker)
    assert to.otlp("traces", body, Content_Type="application/json").status == 200


def test_a_task_that_two_workers_run_is_a_duplicate(sidecar: Running) -> None:
    """It was sent once, and delivered twice; each span comes when it has ended."""
    _send(sidecar, "web-1", "t1", "apply_async", (-60, -59.9))
    _send(sidecar, "w1", "t1", "run", (-50, -0.1), state="SUCCESS")
    _send(sidecar, "w2", "t1", "run", (-40, -0.1), state="SUCCESS")
    eventually({("duplicate_run", "confirmed")}, lambda: found(sidecar.findings()))
    assert sidecar.findings()[0]["task"] == "t1"


def test_retries_one_after_the_other_are_none(sidecar: Running) -> None:
    """Other workers run them; each ends before the next begins."""
    for number in range(30):
        task = f"t{number}"
        _send(sidecar, "web-1", task, "apply_async", (-60, -59.9))
        _send(sidecar, "w1", task, "run", (-50, -40), state="RETRY")
        _send(sidecar, "w1", task, "apply_async", (-41, -40.9))
        _send(sidecar, "w2", task, "run", (-30, -0.1), state="SUCCESS")
    _send(sidecar, "web-1", "last", "apply_async", (-0.2, -0.1))
    sidecar.hears("last")
    time.sleep(35)  # longer than any of these detectors waits for its turn
    assert sidecar.findings() == []
