"""Metrics of what surrounds the work: queues, limits, what is usual, processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from alerts.standing import EVERY_US, Standing
from tests.detectors.harness import NOW_US, hot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_D = {"side": "dispatcher", "service": "oxr", "instance": "oxr-1"}
_A = {"side": "agent", "service": "agent", "task_name": "sync"}
_QUEUE = {**_D, "phase": "queue.sampled", "kind": "queue", "queue": "mail"}

Said = dict[str, dict[tuple[str, ...], float]]


def _told(standing: Standing) -> Said:
    """Return the samples: by name, by label values."""
    found: Said = {}
    for family in standing.collect():
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def said(signals: Sequence[Mapping[str, Any]], labels_max: int = 100) -> Said:
    standing = Standing(labels_max=labels_max)
    standing.look(hot(signals), NOW_US)
    return _told(standing)


def test_a_queue_is_told_as_it_was_sampled_last() -> None:
    """With what the sample had, and nothing else."""
    told = said([
        {**_QUEUE, "t": -60, "depth": 9.0, "paused": True},
        {**_QUEUE, "t": -10, "depth": 7.0, "oldest_age_s": 30.0, "completed_total": 400.0},
    ])  # fmt: skip
    assert {name: values for name, values in told.items() if "_queue_" in name} == {
        "zombiewatch_queue_depth": {("mail",): 7.0},
        "zombiewatch_queue_oldest_age_seconds": {("mail",): 30.0},
        "zombiewatch_queue_completed_total": {("mail",): 400.0},
    }


@pytest.mark.parametrize(("t", "told"), [(-599, True), (-600, False)])
def test_a_queue_that_is_sampled_no_more_vanishes(t: int, *, told: bool) -> None:
    """After ten minutes: what it had then is no news."""
    assert ("zombiewatch_queue_depth" in said([{**_QUEUE, "t": t, "depth": 1.0}])) == told


def test_a_limit_stands_beside_what_is_usual() -> None:
    """A time-out of 5 s for runs that take 10."""
    told = said([
        {**_D, "t": -20, "phase": "dispatched", "task": "t", "task_name": "sync", "queue": "q"}
        | {"timeout_s": 5.0},
        {**_A, "t": -20, "phase": "started", "task": "t"},
        {**_A, "t": -10, "phase": "finished", "task": "t", "outcome": "success"},
    ])  # fmt: skip
    assert told["zombiewatch_limit_seconds"] == {("run", "oxr", "sync", "q"): 5.0}
    usual = told["zombiewatch_usual_seconds"]
    assert usual["run", "oxr", "sync", "0.99"] == pytest.approx(10, rel=0.1)


def test_a_limit_of_a_call_bears_its_purpose() -> None:
    """As calls have no task name."""
    call = {"request_id": "r", "purpose": "report", "call_timeout_s": 2.0, "retry_window_s": 9.0}
    told = said([{**_A, "task_name": None, "t": -20, "phase": "call.sent", **call}])
    assert told["zombiewatch_limit_seconds"] == {
        ("call", "agent", "report", ""): 2.0,
        ("retries", "agent", "report", ""): 9.0,
    }


def test_processes_are_heard_or_silent() -> None:
    """Those that said that they stop are neither, nor those that were silent for an hour."""
    beat = {**_A, "task_name": None, "phase": "heartbeat"}
    told = said([
        {**beat, "instance": "a", "t": -119},
        {**beat, "instance": "b", "t": -120},
        {**beat, "instance": "c", "t": -3600},
        {**beat, "instance": "d", "t": -5, "phase": "instance.stopped"},
        {**_D, "t": -5, "phase": "enqueued", "task": "t"},
    ])  # fmt: skip
    assert told["zombiewatch_processes"] == {
        ("agent", "agent", "heard"): 1,
        ("agent", "agent", "silent"): 1,
        ("dispatcher", "oxr", "heard"): 1,
        ("dispatcher", "oxr", "silent"): 0,
    }


def test_it_looks_now_and_then() -> None:
    """None of it changes fast."""
    standing = Standing(labels_max=9)
    standing.look(hot([]), NOW_US)
    one = hot([{**_QUEUE, "t": -10, "depth": 1.0}])
    standing.look(one, NOW_US + EVERY_US - 1)
    assert "zombiewatch_queue_depth" not in _told(standing)
    standing.look(one, NOW_US + EVERY_US)
    assert "zombiewatch_queue_depth" in _told(standing)


def test_names_are_bounded() -> None:
    """Names with IDs in them must not fill Prometheus; the longest limit stands for the rest."""
    told = said(
        [
            {**_D, "t": -20, "phase": "dispatched", "task": f"t{at}", "task_name": f"name-{at:02}"}
            | {"timeout_s": float(at)}
            for at in range(12)
        ],
        labels_max=1,
    )["zombiewatch_limit_seconds"]
    assert len(told) == 11
    assert told["run", "__other__", "__other__", "__other__"] == 11.0
