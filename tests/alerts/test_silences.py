"""Silences are those of the switches: none too many, none too long, none of somebody else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.degrade.lease import LEVELS, Lease
from alerts.silences import Silence, changes, ours

S: Final = 1_000_000
NOW: Final = 1_790_000_000 * S


def lease(service: str = "orders", level: int = 2, ends_s: int = 600) -> Lease:
    return Lease(service, level, "manual", "the database is down", "ann", NOW, NOW + ends_s * S)


def known(one: Silence, number: str = "1", state: str = "active") -> dict[str, Any]:
    """Return *one* as Alertmanager lists it."""
    return {**one.as_json("me"), "id": number, "status": {"state": state}}


@pytest.mark.parametrize(("level", "severity"), [(1, "warning"), (2, "critical|warning")])
def test_a_silence_mutes_what_its_level_does_of_its_service(level: int, severity: str) -> None:
    """And only of what may be muted; it says who, why, and how it is lifted."""
    said = Silence.of(lease(level=level), NOW).as_json("me")
    assert {one["name"]: (one["value"], one["isRegex"]) for one in said["matchers"]} == {
        "source": ("zombiewatch", False),
        "service": ("orders", False),
        "degradable": ("true", False),
        "severity": (severity, True),
    }
    assert said["createdBy"] == "zombiewatch me"
    for word in ("ann", "the database is down", LEVELS[level], "zombiewatch switch clear"):
        assert word in said["comment"]
    assert said["endsAt"] == "2026-09-21T14:23:20.000000Z"


def test_others_silences_and_those_that_are_over_are_not_ours() -> None:
    """Neither a person's nor another sidecar's is ever ended by us."""
    one = Silence.of(lease(), NOW)
    listed = [
        known(one, "1"),
        known(one, "2", "expired"),
        {**known(one, "3"), "createdBy": "zombiewatch another"},
        {**known(one, "4"), "createdBy": "ann"},
    ]
    assert [each.id for each in ours(listed, "me")] == ["1"]


@pytest.mark.parametrize(
    ("there_s", "wanted_s", "posted"),
    [(600, 600, False), (400, 600, False), (290, 600, True), (600, 400, True)],
)
def test_a_silence_is_prolonged_by_halves_and_shortened_at_once(
    there_s: int, wanted_s: int, *, posted: bool
) -> None:
    """Its ID stays: it is the same one."""
    there = replace(Silence.of(lease(ends_s=there_s), NOW), id="7")
    news, ended = changes([Silence.of(lease(ends_s=wanted_s), NOW)], [there], NOW)
    assert [(one.id, one.until_us) for one in news] == [("7", NOW + wanted_s * S)] * posted
    assert ended == []


_LEASES: Final = st.builds(
    lease, st.sampled_from("abc"), st.integers(1, 3), st.integers(1, 1000)
)  # fmt: skip


@given(st.lists(_LEASES, unique_by=lambda one: one.service), st.lists(_LEASES))
def test_afterwards_there_is_one_for_each_switch_and_nothing_else(
    wanted: list[Lease], before: list[Lease]
) -> None:
    """Whatever was there: none lasts longer than its lease, or ends before half of it is over."""
    there = {str(at): replace(Silence.of(one, NOW), id=str(at)) for at, one in enumerate(before)}
    asked = [Silence.of(one, NOW) for one in wanted]
    news, ended = changes(asked, there.values(), NOW)
    for number in ended:
        del there[number]
    for at, one in enumerate(news):
        there[one.id or f"new {at}"] = one
    by = {one.matchers: one for one in there.values()}
    assert len(by) == len(there)
    assert by.keys() == {one.matchers for one in asked}
    for one in asked:
        assert one.until_us >= by[one.matchers].until_us
        assert 2 * (by[one.matchers].until_us - NOW) >= one.until_us - NOW
