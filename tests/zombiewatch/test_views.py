"""Queues, limits and coverage as rows: what is never, what is not known, what is broken."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from model.findings import Finding
from tests.e2e._scheduler import Scheduler
from tests.e2e._sidecar import Running, call, eventually
from zombiewatch.overview import _said
from zombiewatch.trends import figures
from zombiewatch.views import _drains

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize(
    ("depth", "net", "said"),
    [
        (None, 1.0, ("not known", None)),
        (0.0, None, ("empty", 0.0)),
        (10.0, None, ("not known", None)),
        (10.0, 0.0, ("never", None)),
        (10.0, -2.0, ("never", None)),
        (10.0, 2.0, ("drains", 5.0)),
    ],
)
def test_when_a_queue_is_empty(
    depth: float | None, net: float | None, said: tuple[str, float | None]
) -> None:
    """By what goes out more than comes in; never is not the same as not known."""
    assert _drains(depth, net) == said


def _queue(**more: Any) -> Any:
    said = {"oldest_age_s": None, "depth": 1.0, "drains_s": 2.0, "drains": "drains"}
    return {**said, "sampled_s": 5.0, **more}


@pytest.mark.parametrize(
    ("queues", "drains_s"),
    [
        ([], None),
        ([_queue(depth=0.0, drains_s=0.0)], 0.0),
        ([_queue(), _queue(drains_s=7.0)], 7.0),
        ([_queue(), _queue(drains_s=None, drains="never")], None),
        ([_queue(), _queue(drains_s=None, drains="not known")], None),
        ([_queue(), _queue(drains_s=900.0, sampled_s=600.0)], 2.0),
        ([_queue(sampled_s=600.0)], None),
    ],
)
def test_all_queues_are_empty_when_the_last_one_is(
    queues: list[Any], drains_s: float | None
) -> None:
    """Where one never is, or it is not known, there is no figure; old samples say nothing."""
    assert figures([], queues)["drains_s"] == drains_s


SEES: Any = {
    "evaluated_at": "2026-11-28T12:00:00Z", "behind_s": 0.1, "failing": [], "unread_files": 0,
    "damaged": 0, "refused_full": 0, "judges": True, "full": False, "can_see": True,
}  # fmt: skip


def _found(verdict: str, severity: str = "warning") -> Finding:
    made = Finding.new("k", "zombie_task", "", 0)
    made.verdict, made.severity = verdict, severity
    return made


@pytest.mark.parametrize(
    ("shown", "itself", "heard", "state"),
    [
        ([], {}, True, "calm"),
        ([], {}, False, "waiting"),
        ([], {"evaluated_at": None}, True, "waiting"),
        ([_found("confirmed", "info")], {}, True, "calm"),
        ([_found("suspected")], {}, True, "doubt"),
        ([_found("unknown")], {}, True, "doubt"),
        ([_found("confirmed"), _found("unknown")], {}, True, "trouble"),
        ([], {"judges": False, "can_see": False}, True, "blind"),
        ([], {"full": True, "can_see": False}, True, "blind"),
        ([], {"failing": ["zombie_task"], "can_see": False}, True, "blind"),
        ([], {"behind_s": 90.0, "can_see": False}, True, "blind"),
        ([_found("confirmed")], {"judges": False, "can_see": False}, True, "trouble"),
    ],
)
def test_all_is_well_only_where_that_can_be_seen(
    shown: list[Finding], itself: dict[str, Any], *, heard: bool, state: str
) -> None:
    """A judge that stands still, or for whom there is no room, is not all well; it says why."""
    given: Any = {**SEES, **itself}
    said, _, _, why = _said(shown, given, heard=heard)
    assert said == state
    assert why


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("views")) as running:
        yield running


def rows(sidecar: Running, view: str) -> list[dict[str, Any]]:
    return list(call("GET", f"{sidecar.url()}/api/v1/{view}").json()[view])


@pytest.mark.slow
def test_a_queue_s_rates_are_those_of_its_totals(sidecar: Running) -> None:
    """So many came and went between the first sample of the last minutes, and the last one."""
    scheduler, now = Scheduler(sidecar), time.time()
    for ago_s, depth, came, went in ((60, 10.0, 100.0, 90.0), (0, 40.0, 190.0, 150.0)):
        scheduler.says("queue.sampled", ts=now - ago_s, queue__name="q", queue__depth=depth,
                       queue__enqueued_total=came, queue__completed_total=went)  # fmt: skip
    eventually(["q"], lambda: [one["queue"] for one in rows(sidecar, "queues")])
    eventually(2, lambda: len(rows(sidecar, "queues")[0]["depths"]))
    (one,) = rows(sidecar, "queues")
    assert one["arrivals_per_s"] == pytest.approx(1.5, rel=0.01)
    assert one["completions_per_s"] == pytest.approx(1.0, rel=0.01)
    assert (one["drains"], one["drains_s"], one["depths"]) == ("never", None, [10.0, 40.0])


@pytest.mark.slow
def test_a_limit_that_is_too_short_is_broken(sidecar: Running) -> None:
    """Of a task that takes longer; the percentiles are in their order."""
    scheduler, now = Scheduler(sidecar), time.time() - 60
    for at in range(60):
        task, took_s = f"long-{at}", 3.0 + at / 30
        scheduler.says("task.dispatched", task, ts=now, task__timeout_s=2.0)
        scheduler.reports("task.started", task, ts=now)
        scheduler.reports("task.finished", task, ts=now + took_s, task__outcome="success")
    eventually(60, lambda: max([one["n"] for one in rows(sidecar, "timeouts")], default=0))
    one = rows(sidecar, "timeouts")[0]
    assert (one["pair"], one["name"], one["limit_s"], one["verdict"]) == (
        "run", "sync", 2.0, "broken",
    )  # fmt: skip
    assert one["p50_s"] <= one["p95_s"] <= one["p99_s"] <= 5.0
    assert one["p50_s"] > 3.0
