"""Work that Celery loses, and of which nothing in Celery tells: real workers, a real broker."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.celery._installation import (
    asked,
    eventually,
    found,
    heard,
    one_of,
    phases,
    proven,
    recorded,
    started,
    warm,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.celery._installation import Installation
    from tests.e2e._sidecar import Running

pytestmark = pytest.mark.slow


def test_a_worker_that_is_killed_is_found_long_before_celery_says_anything(
    celery: Installation, beside: Callable[..., Running]
) -> None:
    """Its two tasks are under it; Celery hands them out again when its visibility time-out ends."""
    celery.more["VISIBILITY"] = "45"
    sidecar = beside(celery, visibility_timeout_s=45)
    worker = celery.worker("w1")
    warm(celery, sidecar, "late")
    tasks = celery.send("[late.delay(600), late.delay(600)]")
    started(sidecar, *tasks)
    proven(sidecar, worker)
    worker.kill()
    killed = time.monotonic()
    other = celery.worker("w2")
    one = one_of(sidecar, "agent_down")
    found_s = time.monotonic() - killed
    assert one["evidence"]["tasks"] == 2
    assert worker.instance in one["subject"]
    assert found(sidecar.findings()) == {("agent_down", "confirmed")}
    assert not any(task in other.log.read_text() for task in tasks), "Celery was sooner"
    eventually(True, lambda: all(task in other.log.read_text() for task in tasks))
    told_s = time.monotonic() - killed
    assert found_s < told_s
    eventually("resolved", lambda: sidecar.findings(detector="agent_down")[0]["verdict"])


def test_what_a_worker_ran_is_orphaned_at_once_when_it_comes_back(
    celery: Installation, beside: Callable[..., Running]
) -> None:
    """However fast: the kernel kills it, its supervisor starts it again within seconds."""
    sidecar = beside(celery, {"agent_down": {"silence_min_s": 600}})
    worker = celery.worker("w1")
    warm(celery, sidecar, "nap")
    started(sidecar, *celery.send("[nap.delay(600)]"))
    worker.kill()
    celery.worker("w1")
    one = one_of(sidecar, "agent_down")
    assert one["evidence"]["tasks"] == 1
    assert "came back as a new process" in one["fix"]
    assert found(sidecar.findings()) == {("agent_down", "confirmed")}


def test_a_worker_that_is_stopped_is_found_and_resolved_when_it_goes_on(
    celery: Installation, beside: Callable[..., Running]
) -> None:
    """SIGSTOP: its pool works on, but nobody hears of it."""
    sidecar = beside(celery)
    worker = celery.worker("w1")
    celery.worker("w2", "--concurrency=1", "--queues=other")  # it must not take all the work
    warm(celery, sidecar, "nap", "nap")
    tasks = celery.send("[nap.delay(40), nap.delay(40)]")
    started(sidecar, *tasks)
    proven(sidecar, worker)
    worker.pause()
    one = one_of(sidecar, "agent_down")
    assert worker.instance in one["subject"]
    worker.go_on()
    eventually("resolved", lambda: sidecar.findings(detector="agent_down")[0]["verdict"])
    eventually([True] * 2, lambda: [recorded(sidecar, one) for one in tasks])
    assert found(sidecar.findings()) == {("agent_down", "resolved")}


def test_a_process_of_the_pool_that_is_killed_fails_its_task(
    celery: Installation, beside: Callable[..., Running]
) -> None:
    """Celery sees that by itself: the task has failed, and nothing is lost."""
    sidecar = beside(celery)
    worker = celery.worker("w1")
    warm(celery, sidecar, "nap")
    [task] = celery.send("[nap.delay(600)]")
    started(sidecar, task)
    for one in worker.pool:
        one.kill()
    eventually(True, lambda: recorded(sidecar, task))
    assert "finished" in phases(sidecar, task)
    assert sidecar.findings() == []


def test_results_that_a_dead_backend_never_got_are_lost_reports(
    apart: Installation, beside: Callable[..., Running]
) -> None:
    """Celery has no word for it: the run is begun, and then there is nothing at all.

    When the backend is back it stays lost, until somebody stores it: by hand, or by another run.
    """
    sidecar = beside(apart)
    apart.worker("w1")
    warm(apart, sidecar, "nap", "nap")
    assert apart.backend is not None
    apart.backend.stop()
    [task] = apart.send("[nap.delay(2)]")
    started(sidecar, task)
    assert one_of(sidecar, "lost_report", 90)["task"] == task
    apart.backend.start()
    [later] = apart.send("[nap.delay(0.1)]")
    eventually(True, lambda: recorded(sidecar, later))
    assert found(sidecar.findings()) == {("lost_report", "confirmed")}
    stored = b'{"status": "SUCCESS", "result": 2, "task_id": "%s"}' % task.encode()
    with apart.backend.client(1) as client:
        client.set(f"celery-task-meta-{task}", stored)
    eventually("resolved", lambda: sidecar.findings(detector="lost_report")[0]["verdict"])


def test_a_result_that_disagrees_with_the_worker_is_found(
    celery: Installation, beside: Callable[..., Running]
) -> None:
    """The worker has told of its success; what is stored is a failure."""
    sidecar = beside(celery)
    celery.worker("w1")
    warm(celery, sidecar, "nap")
    [task] = celery.send("[liar.delay()]")
    assert one_of(sidecar, "verdict_mismatch")["task"] == task
    assert found(sidecar.findings()) == {("verdict_mismatch", "confirmed")}


def test_an_end_that_no_event_told_of_is_known_by_its_result(
    celery: Installation, beside: Callable[..., Running]
) -> None:
    """Only the sender sends events: nothing else says what became of its tasks."""
    celery.more["EVENTS"] = "no"
    sidecar = beside(celery)
    celery.worker("w1")
    celery.more["EVENTS"] = "yes"
    heard(sidecar)
    tasks = celery.send("[nap.delay(0.1) for _ in range(5)] + [fails.delay()]")
    eventually([["enqueued", "recorded"]] * 6, lambda: [phases(sidecar, one) for one in tasks], 120)
    eventually([[0]], lambda: asked(sidecar, "SELECT count(*) FROM open_attempts"))
    assert sidecar.findings() == []


def test_a_visibility_timeout_that_is_too_short_is_foretold_and_then_found(
    celery: Installation, beside: Callable[..., Running]
) -> None:
    """Celery hands out what still runs: the limit is told of before it does any harm."""
    celery.more["VISIBILITY"] = "20"
    sidecar = beside(celery, {"timeout_lattice": {"samples_min": 4}}, visibility_timeout_s=20)
    celery.worker("w1", "--concurrency=4")
    warm(celery, sidecar, "late")
    celery.send("[late.delay(21) for _ in range(4)]")
    foretold = one_of(sidecar, "timeout_lattice", 120)
    assert foretold["queue"] == "celery"
    assert found(sidecar.findings()) == {("timeout_lattice", "confirmed")}
    [task] = celery.send("[late.delay(40)]")
    started(sidecar, task)
    celery.worker("w2")
    # of a run without an end only its start is known: they are two when the second one has ended
    assert one_of(sidecar, "duplicate_run", 180)["task"] == task
    assert found(sidecar.findings()) == {
        ("timeout_lattice", "confirmed"),
        ("duplicate_run", "confirmed"),
    }


def test_what_is_acknowledged_when_it_begins_may_run_for_longer(
    celery: Installation, beside: Callable[..., Running]
) -> None:
    """Celery's default: the broker waits for nothing any more, and hands nothing out again."""
    celery.more["VISIBILITY"] = "20"
    sidecar = beside(celery, {"timeout_lattice": {"samples_min": 4}}, visibility_timeout_s=20)
    celery.worker("w1", "--concurrency=4")
    warm(celery, sidecar, "nap")
    tasks = celery.send("[nap.delay(25) for _ in range(4)]")
    eventually([True] * 4, lambda: [recorded(sidecar, one) for one in tasks])
    [later] = celery.send("[nap.delay(0.1)]")
    eventually(True, lambda: recorded(sidecar, later))
    assert sidecar.findings() == []


def test_an_eta_beyond_the_visibility_timeout_runs_twice(
    celery: Installation, beside: Callable[..., Running]
) -> None:
    """Whoever waits for it holds the message; a worker that starts meanwhile is handed it too."""
    celery.more["VISIBILITY"] = "8"
    sidecar = beside(celery, visibility_timeout_s=8)
    celery.worker("w1")
    warm(celery, sidecar, "nap")
    [task] = celery.send("[nap.apply_async((2,), countdown=50)]")
    eventually(True, lambda: "accepted" in phases(sidecar, task))
    celery.deafen("celery")  # else it may be handed out to the same worker again
    time.sleep(12)  # the visibility time-out itself
    other = celery.worker("w2")
    eventually(True, lambda: task in other.log.read_text())
    assert found(sidecar.findings(), "duplicate_run") == set(), "nothing has begun yet"
    assert one_of(sidecar, "duplicate_run", 120)["task"] == task
    late = found(sidecar.findings(), "zombie_task", "stuck_in_queue", "agent_down", "lost_report")
    assert late == set()
