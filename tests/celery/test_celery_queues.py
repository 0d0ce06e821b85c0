"""Queues that nobody takes from, and how they are told from busy ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.celery._installation import asked, eventually, found, one_of, recorded, started, warm

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.celery._installation import Installation
    from tests.e2e._sidecar import Running

pytestmark = pytest.mark.slow

_QUICK = {"stuck_in_queue": {"consumer_grace_s": 15}}


def test_a_queue_without_a_consumer_is_found_and_resolved_when_one_comes(
    celery: Installation, beside: Callable[..., Running]
) -> None:
    """Its worker takes from another queue; nothing is wrong with that one."""
    sidecar = beside(celery, _QUICK)
    celery.worker("w0")
    warm(celery, sidecar, "nap")
    celery.workers[0].stop()
    celery.worker("w1", "--concurrency=2", "-Q", "other")
    tasks = celery.send("[nap.delay(0.1) for _ in range(5)]")
    one = one_of(sidecar, "stuck_in_queue")
    assert one["queue"] == "celery"
    assert found(sidecar.findings()) == {("stuck_in_queue", "confirmed")}
    celery.worker("w2")
    eventually([True] * 5, lambda: [recorded(sidecar, one) for one in tasks])
    eventually("resolved", lambda: sidecar.findings(detector="stuck_in_queue")[0]["verdict"])


def test_a_worker_that_lives_and_takes_nothing_any_more_is_found(
    celery: Installation, beside: Callable[..., Running]
) -> None:
    """As after a broker's restart: it beats, it is idle, and the queue grows."""
    sidecar = beside(celery, _QUICK)
    celery.worker("w1")
    warm(celery, sidecar, "nap")
    celery.deafen("celery")
    celery.send("[nap.delay(0.1) for _ in range(5)]")
    one = one_of(sidecar, "stuck_in_queue")
    assert one["queue"] == "celery"


def test_a_queue_that_waits_for_busy_workers_is_not_stuck(
    celery: Installation, beside: Callable[..., Running]
) -> None:
    """Nothing moves for longer than would be told of idle workers; priorities are counted too."""
    celery.more["PREFETCH"] = "1"
    sidecar = beside(celery, _QUICK)
    celery.worker("w1")
    warm(celery, sidecar, "nap")
    busy = celery.send("[nap.delay(40), nap.delay(40)]")
    started(sidecar, *busy)
    celery.send("[nap.apply_async((0.1,), priority=at) for at in (0, 3, 6, 9) * 3]")
    deepest = "SELECT max(depth) FROM samples WHERE queue = 'celery'"
    eventually(True, lambda: asked(sidecar, deepest)[0][0] >= 8)
    eventually([True, True], lambda: [recorded(sidecar, one) for one in busy])
    eventually([[0]], lambda: asked(sidecar, "SELECT count(*) FROM open_attempts"))
    assert found(sidecar.findings()) == set()
