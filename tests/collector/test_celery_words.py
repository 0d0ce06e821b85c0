"""Celery's events, one by one: which attempt and which life they are of, and what is made of them.

The events are those that Celery 5.7 sent, shortened.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.pipeline import Pipeline, Record
from collector.presets import load
from collector.receivers.celery.words import Asked, Words
from model.phases import TASK
from tests.collector.stores import Turned

_W = {"hostname": "w1@host", "pid": 11}
_T = {"uuid": "t1"}


def _words(clock: Turned | None = None, **more: Any) -> Words:
    return Words(clock or Turned(), **more)


def _received(retries: int = 0, **more: Any) -> dict[str, Any]:
    return {"type": "task-received", "timestamp": 1.0, "name": "app.add", "retries": retries,
            "args": "('secret',)", "kwargs": "{}", **_W, **_T, **more}  # fmt: skip


def _event(kind: str, at_s: float = 2.0, **more: Any) -> dict[str, Any]:
    return {"type": kind, "timestamp": at_s, **_W, **_T, **more}


def _beat(at_s: float, active: int, processed: int = 1, **more: Any) -> dict[str, Any]:
    said = {"type": "worker-heartbeat", "timestamp": at_s, "active": active, "freq": 2.0}
    return said | _W | {"processed": processed} | more


def _all(words: Words, *events: dict[str, Any]) -> list[tuple[str, int | None]]:
    """Return the events' lines: name and attempt."""
    found = [line for event in events for line in words.lines(event)[0]]
    return [(line["event.name"], line.get("task.attempt")) for line in found]


def test_a_retry_is_another_attempt_though_it_is_received_before_the_first_has_ended() -> None:
    """Celery tells of the second's receipt first: only the number in it tells them apart."""
    said = _all(
        _words(),
        _received(0),
        _event("task-started"),
        _received(1),
        _event("task-retried"),
        _event("task-started"),
        _event("task-succeeded"),
    )
    assert said == [
        ("message-delivered", 1),
        ("task-received", 1),
        ("task-started", 1),
        ("message-delivered", 2),
        ("task-received", 2),
        ("task-retried", 1),
        ("retry-asked", 1),
        ("task-started", 2),
        ("task-succeeded", 2),
    ]


def test_a_task_that_is_delivered_again_is_another_run_of_the_same_attempt() -> None:
    """Two workers have it; each ends its own."""
    words = _words()
    other: dict[str, Any] = {"hostname": "w2@host", "pid": 22}
    _all(words, _received(), _event("task-started"), _received(**other))
    lines, ended = words.lines(_event("task-started", **other))
    assert [(one["service.instance.id"], one["task.attempt"]) for one in lines] == [("w2@host", 1)]
    assert ended == []
    lines, ended = words.lines(_event("task-succeeded"))
    assert lines[0]["service.instance.id"] == "w1@host"
    assert ended == [Asked("t1", 1, "app.add", 2.0)]


def test_arguments_and_results_are_not_kept() -> None:
    """What they are is nobody's business here; an exception's text is."""
    words = _words()
    lines = [
        *words.lines(_received())[0],
        *words.lines(_event("task-failed", exception="KeyError('x')", result="42"))[0],
    ]
    assert not any({"args", "kwargs", "result"} & line.keys() for line in lines)
    assert lines[-1]["exception"] == "KeyError('x')"


def test_what_is_open_for_long_is_asked_for_ever_less_often() -> None:
    """By its result; since it was sent, or since its last run began."""
    clock = Turned()
    words = _words(clock)
    now_s = clock() / 1e6
    words.lines({"type": "task-sent", "timestamp": 1.0, "uuid": "sent", "hostname": "web@h"})
    words.lines(_received(uuid="t1", retries=1))
    words.lines(_event("task-started", now_s + 1, uuid="t1"))
    words.lines(_received(uuid="over"))
    words.lines(_event("task-started", uuid="over"))
    words.lines(_event("task-succeeded", uuid="over"))
    asked = []
    for _ in range(40):
        asked.append(len(words.unended(10)))
        clock.on(10)
    # a minute after it was heard of, and then two, and four
    assert [at * 10 for at, number in enumerate(asked) if number] == [60, 180]
    clock.on(60)
    assert words.unended(10) == [
        Asked("sent", 1, None, now_s),
        Asked("t1", 2, "app.add", now_s + 1),
    ]
    clock.on(9_999)
    words.told("sent")
    assert [one.task for one in words.unended(1)] == ["t1"]


def test_a_worker_that_had_only_lost_its_broker_is_there_as_before() -> None:
    """Celery says offline and online when it connects again; what it runs goes on."""
    words = _words()
    _all(words, _received(), _event("task-started"), _beat(3, 1))
    assert _all(words, _beat(5, 1, type="worker-offline")) == [("worker-drains", None)]
    assert words.alive() == []
    _all(words, _beat(6, 1, type="worker-online"), _beat(7, 1))
    assert words.alive() == [("w1@host", False)]
    said = _all(words, _event("task-succeeded", 9.0))
    assert said == [("task-succeeded", 1)], "it has not stopped"


def test_a_worker_that_is_silent_while_it_works_is_there_as_long_as_it_works() -> None:
    """One whose pool is its own thread: its queue waits, and is not forsaken."""
    clock = Turned()
    words = _words(clock)
    _all(words, _beat(1, 0), _received(), _event("task-started"))
    clock.on(600)
    assert words.alive() == [("w1@host", False)]
    _all(words, _event("task-succeeded"))
    clock.on(61)
    assert words.alive() == []


def test_a_start_whose_receipt_was_not_heard_is_a_run_of_its_own_worker() -> None:
    """And its end ends it: nobody else's run is touched."""
    words = _words()
    other: dict[str, Any] = {"hostname": "w2@host", "pid": 22}
    _all(words, _received(), _event("task-started"))
    said = words.lines(_event("task-started", 5.0, **other))[0]
    assert (said[0]["service.instance.id"], said[0]["task.attempt"]) == ("w2@host", 1)
    _all(words, _event("task-succeeded", 6.0, **other))
    beats = [name for at in (20.0, 22.0, 24.0) for name, _ in _all(words, _beat(at, 0, **other))]
    assert set(beats) == {"worker-heartbeat"}, "nothing of it is left"
    assert _all(words, _event("task-succeeded")) == [("task-succeeded", 1)]


def test_an_end_is_that_of_the_last_attempt_that_began() -> None:
    """That the first one was to be tried again was said unheard."""
    words = _words()
    _all(words, _received(0), _event("task-started"), _received(1), _event("task-started"))
    assert _all(words, _event("task-succeeded")) == [("task-succeeded", 2)]
    assert words.unended(10) == []


def test_a_run_that_was_canceled_because_the_broker_was_lost_is_given_back() -> None:
    """Celery 5.7 says so; the message is delivered again."""
    words = _words()
    _all(words, _received(), _event("task-started"))
    lines, ended = words.lines(_event("task-cancelled"))
    assert ([line["event.name"] for line in lines], ended) == (["task-cancelled"], [])
    assert _all(words, _beat(20, 0), _beat(22, 0)) == [("worker-heartbeat", None)] * 2


def test_a_worker_that_works_and_tells_of_no_task_is_mute() -> None:
    """What it has taken cannot be known; one that has done nothing since we came may yet speak."""
    words = _words()
    _all(words, _beat(1, 0, 7), _beat(3, 0, 7))
    assert not words.mute()
    _all(words, _beat(5, 1, 8))
    assert words.mute()
    _all(words, _received())
    assert not words.mute()


def _early(words: Words, task: str, name: str) -> bool:
    """Return whether *task*, that is received now, is said to be acknowledged early."""
    lines, _ = words.lines(_received(uuid=task, name=name))
    return bool(lines[1]["acks_early"])


def test_what_the_broker_waits_for_while_it_runs_is_acknowledged_late() -> None:
    """And so is what else bears that name; what only waits at its worker says nothing."""
    clock = Turned()
    words = _words(clock)
    now_s = clock() / 1e6
    assert _early(words, "t1", "app.late")
    assert not words.held("t1", "app.late"), "it has not begun"
    words.lines(_event("task-started", now_s))
    assert not words.held("t1", "app.late"), "its acknowledgement may be on its way"
    clock.on(6)
    assert words.held("t1", "app.late")
    assert not words.held("another", "app.other")
    assert not _early(words, "t2", "app.late")
    assert _early(words, "t3", "app.other")
    assert not _early(_words(acks_late=True), "t1", "app.any")


@pytest.mark.parametrize(("results", "said"), [(True, None), (False, False)])
def test_without_a_result_backend_no_end_is_to_be_recorded(
    results: bool,  # noqa: FBT001
    said: bool | None,  # noqa: FBT001
) -> None:
    """Whatever way it ends, also where only the worker's idleness tells."""
    for kind in ("task-succeeded", "task-failed", "task-revoked"):
        words = _words(results=results)
        _all(words, _received())
        assert words.lines(_event(kind))[0][0].get("reports") is said
    words = _words(results=results)
    _all(words, _received(), _event("task-started", 10.0), _beat(13, 0))
    beat, gone = words.lines(_beat(15, 0))[0]
    assert gone.get("reports") is said
    assert "reports" not in beat


def _boots(*events: dict[str, Any]) -> list[str]:
    words = _words()
    return [line["instance.boot"] for event in events for line in words.lines(event)[0]
            if "instance.boot" in line]  # fmt: skip


@pytest.mark.parametrize(
    ("events", "lives"),
    [
        pytest.param([_beat(1, 0), _beat(3, 0)], 1, id="it goes on"),
        pytest.param([_beat(1, 0), _beat(3, 0, pid=12)], 2, id="another process"),
        pytest.param([_beat(1, 1, 5), _beat(3, 0, 2)], 2, id="it counts from its beginning"),
        pytest.param(
            [_beat(1, 1, 5), _beat(3, 0, 5, type="worker-online")], 1, id="it found its broker"
        ),
        pytest.param(
            [_event("task-started"), _beat(3, 0, 0, type="worker-online")],
            2,
            id="a container's first process, again, before it told a count",
        ),
        pytest.param(
            [_event("task-started"), _beat(3, 0, 0)],
            2,
            id="the same, and that it is online was not heard",
        ),
    ],
)
def test_lives_of_a_worker_are_told_apart(events: list[dict[str, Any]], lives: int) -> None:
    """By process ID and by what it counts: in a container every life is process 1."""
    assert len(set(_boots(*events))) == lives


def test_a_worker_that_runs_nothing_has_ended_what_it_began() -> None:
    """Two beats in a row, and both well after it began: else its end may be on its way."""
    words = _words()
    _all(words, _received(), _event("task-started", 10.0))
    assert _all(words, _beat(11, 0), _beat(11.5, 0)) == [("worker-heartbeat", None)] * 2
    assert _all(words, _beat(13, 1), _beat(15, 0)) == [("worker-heartbeat", None)] * 2
    lines, ended = words.lines(_beat(17, 0))
    assert [one["event.name"] for one in lines] == ["worker-heartbeat", "run-gone"]
    assert ended == [Asked("t1", 1, "app.add", 10.0)]
    assert words.lines(_beat(19, 0))[1] == []


def test_only_a_worker_that_was_heard_at_work_promises_a_beat() -> None:
    """One whose pool is its own thread is silent while it works: that is no death."""
    words = _words()
    promised = [
        words.lines(one)[0][0]["beats_at_work"] for one in (_beat(1, 0), _beat(3, 1), _beat(5, 0))
    ]
    assert promised == [False, True, True]


def test_a_worker_that_is_told_to_stop_has_stopped_when_its_last_run_has_ended() -> None:
    """It says so at once, and then works on in silence: that is neither death nor the end."""
    words = _words()
    other: dict[str, Any] = {"uuid": "t2"}
    _all(words, _received(), _received(**other), _beat(1.5, 0))
    _all(words, _event("task-started"), _event("task-started", **other), _beat(3, 2))
    assert words.alive() == [("w1@host", False)]
    [drains] = words.lines(_beat(4, 2, type="worker-offline"))[0]
    assert (drains["event.name"], drains["drain_s"]) == ("worker-drains", 600.0)
    assert words.alive() == [], "it takes nothing more"
    assert _all(words, _event("task-succeeded", 90.0)) == [("task-succeeded", 1)]
    lines, ended = words.lines(_event("task-succeeded", 95.0, **other))
    assert [one["event.name"] for one in lines] == [
        "task-succeeded",
        "worker-heartbeat",
        "worker-offline",
    ]
    assert [one["ts"] for one in lines] == [95.0] * 3
    assert (lines[1]["freq"], lines[1]["beats_at_work"]) == (2.0, True)
    assert len({one["instance.boot"] for one in (drains, *lines)}) == 1
    assert len(ended) == 1


def test_who_lives_and_what_was_sent_when_is_told_by_our_clock() -> None:
    """Theirs may be minutes off: the events say 1970."""
    clock = Turned()
    words = _words(clock)
    _all(words, _beat(1, 0), {**_event("task-sent"), "retries": 0})
    assert words.sent_s("t1") == clock() / 1e6
    clock.on(59)
    assert words.alive() == [("w1@host", True)]
    clock.on(2)
    assert words.alive() == []


def test_a_worker_that_runs_nothing_stops_at_once() -> None:
    """As after a deployment at a quiet time."""
    words = _words()
    assert _all(words, _beat(1, 0), _beat(2, 0, type="worker-offline")) == [
        ("worker-heartbeat", None),
        ("worker-offline", None),
    ]


def test_it_goes_on_from_what_was_open_before_it_began() -> None:
    """The third attempt was running: what is told of it next is not the first's."""
    words = _words()
    words.remember([("t1", 3, "w1@host", "11", "app.add", 1.0)])
    lines, ended = words.lines(_event("task-succeeded", 9.0))
    assert lines[0]["task.attempt"] == 3
    assert lines[0]["instance.boot"] == "11"
    assert ended == [Asked("t1", 3, "app.add", 1.0)]


@pytest.mark.parametrize("event", [{}, {"type": "task-sent"}, {"type": 1, "timestamp": 1.0}])
def test_what_is_no_event_is_refused(event: dict[str, Any]) -> None:
    """It is counted as unreadable."""
    with pytest.raises(ValueError, match="no type or no timestamp"):
        _words().lines(event)


def test_kinds_of_events_are_counted_within_a_number() -> None:
    """Whoever publishes on that exchange may make up as many as they like."""
    words = _words()
    for number in range(300):
        words.lines({"type": f"made-up-{number}", "timestamp": 1.0})
    assert len(words.counts) == 101
    assert sum(words.counts.values()) == 300


_ANY = st.dictionaries(
    st.sampled_from(["type", "timestamp", "uuid", "hostname", "pid", "retries", "active",
                     "processed", "freq", "name", "eta", "queue", "exception"]),
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.floats(allow_nan=False),
              st.sampled_from(["t1", "w@h", "task-sent", "task-received", "task-started",
                               "task-succeeded", "task-retried", "task-revoked", "task-rejected",
                               "worker-online", "worker-heartbeat", "worker-offline", "task-x"])),
)  # fmt: skip


@given(st.lists(_ANY, max_size=30))
def test_whatever_it_is_told_it_says_lines_or_refuses(events: list[dict[str, Any]]) -> None:
    """Others publish on the same exchange, and other versions say other things."""
    words = _words()
    for event in events:
        try:
            lines, _ = words.lines(event)
        except ValueError:
            continue
        assert lines
        assert all("event.name" in line for line in lines)


_PHASES = {
    "task-sent": "enqueued",
    "message-delivered": "dispatched",
    "message-unacknowledged": "dispatched",
    "result-stored": "recorded",
    "result-ignored": "recorded",
    "retry-asked": "requeued",
    "worker-online": "instance.started",
    "worker-offline": "instance.stopped",
    "worker-drains": "heartbeat",
    "task-received": "accepted",
    "task-started": "started",
    "task-succeeded": "finished",
    "task-failed": "finished",
    "task-retried": "finished",
    "task-revoked": "finished",
    "task-rejected": "finished",
    "task-cancelled": "finished",
    "run-gone": "finished",
}


def test_the_preset_knows_each_word() -> None:
    """Each line becomes a signal with its phase, task, attempt and side."""
    preset = load("celery")
    pipeline = Pipeline(namespace="n", sides=preset.sides, rules=preset.rules)
    words = _words()
    lines = []
    for event in (
        _event("task-sent", queue="q", name="app.add", retries=0),
        _received(),
        _event("task-started"),
        _event("task-succeeded"),
        *(
            one
            for kind in (
                "task-failed",
                "task-retried",
                "task-revoked",
                "task-rejected",
                "task-cancelled",
            )
            for one in (_received(), _event(kind, exception="TimeLimitExceeded(5,)"))
        ),
        _beat(1, 0, type="worker-online"),
        _beat(2, 1),
        _beat(3, 0, type="worker-offline"),
    ):
        lines += words.lines(event)[0]
    seen = {line["event.name"] for line in lines}
    for name in _PHASES.keys() - seen:
        service = "celery-worker" if name in {"run-gone", "worker-drains"} else "celery"
        lines.append({"event.name": name, "ts": 1.0, "service.name": service, "uuid": "t1"})
    body = b"\n".join(orjson.dumps(line) for line in lines)
    table, _ = pipeline.signals([Record(1, "events", 2_000_000, {}, body)])
    pipeline.close()
    rows = table.to_pylist()
    phases = {row["name"]: row["phase"] for row in rows if row["name"] != "worker-heartbeat"}
    assert phases == _PHASES
    assert {row["way"] for row in rows} == {"events"}
    assert {row["side"] for row in rows} == {"agent", "dispatcher"}
    of_tasks = [row for row in rows if row["phase"] in TASK and row["phase"] != "heartbeat"]
    assert {row["task"] for row in of_tasks} == {"t1"}
    outcomes = {row["name"]: row["outcome"] for row in rows if row["outcome"]}
    assert outcomes == {
        "task-succeeded": "success",
        "task-failed": "timeout",
        "task-retried": "failure",
        "task-revoked": "canceled",
        "task-rejected": "failure",
        "task-cancelled": "yielded",
        "run-gone": "unknown",
    }
    [beat] = [row for row in rows if row["name"] == "worker-heartbeat" and row["phase"]]
    assert beat["beat_s"] == 2.0
