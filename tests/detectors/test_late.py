"""Every case of every detector again, with signals that all come after the settle time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from detectors._kit import Case, Detector, load
from tests.detectors.harness import judged

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LATE_S = 7200.0
"""So long after it happened each signal comes: twice the settle time."""

_BY_ARRIVAL = {"a followed file was configured to bring a line every 30 s"}
"""What is promised here is that something comes, however old it is."""

CASES = [
    pytest.param(detector, case, id=f"{detector.name}: {case.title}")
    for detector in load()
    for case in detector.cases
    if case.title not in _BY_ARRIVAL
]


def late(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return *rows* as they would be if all had happened earlier, and came no sooner."""
    made = []
    for row in rows:
        came = row.get("arrived", row.get("end", row["t"]))
        times = {name: row[name] - LATE_S for name in ("t", "end", "eta", "due") if name in row}
        made.append({**row, **times, "arrived": came})
    return made


@pytest.mark.parametrize(("detector", "case"), CASES)
def test_what_comes_after_the_settle_time_alarms_nobody(detector: Detector, case: Case) -> None:
    """A backfill, a replay, a shipper that was away for hours: none of it is confirmed.

    Two runs that overlap overlap however late it is told, and the timeline shows it. But nobody
    can act on it any more: who could have was not told in time, and what has happened since is
    not known here. So what came later than the settle time (an hour) after its own time is no
    finding of any detector, be its evidence positive or an absence.
    """
    found = judged(detector, late(case.signals))
    assert [one.subject for one in found if one.verdict == "confirmed"] == []
