"""When a queue of Celery's is said to have no consumer, and how old what waits is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from collector.receivers.celery.redis.queues import Queues
from collector.receivers.celery.words import Words
from tests.celery._installation import Redis
from tests.collector.stores import START_US, Turned

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOW = START_US / 1e6


@pytest.fixture
def client(tmp_path: Any) -> Iterator[Any]:
    """Return a connection to a real Redis."""
    server = Redis(tmp_path)
    server.start()
    with server.client() as made:
        yield made
    server.stop()


def _message(task: str) -> str:
    headers = {"id": task, "task": "app.add", "retries": 1, "eta": None}
    return json.dumps({"body": "", "headers": headers, "properties": {}})


def _beat(words: Words, active: int, worker: str = "w1@h") -> None:
    said = {"hostname": worker, "pid": 1, "timestamp": 1.0, "freq": 2.0, "processed": 0}
    words.lines({"type": "worker-heartbeat", "active": active, **said})


def _consumers(queues: Queues, clock: Turned, looks: int) -> list[int | None]:
    """Return what each look says of consumers; ten seconds lie between two."""
    found = []
    for _ in range(looks):
        [line] = queues.look(clock() / 1e6, 0.0)
        found.append(line.get("queue.consumers"))
        clock.on(10)
    return found


@pytest.mark.parametrize(
    ("active", "consumers"),
    [
        pytest.param([0], [1, None, 0, 0], id="idle beside a queue that does not move"),
        pytest.param([1], [1, None, None, None], id="busy: it may take it when it is done"),
        pytest.param([0, 1], [2, None, None, None], id="one of two is busy"),
        pytest.param([], [None] * 4, id="nobody was ever heard to beat"),
    ],
)
def test_nobody_takes_from_it_only_where_workers_could(
    client: Any, active: list[int], consumers: list[int | None]
) -> None:
    """A queue that stands still beside busy workers, or unheard ones, proves nothing."""
    clock = Turned()
    words = Words(clock)
    for number, one in enumerate(active):
        _beat(words, one, f"w{number}@h")
    client.lpush("celery", _message("t1"))
    assert (
        _consumers(Queues(client, words, names=["celery"], visibility_s=60), clock, 4) == consumers
    )


def test_a_queue_that_moves_has_who_takes_from_it(client: Any) -> None:
    """Each time another one is next."""
    clock = Turned()
    words = Words(clock)
    _beat(words, 0)
    queues = Queues(client, words, names=["celery"], visibility_s=60)
    for number in range(4):
        client.delete("celery")
        client.lpush("celery", _message(f"t{number}"))
        assert _consumers(queues, clock, 1) == [1]


def test_when_all_that_beat_are_gone_nobody_takes_from_it(client: Any) -> None:
    """They were heard once: a minute later their silence says that none is left."""
    clock = Turned()
    words = Words(clock)
    _beat(words, 1)
    client.lpush("celery", _message("t1"))
    queues = Queues(client, words, names=["celery"], visibility_s=60)
    assert _consumers(queues, clock, 8) == [1, None, None, None, None, None, 0, 0]


def test_priorities_are_of_one_queue_and_the_next_one_has_an_age(client: Any) -> None:
    """Its sender's word tells since when it waits; without that, since we saw it first."""
    clock = Turned()
    words = Words(clock)
    for number, key in enumerate(("celery", "celery\x06\x163", "celery\x06\x169")):
        client.lpush(key, _message(f"t{number}"))
    words.lines({"type": "task-sent", "uuid": "t0", "timestamp": 1.0, "hostname": "web@h"})
    clock.on(40)
    queues = Queues(client, words, names=["celery"], visibility_s=60)
    [line] = queues.look(clock() / 1e6, 0.0)
    assert (line["queue.depth"], line["queue.oldest_age_s"]) == (3, 40)
    client.rpop("celery")
    [line] = queues.look(clock() / 1e6, 0.0)
    assert (line["queue.depth"], line["queue.oldest_age_s"]) == (2, 0)
    clock.on(7)
    [line] = queues.look(clock() / 1e6, 0.0)
    assert line["queue.oldest_age_s"] == 7


@pytest.mark.parametrize(
    ("age_s", "heard_since_s", "told"),
    [(31, _NOW - 100, True), (29, _NOW - 100, False), (31, _NOW - 31.5, False)],
)
def test_what_was_handed_out_long_ago_is_told_once_if_we_listened_then(
    client: Any,
    age_s: float,
    heard_since_s: float,
    told: bool,  # noqa: FBT001
) -> None:
    """Else the worker's word of it would have been missed, and it would look like a zombie."""
    clock = Turned()
    queues = Queues(client, Words(clock), names=["celery"], visibility_s=60)
    client.hset("unacked", "tag", json.dumps([json.loads(_message("t1")), "", "celery"]))
    client.zadd("unacked_index", {"tag": _NOW - age_s})
    first, second = (queues.look(_NOW, heard_since_s)[1:] for _ in range(2))
    assert second == []
    if told:
        [line] = first
        assert (line["event.name"], line["uuid"]) == ("message-unacknowledged", "t1")
        assert (line["task.attempt"], line["queue"], line["ts"]) == (2, "celery", _NOW - age_s)
    else:
        assert first == []


def test_what_is_held_while_it_runs_is_told_once_more(client: Any) -> None:
    """Its run had not begun at the first look: only now it is known to be acknowledged late."""
    clock = Turned()
    words = Words(clock)
    queues = Queues(client, words, names=["celery"], visibility_s=60)
    client.hset("unacked", "tag", json.dumps([json.loads(_message("t1")), "", "celery"]))
    client.zadd("unacked_index", {"tag": _NOW - 31})
    of = {"uuid": "t1", "hostname": "w1@h", "pid": 1}
    words.lines({"type": "task-received", "timestamp": _NOW - 31, "retries": 1, **of})
    [first] = queues.look(_NOW, _NOW - 100)[1:]
    assert "acks_early" not in first
    words.lines({"type": "task-started", "timestamp": _NOW, **of})
    assert queues.look(_NOW, _NOW - 100)[1:] == []
    clock.on(6)
    assert queues.look(_NOW + 6, _NOW - 100)[1:] == [first | {"acks_early": False}]
    assert queues.look(_NOW + 6, _NOW - 100)[1:] == []


def test_many_that_are_held_for_long_hide_none(client: Any) -> None:
    """A hundred at a look: those that wait for their ETA are not looked at again and again."""
    clock = Turned()
    queues = Queues(client, Words(clock), names=["celery"], visibility_s=60)
    for at in range(250):
        client.hset(
            "unacked", f"tag{at}", json.dumps([json.loads(_message(f"t{at}")), "", "celery"])
        )
        client.zadd("unacked_index", {f"tag{at}": _NOW - 500 + at})
    told = [line["uuid"] for _ in range(8) for line in queues.look(_NOW, _NOW - 999)[1:]]
    assert sorted(told) == sorted(f"t{at}" for at in range(250))


def test_priorities_and_their_separator_are_as_the_broker_has_them(client: Any) -> None:
    """`broker_transport_options` of Celery's own documentation."""
    client.sadd("_kombu.binding.celery", "celery::celery")
    for number, key in enumerate(("celery", "celery:1", "celery:9")):
        client.lpush(key, _message(f"t{number}"))
    more: Any = {"separator": ":", "priorities": range(10)}
    [line] = Queues(client, Words(Turned()), visibility_s=60, **more).look(_NOW, 0.0)
    assert (line["queue.name"], line["queue.depth"]) == ("celery", 3)


def test_queues_are_found_and_those_of_events_and_control_are_left_out(client: Any) -> None:
    """By what kombu notes of who is bound to what."""
    for exchange, member in (
        ("celery", "celery\x06\x16\x06\x16celery"),
        ("mail", "mail\x06\x16\x06\x16mail"),
        ("celeryev", "#\x06\x16\x06\x16celeryev.06ce6501"),
        ("celery.pidbox", "\x06\x16\x06\x16w1@h.celery.pidbox"),
        ("reply.celery.pidbox", "x\x06\x16\x06\x16x.reply.celery.pidbox"),
    ):
        client.sadd(f"_kombu.binding.{exchange}", member)
    lines = Queues(client, Words(Turned()), visibility_s=60).look(_NOW, 0.0)
    assert [line["queue.name"] for line in lines] == ["celery", "mail"]
