"""Which words agree can be set: each pair for itself, for one service, queue or name alone."""

from __future__ import annotations

from typing import Any

import pytest

from detectors._kit import load
from tests.detectors.harness import judged

VERDICTS = next(one for one in load() if one.name == "verdict_mismatch")
PAIRS = sorted(name for name in VERDICTS.thresholds if "_as_" in name)


def ended(pair: str, task: str = "t1", service: str = "oxr") -> list[dict[str, Any]]:
    """Return a task that ended by one word of *pair*, and was recorded by the other."""
    outcome, state = pair.split("_as_")
    both = {"task": task, "task_name": "sync"}
    said = {**both, "side": "dispatcher", "service": service}
    ran = {**both, "side": "agent", "service": "agent"}
    return [
        {**said, "t": -200, "phase": "dispatched"},
        {**ran, "t": -31, "phase": "finished", "outcome": outcome},
        {**said, "t": -16, "phase": "recorded", "state": state},
    ]


def found(rows: list[dict[str, Any]], **settings: Any) -> list[str]:
    return [one.subject for one in judged(VERDICTS, rows, settings)]


def test_there_is_one_for_every_pair_that_differs() -> None:
    """Success against each other final word, in both directions; the others agree anyway."""
    others = ("failure", "timeout", "canceled")
    assert {f"success_as_{one}" for one in others} | {f"{one}_as_success" for one in others} == set(
        PAIRS
    )


@pytest.mark.parametrize("pair", PAIRS)
def test_a_pair_that_is_said_to_agree_is_not_found(pair: str) -> None:
    """It alone: every other pair is found as before."""
    rows = [row for one in PAIRS for row in ended(one, task=one)]
    assert found(rows) == [f"{one}/1" for one in PAIRS]
    assert found(rows, **{pair: 1.0}) == [f"{one}/1" for one in PAIRS if one != pair]


@pytest.mark.parametrize("pair", PAIRS)
def test_less_than_one_is_no_agreement(pair: str) -> None:
    """Between 0 and 1 there is nothing."""
    assert found(ended(pair), **{pair: 0.99}) == ["t1/1"]


def test_one_service_alone_may_say_so() -> None:
    """By an override, like every threshold: what others record is found."""
    pair = "success_as_canceled"
    rows = [*ended(pair, "a", "oxr"), *ended(pair, "b", "other")]
    assert found(rows, overrides=[{"service": "oxr", pair: 1.0}]) == ["b/1"]
