"""Timelines say how far the clocks of who speaks are apart, and compare by that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.collector import stores
from zombiewatch import timeline
from zombiewatch._clocks import Bounds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from collector.store.store import Store

T0 = stores.START_US


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = stores.store(tmp_path)
    yield made
    made.close()


def call(into: Store, request: str, ahead_s: float, *, gave_up: bool = False, **more: Any) -> None:
    """Let an agent call a dispatcher whose clock is ahead; each way takes 0.1 s."""
    ahead, named = round(ahead_s * 1e6), {"request_id": request, "task_id": "t", **more}
    mine = {"service_name": "agent", "service_instance.id": "a-1", **named}
    yours = {"service_name": "oxr", "service_instance.id": "d-1", **named}
    end = ("call.gave_up", T0 + 200_000) if gave_up else ("call.ok", T0 + 400_000)
    stores.send(
        into,
        stores.line("call.sent", T0, **mine),
        stores.line("call.received", T0 + 100_000 + ahead, **yours),
        stores.line("call.committed", T0 + 300_000 + ahead, **yours),
        stores.line(*end, **mine),
    )


def lanes(of: Store) -> dict[str, tuple[int | None, int | None]]:
    said = timeline.build(of, "task", "t", [])
    return {one["id"]: (one["offset_us"], one["uncertainty_us"]) for one in said["lanes"]}


def test_a_clock_is_compared_with_the_dispatchers(store: Store) -> None:
    """Three seconds ahead there are three seconds behind here, by what a call shows."""
    call(store, "r1", 3.0)
    assert lanes(store) == {"agent/a-1": (-3_000_000, 100_000), "oxr/d-1": (0, 0)}


def test_without_calls_seen_from_both_ends_nothing_is_known(store: Store) -> None:
    """A call that was given up proves nothing."""
    call(store, "r1", 3.0, gave_up=True)
    assert lanes(store) == {"agent/a-1": (None, None), "oxr/d-1": (None, None)}


def test_who_shares_a_machine_shares_its_clock(store: Store) -> None:
    """There is nothing to be unsure of."""
    call(store, "r1", 0.0, host_name="h1")
    assert lanes(store) == {"agent/a-1": (0, 0), "oxr/d-1": (0, 0)}


def test_a_commit_after_the_give_up_is_told_by_one_clock(store: Store) -> None:
    """However slow the dispatcher's clock is, and only as far as that is known."""
    call(store, "r1", -9.0)
    call(store, "r2", -9.0, gave_up=True)
    parts = timeline.build(store, "task", "t", [])["parts"]
    assert [one["text"] for one in parts] == []  # 0.1 s later, give or take 0.1 s
    call(store, "r3", -8.8, gave_up=True)
    parts = timeline.build(store, "task", "t", [])["parts"]
    assert [one["text"] for one in parts] == [
        "committed here, 0.30 s after its caller gave up",
        "its caller gave up here",
    ]


def test_bounds_follow_from_each_other() -> None:
    """By way of another clock it is less sure; a clock that was set is as unsure as it jumped."""
    assert Bounds(1, 3).after(Bounds(10, 20)) == Bounds(11, 23)
    assert Bounds(1, 3).turned == Bounds(-3, -1)
    assert (Bounds(1, 4).offset_us, Bounds(1, 4).uncertainty_us) == (2, 2)
    assert Bounds(10, 4).uncertainty_us == 6
