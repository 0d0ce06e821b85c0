"""Suspects: who changed, who is loud, who lies deep; and the numbers that say so."""

from __future__ import annotations

from typing import Any

import pytest

from detectors._suspects import suspects
from tests.detectors.harness import NOW_US, hot

BEGAN_S = -120


def _call(
    number: int, t: float, caller: str, callee: str, took: float, *, bad: bool = False
) -> list[dict[str, Any]]:
    """Return both ends of one call, as spans."""
    trace, span = f"{number:032x}", f"{number:016x}"
    both = {"kind": "span", "trace_id": trace, "t": t, "end": t + took}
    return [
        {**both, "service": caller, "span_id": span, "phase": "call.failed" if bad else "call.ok"},
        {
            **both,
            "service": callee,
            "span_id": f"{number + 1:016x}",
            "parent_id": span,
            "phase": "call.errored" if bad else "call.committed",
        },
    ]


def _calls(
    caller: str, callee: str, before: float, after: float, first: int
) -> list[dict[str, Any]]:
    made = []
    for n in range(20):
        made += _call(first + 4 * n, BEGAN_S - 600 + n, caller, callee, before)
        made += _call(first + 4 * n + 2, BEGAN_S + n, caller, callee, after)
    return made


def test_the_slow_dependency_comes_before_those_who_wait_for_it() -> None:
    """The database is as much slower as the worker that calls it, and lies deeper."""
    rows = [
        *_calls("api", "worker", 0.1, 0.5, 1_000),
        *_calls("worker", "database", 0.05, 0.45, 2_000),
        *_calls("worker", "cache", 0.01, 0.01, 3_000),
    ]
    with hot(rows) as reader:
        found = suspects(reader, "test", NOW_US + BEGAN_S * 1_000_000)
    assert [one.name for one in found] == ["database", "worker"]
    first = found[0].as_json()
    assert first["score"] == pytest.approx(0.4 * 1.0 + 0.3 * 0 + 0.3 * 1.0)
    assert first["why"] == "p95 0.05 s → 0.45 s, 2 calls from the entry"


def test_a_short_history_is_compared_with_its_beginning() -> None:
    """What was watched for half a minute only: the first quarter of that is how it was before."""
    rows = [
        one
        for n in range(40)
        for one in _call(1_000 + 2 * n, BEGAN_S - 30 + n, "api", "db", 0.1 if n < 10 else 0.5)
    ]
    with hot(rows) as reader:
        [one] = suspects(reader, "test", NOW_US + BEGAN_S * 1_000_000)
    assert one.parts["figures"] == 1.0
    assert one.why == "p95 0.1 s → 0.5 s, 1 calls from the entry"


def test_errors_in_the_log_count_by_their_number() -> None:
    """Who logs most scores in full, the others by their share of that."""
    said = {"kind": "log", "severity": 17, "body": "no"}
    rows = [
        *[{**said, "service": "a", "t": -60, "body": f"{n}"} for n in range(10)],
        *[{**said, "service": "b", "t": -60, "body": f"{n}"} for n in range(5)],
        {**said, "service": "c", "t": -900},
    ]
    with hot(rows) as reader:
        found = suspects(reader, "test", NOW_US + BEGAN_S * 1_000_000)
    assert [(one.name, one.parts["errors"]) for one in found] == [("a", 1.0), ("b", 0.5)]
    assert found[0].why == "10 errors logged, 0 calls from the entry"


def test_a_rise_of_failed_calls_is_a_change_too() -> None:
    """From none to a quarter is half of the score for figures."""
    rows = []
    for n in range(20):
        rows += _call(1_000 + 4 * n, BEGAN_S - 600 + n, "api", "db", 0.1)
        rows += _call(1_002 + 4 * n, BEGAN_S + n, "api", "db", 0.1, bad=n % 4 == 0)
    with hot(rows) as reader:
        [one] = suspects(reader, "test", NOW_US + BEGAN_S * 1_000_000)
    assert one.parts["figures"] == pytest.approx(0.5)
    assert "failed calls 0% → 25%" in one.why


def test_nobody_is_suspected_where_nothing_changed() -> None:
    """To lie deep is no fault."""
    rows = [*_calls("api", "worker", 0.1, 0.1, 1_000), *_calls("worker", "db", 0.1, 0.1, 2_000)]
    with hot(rows) as reader:
        assert suspects(reader, "test", NOW_US + BEGAN_S * 1_000_000) == []


def test_callers_in_a_circle_hold_up_nothing() -> None:
    """Each calls the other: both are entries."""
    rows = [*_calls("a", "b", 0.1, 0.9, 1_000), *_calls("b", "a", 0.1, 0.1, 2_000)]
    with hot(rows) as reader:
        assert [one.name for one in suspects(reader, "test", NOW_US + BEGAN_S * 1_000_000)] == ["b"]
