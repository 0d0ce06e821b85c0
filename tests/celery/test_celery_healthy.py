"""What is no alarm: a healthy Celery, whatever it does, and our own absence from it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.celery._installation import (
    asked,
    eventually,
    found,
    heard,
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

_OPEN = "SELECT count(*) FROM open_attempts"
_ALL = "SELECT count(DISTINCT task) FROM attempts"
_DETECTORS = {"lost_report": {"report_grace_s": 30}, "agent_down": {"silence_min_s": 15}}


def test_two_thousand_healthy_tasks_are_no_finding(
    celery: Installation, beside: Callable[..., Running]
) -> None:
    """Four workers, retries, failures, no results, ETAs, priorities, chords; restarts meanwhile."""
    sidecar = beside(celery, _DETECTORS)
    pools = (
        ("w1", "--autoscale=3,1"),
        ("w2", "--concurrency=2", "--max-tasks-per-child=20"),
        ("w3", "--pool=threads", "--concurrency=4"),
        ("w4", "--pool=solo"),
    )
    workers = [celery.worker(*one, wait=False) for one in pools]
    for one in workers:
        one.ready()
    heard(sidecar)
    celery.send("[nap.delay(0.02) for _ in range(920)]")
    celery.send(
        "[quiet.delay(0.01) for _ in range(300)] + [flaky.delay() for _ in range(10)]"
        " + [fails.delay() for _ in range(20)] + [late.delay(0.02) for _ in range(300)]"
        " + [nap.apply_async((0.01,), countdown=15) for _ in range(20)]"
        " + [nap.apply_async((0.01,), priority=at % 10) for at in range(300)]"
        " + [nap.apply_async((0.01,), ignore_result=True) for _ in range(60)]"
        " + [nap.delay(60) for _ in range(4)]"  # a slow minute: one of them at the solo worker
    )
    celery.send("[chord([nap.s(0.05)] * 5)(total.s()) for _ in range(3)]", results=True)
    # a deployment: one after the other stops and comes back under its name
    for at, (name, *options) in enumerate(pools[:3]):
        workers[at].stop()
        workers[at] = celery.worker(name, *options)
    celery.send("[nap.delay(0.02) for _ in range(70)]")
    eventually([[2_022]], lambda: asked(sidecar, _ALL), 180)
    eventually([[0]], lambda: asked(sidecar, _OPEN), 180)
    assert found(sidecar.findings()) == set()
    totals = "zombiewatch_tasks_total"
    for name, number in (("app.quiet", 300.0), ("app.late", 300.0), ("app.fails", 20.0)):
        ended = {"phase": "finished", "task_name": name, "queue": "celery"}
        eventually(number, lambda ended=ended: sidecar.metric(totals, **ended))  # type: ignore[misc]
        assert sidecar.metric("zombiewatch_task_run_seconds_count", task_name=name) == number
    eventually(0.0, lambda: sidecar.metric("zombiewatch_tasks_open"))


def test_a_worker_that_ends_its_last_runs_in_silence_is_no_finding(
    celery: Installation, beside: Callable[..., Running]
) -> None:
    """A deployment while tasks run that are longer than any silence is allowed to be."""
    sidecar = beside(celery, {"agent_down": {"silence_min_s": 8, "stop_grace_s": 5}})
    worker = celery.worker("w1")
    warm(celery, sidecar, "nap")
    tasks = celery.send("[nap.delay(45), nap.delay(20)]")
    started(sidecar, *tasks)
    proven(sidecar, worker)
    worker.process.terminate()
    celery.worker("w2")
    eventually([True, True], lambda: [recorded(sidecar, one) for one in tasks])
    ended = f"SELECT clean FROM instances WHERE instance = '{worker.instance}'"
    eventually([[True]], lambda: asked(sidecar, ended))
    assert found(sidecar.findings()) == set()


def test_what_is_revoked_or_rejected_has_ended(
    celery: Installation, beside: Callable[..., Running]
) -> None:
    """Before it is due, while it waits, while it runs; and a message that its task rejects."""
    sidecar = beside(celery, _DETECTORS)
    celery.worker("w1", "--concurrency=1")
    warm(celery, sidecar, "nap", "late")
    [running] = celery.send("[nap.delay(600)]")
    started(sidecar, running)
    due, waiting, rejected = celery.send(
        "[nap.apply_async((1,), countdown=20), nap.delay(1), rejects.delay()]"
    )
    celery.revoke(due, waiting)
    celery.revoke(running, terminate=True)
    ended = (
        "SELECT task, outcome FROM attempts WHERE finished_us IS NOT NULL AND"
        f" task IN ('{running}', '{due}', '{waiting}', '{rejected}') ORDER BY task"
    )
    outcomes = {running: "canceled", due: "canceled", waiting: "canceled", rejected: "failure"}
    expected = sorted([*one] for one in outcomes.items())
    eventually(expected, lambda: asked(sidecar, ended))
    eventually(0.0, lambda: sidecar.metric("zombiewatch_tasks_open"))
    time.sleep(40)  # longer than anything holds: nothing of it is missed
    assert found(sidecar.findings()) == set()


def test_no_zombie_after_we_were_away(celery: Installation, beside: Callable[..., Running]) -> None:
    """What began or ended meanwhile was not heard: it is no evidence."""
    sidecar = beside(celery, _DETECTORS)
    celery.worker("w1")
    warm(celery, sidecar, "nap", "late")
    before = celery.send("[nap.delay(4), late.delay(4), nap.delay(90), late.delay(90)]")
    started(sidecar, *before[:2])
    assert sidecar.stop() == 0
    celery.send("[nap.delay(0.5) for _ in range(10)] + [late.delay(20)]")
    time.sleep(60)  # the absence itself
    sidecar.again()
    eventually([True, True], lambda: [recorded(sidecar, one) for one in before[2:]], 120)
    after = celery.send("[nap.delay(0.1)]")
    eventually(True, lambda: recorded(sidecar, after[0]))
    time.sleep(35)  # longer than anything holds
    confirmed = {one for one in found(sidecar.findings()) if one[1] != "unknown"}
    assert confirmed == set()


def test_the_broker_may_restart(celery: Installation, beside: Callable[..., Running]) -> None:
    """Events that nobody could hear are told losses; workers that come back are no new life."""
    sidecar = beside(celery, _DETECTORS)
    worker = celery.worker("w1")
    warm(celery, sidecar, "nap")
    celery.send("[nap.delay(20)]")
    celery.broker.stop()
    time.sleep(3)  # the outage itself
    celery.broker.start()
    eventually(True, lambda: "are heard again" in sidecar.log)
    eventually(True, lambda: worker.log.read_text().count("Connected to redis") > 1)
    [later] = celery.send("[nap.delay(0.1)]")
    eventually(True, lambda: recorded(sidecar, later))
    time.sleep(35)  # longer than anything holds
    assert sidecar.metric("zombiewatch_celery_losses_total") == 1
    lives = f"SELECT count(DISTINCT boot) FROM instances WHERE instance = '{worker.instance}'"
    assert asked(sidecar, lives) == [[1]]
    confirmed = {one for one in found(sidecar.findings()) if one[1] != "unknown"}
    assert confirmed == set()


def test_without_task_events_it_says_what_to_set(
    celery: Installation, beside: Callable[..., Running]
) -> None:
    """They are off by default; queues are seen all the same."""
    celery.more["EVENTS"] = "no"
    sidecar = beside(celery, _DETECTORS)
    celery.worker("w1")
    celery.send("[nap.delay(0.1) for _ in range(3)]")
    eventually(True, lambda: "worker_send_task_events = True" in sidecar.log)
    assert "celery worker -E" in sidecar.log
    assert asked(sidecar, "SELECT DISTINCT queue FROM samples") == [["celery"]]
    assert sidecar.findings() == []


def test_workers_are_told_to_send_events_only_if_asked(
    celery: Installation, beside: Callable[..., Running]
) -> None:
    """Those that are there, and those that come later; nothing else is made at the broker."""
    celery.more["EVENTS"] = "no"
    earlier = celery.worker("w1")
    client = celery.redis.client()
    before = set(client.keys("*"))
    sidecar = beside(celery, _DETECTORS, enable_events=True)
    told = "Events of group {task} enabled by remote"
    eventually(True, lambda: told in earlier.log.read_text())
    eventually(True, lambda: "1 workers were told to send task events" in sidecar.log)
    first = celery.send("[nap.delay(0.1)]")
    eventually(True, lambda: recorded(sidecar, first[0]))
    earlier.stop()
    later = celery.worker("w2")
    eventually(True, lambda: told in later.log.read_text())
    second = celery.send("[nap.delay(0.1)]")
    eventually(True, lambda: recorded(sidecar, second[0]))
    assert {key for key in client.keys("*") if b"unacked" not in key} <= before


def test_nothing_is_made_or_changed_at_the_broker(
    celery: Installation, beside: Callable[..., Running]
) -> None:
    """It listens and reads: no key is there that was not there before."""
    celery.worker("w1")
    client = celery.redis.client()
    before = set(client.keys("*"))
    sidecar = beside(celery, _DETECTORS)
    eventually([["celery"]], lambda: asked(sidecar, "SELECT DISTINCT queue FROM samples"))
    ours = {one["addr"] for one in client.client_list() if one["name"] == "zombiewatch"}
    assert ours, "it is told apart by its name"
    said: set[str] = set()
    over = threading.Event()

    def watch() -> None:
        with celery.redis.client().monitor() as seen:
            for one in seen.listen():
                if f"{one['client_address']}:{one['client_port']}" in ours:
                    said.add(one["command"].split()[0].lower())
                if over.is_set():
                    return

    watching = threading.Thread(target=watch)
    watching.start()
    tasks = celery.send("[nap.delay(0.1) for _ in range(20)]")
    eventually(True, lambda: all(recorded(sidecar, one) for one in tasks))
    eventually(True, lambda: "llen" in said)
    over.set()
    client.ping()
    watching.join()
    after = {key for key in client.keys("*") if not key.startswith(b"unacked")}
    assert after - before == set()
    reading = {"psubscribe", "llen", "lindex", "zcard", "zrangebyscore", "zrange", "hmget", "scan"}
    assert said <= reading | {"getrange", "smembers", "ping"}
