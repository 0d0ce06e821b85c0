"""Metrics of the work itself: each attempt is counted once, and what is open has a state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from alerts.work import BUCKETS_S, Work
from tests.detectors.harness import NOW_US, hot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SECOND = 1_000_000
_D = {"side": "dispatcher", "service": "oxr", "task_name": "sync", "queue": "q"}
_A = {"side": "agent", "service": "agent", "task_name": "sync", "queue": "q", "instance": "a-1"}


def _said(work: Work) -> dict[str, dict[tuple[str, ...], float]]:
    """Return the samples: by name, by label values."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in work.collect():
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def _looked(signals: Sequence[Mapping[str, Any]], since_s: float = -1000, **more: Any) -> Work:
    work = Work(NOW_US + round(since_s * SECOND), labels_max=more.pop("labels_max", 100))
    work.look(hot(signals), NOW_US)
    return work


_LIFE: Sequence[Mapping[str, Any]] = [
    {**_D, "t": -100, "phase": "enqueued", "task": "t1"},
    {**_D, "t": -90, "phase": "dispatched", "task": "t1"},
    {**_A, "t": -89, "phase": "started", "task": "t1"},
    {**_A, "t": -49, "phase": "finished", "task": "t1", "outcome": "success"},
    {**_D, "t": -48, "phase": "recorded", "task": "t1", "state": "failure"},
]


def test_each_phase_of_an_attempt_is_counted_once() -> None:
    """However often it is looked at, and though its words came twice."""
    work = _looked([*_LIFE, *_LIFE])
    again = hot(_LIFE)
    for seconds in (5, 10, 20, 40):
        work.look(again, NOW_US + seconds * SECOND)
    assert _said(work)["zombiewatch_tasks_total"] == {
        ("enqueued", "sync", "q", ""): 1,
        ("dispatched", "sync", "q", ""): 1,
        ("started", "sync", "q", ""): 1,
        ("finished", "sync", "q", "success"): 1,
        ("recorded", "sync", "q", "failure"): 1,
    }


@pytest.mark.parametrize(("since_s", "counted"), [(-50, 2), (-49, 1), (-48, 0)])
def test_what_had_come_before_is_not_counted(since_s: float, counted: int) -> None:
    """To the moment: what came then was counted by the look before."""
    totals = _said(_looked(_LIFE, since_s)).get("zombiewatch_tasks_total", {})
    assert sum(totals.values()) == counted


def test_what_is_said_a_moment_later_is_known_when_it_is_counted() -> None:
    """The sender's word may come after the worker's: without it the queue is not known."""
    work = Work(NOW_US - 100 * SECOND, labels_max=100)
    ended = {**_A, "queue": None, "t": -3, "phase": "finished", "task": "t1", "outcome": "success"}
    sent = {**_D, "t": -4, "arrived": -1, "phase": "enqueued", "task": "t1"}
    work.look(hot([ended]), NOW_US - 2 * SECOND)
    assert "zombiewatch_tasks_total" not in _said(work)
    work.look(hot([ended, sent]), NOW_US + 5 * SECOND)
    assert ("finished", "sync", "q", "success") in _said(work)["zombiewatch_tasks_total"]


def test_how_long_runs_and_waits_took_is_a_histogram() -> None:
    """40 s of running, 10 s of waiting; and 3 s of what had to wait for its time until then."""
    eta = (NOW_US - 20 * SECOND) / SECOND
    later = [
        {**_D, "t": -100, "phase": "enqueued", "task": "t2", "eta_us": int(eta * SECOND)},
        {**_D, "t": -17, "phase": "dispatched", "task": "t2"},
    ]
    said = _said(_looked([*_LIFE, *later]))
    run = said["zombiewatch_task_run_seconds_bucket"]
    assert [run["sync", "q", f"{bound:g}"] for bound in BUCKETS_S] == [
        float(bound >= 40) for bound in BUCKETS_S
    ]
    assert run["sync", "q", "+Inf"] == said["zombiewatch_task_run_seconds_count"]["sync", "q"] == 1
    assert said["zombiewatch_task_run_seconds_sum"]["sync", "q"] == 40
    assert said["zombiewatch_task_wait_seconds_sum"]["sync", "q"] == 13
    assert said["zombiewatch_task_wait_seconds_bucket"]["sync", "q", "5"] == 1


def test_the_slowest_run_is_an_example_of_its_bucket() -> None:
    """By its trace; those without a trace are counted, and are no example."""
    trace = "0af7651916cd43dd8448eb211c80319c"
    traced = [{**one, "task": "t2", "trace_id": trace} for one in _LIFE]
    quick = [{**one, "task": "t3", "trace_id": "f" * 32} for one in _LIFE]
    quick[3]["t"] = -88
    samples = [
        sample
        for family in _looked([*_LIFE, *traced, *quick]).collect()
        for sample in family.samples
        if sample.exemplar and sample.name == "zombiewatch_task_run_seconds_bucket"
    ]
    assert [sample.labels["le"] for sample in samples] == ["60"]
    assert samples[0].exemplar is not None
    assert samples[0].exemplar.labels == {"trace_id": trace}
    assert samples[0].exemplar.value == 40


@pytest.mark.parametrize(
    ("state", "age_s", "signals"),
    [
        ("waiting", 100, [{**_D, "t": -100, "phase": "enqueued"}]),
        (
            "scheduled",
            0,
            [{**_D, "t": -100, "phase": "enqueued", "eta_us": NOW_US + 50 * SECOND}],
        ),
        ("waiting", 30, [{**_D, "t": -100, "phase": "enqueued", "eta_us": NOW_US - 30 * SECOND}]),
        (
            "held",
            40,
            [{**_D, "t": -100, "phase": "enqueued"}, {**_D, "t": -40, "phase": "dispatched"}],
        ),
        (
            "running",
            20,
            [{**_D, "t": -90, "phase": "dispatched"}, {**_A, "t": -20, "phase": "started"}],
        ),
        (
            "unrecorded",
            10,
            [
                {**_D, "t": -90, "phase": "dispatched"},
                {**_A, "t": -20, "phase": "started"},
                {**_A, "t": -10, "phase": "finished", "outcome": "success"},
            ],
        ),
    ],
)
def test_what_is_open_is_in_one_state_and_has_an_age(
    state: str, age_s: float, signals: Sequence[Mapping[str, Any]]
) -> None:
    """By our clock, since it is so."""
    said = _said(_looked([{**one, "task": "t1"} for one in signals]))
    numbers, ages = said["zombiewatch_tasks_open"], said["zombiewatch_tasks_oldest_age_seconds"]
    assert {labels: one for labels, one in numbers.items() if one} == {(state, "sync", "q"): 1}
    assert ages.pop((state, "sync", "q")) == age_s
    assert not any(ages.values())


def test_a_state_that_was_gone_through_between_two_looks_is_told_as_none() -> None:
    """What begins at its first task that stays looks, until then, like no data."""
    said = _said(_looked(_LIFE))
    assert said["zombiewatch_tasks_open"] == {
        (state, "sync", "q"): 0 for state in ("waiting", "held", "running", "unrecorded")
    }


def test_what_has_gone_is_told_as_none() -> None:
    """A gauge that vanished would look like no data."""
    work = _looked([{**_D, "t": -100, "phase": "enqueued", "task": "t1"}])
    work.look(hot([]), NOW_US + 10 * SECOND)
    said = _said(work)
    assert said["zombiewatch_tasks_open"] == {("waiting", "sync", "q"): 0}
    assert said["zombiewatch_tasks_oldest_age_seconds"] == {("waiting", "sync", "q"): 0}


def test_names_are_bounded() -> None:
    """Names with IDs in them must not fill Prometheus."""
    signals = [
        {**_D, "t": -100, "phase": "enqueued", "task": f"t{at}", "task_name": f"name-{at}"}
        for at in range(5)
    ]
    said = _said(_looked(signals, labels_max=2))
    assert sorted(said["zombiewatch_tasks_open"].values()) == [1, 1, 3]
    assert said["zombiewatch_tasks_total"]["enqueued", "__other__", "q", ""] == 3


def test_names_times_queues_are_bounded_too() -> None:
    """Each name in each queue would be as many series as both numbers multiplied."""
    signals = [
        {**_D, "t": -100, "phase": "enqueued", "task": f"t{name}-{queue}"}
        | {"task_name": f"name-{name}", "queue": f"queue-{queue}"}
        for name in range(4)
        for queue in range(4)
    ]
    said = _said(_looked(signals, labels_max=4))
    assert sorted(said["zombiewatch_tasks_open"].values()) == [*[1] * 8, 8]
    assert said["zombiewatch_tasks_open"]["waiting", "__other__", "__other__"] == 8
