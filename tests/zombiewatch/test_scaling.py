"""How many workers a queue wants: the arithmetic, and that what is not known is never a 0."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.detectors.harness import NOW_US, hot
from zombiewatch.scaling import NotKnownError, ScaleJson, wanted, workers

D = {"side": "dispatcher", "service": "shop", "queue": "orders", "task_name": "pack"}
A = {"side": "agent", "service": "packer", "instance": "p-1", "queue": "orders"}


def tasks(number: int, since: float = -300.0, run_s: float | None = 2.0) -> list[dict[str, Any]]:
    """Return *number* tasks that come in evenly; each runs for *run_s*, or not at all."""
    made: list[dict[str, Any]] = []
    for n in range(number):
        one, at = {"task": f"t{n}-{since}"}, since + 0.5 - since * n / number
        made.append({**D, **one, "t": at, "phase": "enqueued"})
        if run_s is not None:
            made.append({**A, **one, "t": at, "phase": "started"})
            end = {"phase": "finished", "outcome": "success", "t": at + run_s}
            made.append({**A, **one, **end})
    return made


def sample(depth: float, t: float = -5.0, **more: Any) -> dict[str, Any]:
    return {**D, "task_name": None, "t": t, "phase": "queue.sampled", "depth": depth, **more}


OLD = tasks(1, since=-900.0)
"""It has been watched for longer than what comes in is counted."""


def asked(
    rows: list[dict[str, Any]], drain_s: float = 300.0, concurrency: int = 1
) -> ScaleJson | None:
    with hot(rows) as reader:
        return wanted(
            reader, "test", "orders", now_us=NOW_US, drain_s=drain_s, concurrency=concurrency
        )


def test_what_comes_in_and_what_waits_is_worked_off() -> None:
    """A task a second of 2 s each keeps two busy; 300 that wait, in 300 s, two more."""
    said = asked([*OLD, *tasks(300), sample(300.0)])
    assert said
    assert said["arrivals_per_s"] == pytest.approx(1.0)
    assert (said["run_s"], said["depth"], said["desired"]) == (2.0, 300.0, 4)


@pytest.mark.parametrize(
    ("depth", "drain_s", "concurrency", "desired"),
    [(0.0, 300.0, 1, 2), (300.0, 60.0, 1, 12), (300.0, 300.0, 4, 1), (301.0, 300.0, 1, 5)],
)
def test_it_depends_on_the_pace_and_on_the_workers(
    depth: float, drain_s: float, concurrency: int, desired: int
) -> None:
    """Nothing waits; five times as quickly; four tasks at a time; a little more than four."""
    said = asked([*OLD, *tasks(300), sample(depth)], drain_s, concurrency)
    assert said
    assert said["desired"] == desired


def test_totals_of_the_queue_are_better_than_what_was_heard_of_tasks() -> None:
    """Where only some of the tasks are told of, the queue's own count says how many come."""
    rows = [sample(0.0, -250.0, enqueued_total=1000.0), sample(0.0, -10.0, enqueued_total=1720.0)]
    said = asked([*tasks(10), *rows])
    assert said
    assert said["arrivals_per_s"] == pytest.approx(3.0)


def test_without_samples_those_count_that_nobody_has_begun() -> None:
    """As their dispatcher tells of them."""
    said = asked([*tasks(150), *tasks(50, since=-100.0, run_s=None)])
    assert said
    assert said["depth"] == 50


def test_an_empty_queue_into_which_nothing_comes_wants_nobody() -> None:
    """That is known, and so it is 0."""
    said = asked([*OLD, sample(0.0)])
    assert said
    assert said["desired"] == 0


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([*tasks(9, run_s=None), sample(9.0)], "no run from orders has ended"),
        ([*tasks(9), sample(9.0, -121.0)], "sampled 121 s ago"),
        ([*tasks(9), sample(9.0, paused=True)], "orders is paused"),
    ],
)
def test_what_is_not_known_is_an_error(rows: list[dict[str, Any]], why: str) -> None:
    """An autoscaler keeps what it has then."""
    with pytest.raises(NotKnownError, match=why):
        asked(rows)


def test_a_queue_that_nobody_knows_is_none() -> None:
    """That is not an empty one."""
    assert asked([{**one, "queue": "other"} for one in tasks(3)]) is None


@given(
    st.floats(0, 1e6), st.floats(0, 1e4), st.floats(0.001, 1e4), st.floats(1, 86_400),
    st.integers(1, 64),
)  # fmt: skip
def test_so_many_are_enough_and_one_fewer_is_not(
    depth: float, arrivals: float, run_s: float, drain_s: float, concurrency: int
) -> None:
    """Within the time they end what comes in meanwhile and what waited; not more than needed."""
    number = workers(depth, arrivals, run_s, drain_s, concurrency)
    needed = depth + arrivals * drain_s
    each = concurrency * drain_s / run_s
    assert number * each >= needed * (1 - 1e-6) - each * 1e-6
    assert number == 0 or (number - 1) * each < needed * (1 + 1e-6) + each * 1e-6
