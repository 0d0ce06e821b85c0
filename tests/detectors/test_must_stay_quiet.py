"""Situations that users complain of because their scheduler, or a monitor, raised a false alarm.

Each is given to all detectors at once, through the real fold and judge, amid what is usual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from detectors._judge import Judge
from detectors._kit import load
from tests.detectors.harness import NOW_US, Memory, hot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_A = {"side": "agent", "service": "agent", "instance": "agent-1", "boot": "b1", "host": "h1"}
_D = {"side": "dispatcher", "service": "oxr", "instance": "oxr-1", "host": "h2"}
_T = {"task": "t1", "task_name": "sync", "queue": "mail"}

Rows = list[dict[str, Any]]


def _beats(begin: float, end: float = 0.0, step: float = 10.0, **more: Any) -> Rows:
    """Return heartbeats of the agent, or of the task that *more* names, every *step* seconds."""
    number = int((end - begin) / step) + 1
    return [
        {**_A, "t": begin + i * step, "phase": "heartbeat", "beat_s": step, **more}
        for i in range(number)
    ]


def _usual() -> Rows:
    """Return what is heard while all is well: both sides, and 20 tasks from start to end."""
    rows = _beats(-4000.0, 0.0)
    for i in range(20):
        at, task = -3900.0 + i * 190, {"task": f"u{i}", "task_name": "sync", "queue": "mail"}
        rows += [
            {**_D, **task, "t": at, "phase": "enqueued"},
            {**_D, **task, "t": at + 1, "phase": "dispatched"},
            {**_A, **task, "t": at + 2, "phase": "started"},
            {**_A, **task, "t": at + 62, "phase": "finished", "outcome": "success"},
            {**_D, **task, "t": at + 63, "phase": "recorded", "state": "success"},
        ]
    return rows


def _begun(at: float, **more: Any) -> Rows:
    """Return a task that was handed out *at*, and that its agent began a second later."""
    return [
        {**_D, **_T, "t": at - 1, "phase": "enqueued", **more},
        {**_D, **_T, "t": at, "phase": "dispatched", **more},
        {**_A, **_T, "t": at + 1, "phase": "started", **more},
    ]


def _ended(at: float) -> Rows:
    """Return the end of that task *at*, and that it was recorded a second later."""
    return [
        {**_A, **_T, "t": at, "phase": "finished", "outcome": "success"},
        {**_D, **_T, "t": at + 1, "phase": "recorded", "state": "success"},
    ]


SITUATIONS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    # nothing but the background of all others
    "all is well": [],
    # Prefect 16459: an automation crashed a run that was sending heartbeats all the time
    "a run beats all the time, and is not declared crashed": [
        *_begun(-1000),
        *_beats(-990, -10, 30.0, **_T),
    ],
    # Prefect 18653: a heartbeat sent after the completed state, while the process exits
    "a heartbeat comes between completion and the exit of the process": [
        *_begun(-600),
        *_beats(-590, -290, 30.0, **_T),
        *_ended(-280),
        *_beats(-279, -270, 9.0, **_T),
    ],
    # Airflow 29455: called a zombie seconds after it began, though no heartbeat was due yet
    "a task that began a moment ago has not sent its first heartbeat": [*_begun(-12, beat_s=300.0)],
    # Airflow 13747: the local side waits in silence while the work runs on another server
    "the work goes on on a remote server, and the task itself says nothing": [*_begun(-3000)],
    # the same for deferral: the worker lets go of it and a trigger waits
    "a task was deferred, and what it waits for takes an hour": [
        *_begun(-3600),
        {**_A, **_T, "t": -3590, "phase": "finished", "outcome": "yielded"},
    ],
    # Airflow 48719: the server took it for queued again, and refused the heartbeats of its run
    "a task beats on while the scheduler says that it is queued again": [
        *_begun(-200),
        *_beats(-190, -10, 10.0, **_T),
        {**_D, **_T, "t": -60, "phase": "enqueued"},
    ],
    # Airflow 63774: heartbeats were refused because the host has another name by now
    "the host of a running task is called otherwise from one heartbeat to the next": [
        *_begun(-200),
        *_beats(-190, -100, 10.0, **_T),
        *_beats(-90, -10, 10.0, **{**_T, "host": "h1.example"}),
    ],
    # RQ 1103: put among the failed jobs while it was running, and then it succeeded
    "a long job sends no heartbeat, and ends well": [*_begun(-3500), *_ended(-30)],
    # the stuck clock of a monitor started when the task was put into the queue
    "a task waited for two hours before it began, and has run for a minute": [
        {**_D, **_T, "t": -7200, "phase": "enqueued", "timeout_s": 600.0},
        {**_D, **_T, "t": -61, "phase": "dispatched", "timeout_s": 600.0},
        {**_A, **_T, "t": -60, "phase": "started", "timeout_s": 600.0},
    ],
    # silence in the log was taken for death
    "a task has logged nothing for an hour, and its agent lives": [
        *_begun(-3700),
        *({**_A, **_T, "t": -3690 + i, "body": f"step {i}"} for i in range(20)),
    ],
    # Airflow 12396: called a zombie seconds after its success, before the end was processed
    "a task has just succeeded, and that is not recorded yet": [*_begun(-300), _ended(-3)[0]],
    # RQ 2424: `Job OK` in the worker's log, and abandoned later for its expired score
    "a heartbeat stopped because the task is done": [
        *_begun(-900),
        *_beats(-890, -500, 30.0, **_T),
        *_ended(-490),
    ],
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_no_alarm(situation: str) -> None:
    """Nothing is confirmed by any detector, at that moment and half a minute later."""
    rows = [*_usual(), *SITUATIONS[situation]]
    judge = Judge(load(), Memory())
    for later in (0, 30):
        now_us = NOW_US + later * 1_000_000
        relations = hot([*rows, *(_beats(1, later) if later else [])])
        report = judge.evaluate(relations, now_us, heard_us=now_us)
        relations.close()
        assert not report.failed
    found = [(one.detector, one.subject) for one in judge.open.values() if one.confirmed_us]
    assert found == []


def test_the_same_zombie_is_not_found_again_and_again() -> None:
    """Airflow 51969: one zombie was found and purged several times. Here it is told once."""
    rows = [*_usual(), {**_D, **_T, "t": -300, "phase": "dispatched"}]
    keeper = Memory()
    judge = Judge(load(), keeper)
    relations = hot(rows)
    for later in range(0, 60, 10):
        now_us = NOW_US + later * 1_000_000
        judge.evaluate(relations, now_us, heard_us=now_us)
    found = [one for one in keeper.saved.values() if one.task == "t1"]
    assert [(one.detector, one.verdict) for one in found] == [("zombie_task", "confirmed")]
    assert judge.totals["zombie_task", "confirmed"] == 1
