"""On RabbitMQ: what is found, what is no alarm, and what is made there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from collector.receivers.celery import Where
from collector.receivers.celery.rabbitmq import RabbitMq as Looking
from collector.receivers.celery.words import Words
from tests.celery._installation import (
    Installation,
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
from tests.celery._rabbitmq import RabbitMq, Vhost
from tests.collector.stores import Turned

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e._sidecar import Running

pytestmark = pytest.mark.slow

_QUICK = {"stuck_in_queue": {"consumer_grace_s": 15}}
_SAMPLED = "SELECT DISTINCT queue FROM samples"
_ALL = "SELECT count(DISTINCT task) FROM attempts"
_OPEN = "SELECT count(*) FROM open_attempts"


def _made(celery: Installation) -> set[tuple[str, str]]:
    """Return what is at the broker."""
    assert isinstance(celery.broker, Vhost)
    return {
        (kind, one["name"])
        for kind in ("queues", "exchanges")
        for one in celery.broker.things(kind)
    }


def test_healthy_work_is_no_finding_and_only_one_queue_is_made(
    on_rabbitmq: Installation, beside: Callable[..., Running]
) -> None:
    """Retries, failures, ETAs, acks_late, chords; a worker stops and comes back meanwhile."""
    celery = on_rabbitmq
    workers = [celery.worker("w1"), celery.worker("w2", "--pool=threads", "--concurrency=4")]
    before = _made(celery)
    sidecar = beside(celery)
    heard(sidecar)
    [(kind, queue)] = _made(celery) - before
    assert (kind, queue.partition(".")[0]) == ("queues", "zombiewatch")
    celery.send(
        "[nap.delay(0.02) for _ in range(300)] + [late.delay(0.02) for _ in range(100)]"
        " + [quiet.delay(0.01) for _ in range(100)] + [flaky.delay() for _ in range(5)]"
        " + [fails.delay() for _ in range(10)]"
        " + [nap.apply_async((0.01,), countdown=12) for _ in range(5)]"
    )
    celery.send("[chord([nap.s(0.05)] * 5)(total.s()) for _ in range(2)]", results=True)
    workers[0].stop()
    celery.worker("w1")
    celery.send("[nap.delay(0.02) for _ in range(20)]")
    eventually([[552]], lambda: asked(sidecar, _ALL), 120)
    eventually([[0]], lambda: asked(sidecar, _OPEN))
    assert asked(sidecar, _SAMPLED) == [["celery"]]
    assert asked(sidecar, "SELECT max(consumers) FROM samples") == [[2]]
    assert found(sidecar.findings()) == set()
    assert sidecar.metric("zombiewatch_celery_losses_total") == 0
    assert sidecar.metric("zombiewatch_celery_unreadable_total") == 0
    assert sidecar.stop() == 0
    eventually(False, lambda: any("zombiewatch" in name for _, name in _made(celery)))


def test_what_a_killed_worker_had_is_found_and_what_the_broker_hands_out_again_resolved(
    on_rabbitmq: Installation, beside: Callable[..., Running]
) -> None:
    """What was acknowledged early is gone for good, and nobody but us says so."""
    celery = on_rabbitmq
    sidecar = beside(celery)
    worker = celery.worker("w1")
    warm(celery, sidecar, "late", "nap")
    tasks = celery.send("[late.delay(20), nap.delay(20)]")
    started(sidecar, *tasks)
    proven(sidecar, worker)
    worker.kill()
    other = celery.worker("w2")
    one = one_of(sidecar, "agent_down")
    assert worker.instance in one["subject"]
    assert tasks[1] in str(one)
    eventually(True, lambda: recorded(sidecar, tasks[0]))
    assert tasks[0] in other.log.read_text()
    assert tasks[1] not in other.log.read_text()
    assert found(sidecar.findings()) == {("agent_down", "confirmed")}


def test_queues_that_are_not_there_cost_no_channel(server: RabbitMq, tmp_path: Path) -> None:
    """Channels are few: one that is lost at each look is the last one some day."""
    broker = Vhost(server, tmp_path.name)
    broker.start()
    names = tuple(f"missing-{at}" for at in range(5))
    seen = Looking(Where(broker.url(), queues=names), Words(Turned()))
    for _ in range(20):
        assert seen.look(0.0, 0.0) == []
    # The API knows of a connection before it has counted its channels.
    eventually([True], lambda: ["channels" in one for one in broker.things("connections")])
    assert all(one["channels"] <= 1 for one in broker.things("connections"))
    seen.close()
    broker.stop()


@pytest.mark.parametrize("api", [True, False], ids=["by the management API", "by AMQP"])
def test_a_queue_that_nobody_takes_from_is_found_and_resolved(
    on_rabbitmq: Installation, beside: Callable[..., Running], *, api: bool
) -> None:
    """Its worker lives, and was told to take nothing more; another one comes."""
    celery = on_rabbitmq
    sidecar = beside(celery, _QUICK) if api else beside(celery, _QUICK, broker_api=None)
    celery.worker("w1")
    warm(celery, sidecar, "nap")
    celery.deafen("celery")
    tasks = celery.send("[nap.delay(0.1) for _ in range(5)]")
    one = one_of(sidecar, "stuck_in_queue")
    assert one["queue"] == "celery"
    assert found(sidecar.findings()) == {("stuck_in_queue", "confirmed")}
    celery.worker("w2")
    eventually([True] * 5, lambda: [recorded(sidecar, one) for one in tasks])
    eventually("resolved", lambda: sidecar.findings(detector="stuck_in_queue")[0]["verdict"])


def test_a_restart_of_the_broker_is_a_told_loss_and_no_alarm(
    on_its_own_rabbitmq: Callable[..., Installation], beside: Callable[..., Running]
) -> None:
    """A task runs meanwhile, and ends after it."""
    celery = on_its_own_rabbitmq()
    assert isinstance(celery.broker, Vhost)
    sidecar = beside(celery)
    worker = celery.worker("w1")
    warm(celery, sidecar, "nap")
    celery.send("[nap.delay(30)]")
    celery.broker.server.stop()
    time.sleep(3)  # the outage itself
    celery.broker.server.start()
    eventually(True, lambda: "are heard again" in sidecar.log)
    eventually(True, lambda: worker.log.read_text().count("Connected to amqp") > 1)
    [later] = celery.send("[nap.delay(0.1)]")
    eventually(True, lambda: recorded(sidecar, later))
    time.sleep(35)  # longer than anything holds
    confirmed = {one for one in found(sidecar.findings()) if one[1] != "unknown"}
    assert confirmed == set()
    assert sidecar.metric("zombiewatch_celery_losses_total") == 1


def test_an_acknowledgement_that_comes_too_late_is_a_run_that_is_there_twice(
    on_its_own_rabbitmq: Callable[..., Installation], beside: Callable[..., Running]
) -> None:
    """RabbitMQ closes the channel, and hands the message out again: `consumer_timeout`."""
    celery = on_its_own_rabbitmq("consumer_timeout = 20000\n")
    sidecar = beside(celery, visibility_timeout_s=20, acks_late=True)
    celery.worker("w1", "--concurrency=4")
    warm(celery, sidecar, "late")
    [task] = celery.send("[late.delay(45)]")
    started(sidecar, task)
    celery.worker("w2")
    assert one_of(sidecar, "duplicate_run", 240)["task"] == task


def test_workers_are_told_to_send_events_only_if_asked(
    on_rabbitmq: Installation, beside: Callable[..., Running]
) -> None:
    """One that comes later is told too."""
    celery = on_rabbitmq
    celery.more["EVENTS"] = "no"
    told = "Events of group {task} enabled by remote"
    earlier = celery.worker("w1")
    sidecar = beside(celery, enable_events=True)
    eventually(True, lambda: told in earlier.log.read_text())
    later = celery.worker("w2")
    eventually(True, lambda: told in later.log.read_text())
    [task] = celery.send("[nap.delay(0.1)]")
    eventually(True, lambda: recorded(sidecar, task))
    assert "started" in phases(sidecar, task)


def test_a_management_api_that_refuses_is_told_and_amqp_does(
    on_rabbitmq: Installation, beside: Callable[..., Running]
) -> None:
    """Its password is nowhere to be read."""
    celery = on_rabbitmq
    wrong = celery.broker.api_url().replace("guest:guest", "guest:secret")  # type: ignore[union-attr]
    sidecar = beside(celery, broker_api=wrong)
    celery.worker("w1")
    warm(celery, sidecar, "nap")
    eventually([["celery"]], lambda: asked(sidecar, _SAMPLED))
    assert "management API is not read: HTTP Error 401" in sidecar.log
    assert "secret" not in sidecar.log
