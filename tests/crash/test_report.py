"""The page is made of the results alone, and says what did not hold."""

from __future__ import annotations

from typing import Any, Final

from tests.crash import report
from tests.crash._plot import plot
from tests.crash.kill import Tally

RESULTS: Final[dict[str, Any]] = {
    "began": "2026-11-21T12:00Z",
    "seed": 1,
    "took_s": 600.0,
    "folder_rounds": 25,
    "machine": {"cores": 2, "packages": {}},
    "kill": Tally(rounds=7, acknowledged=4321, recovered_s=[0.25, 0.5]).figures(),
    "damage": [
        {"name": "sound", "started": True, "good": True, "damaged": 1, "lost": 0, "problems": []}
    ],
}


def test_the_page_tells_what_was_measured() -> None:
    """Numbers come from the results, with units."""
    page = report.page(RESULTS)
    assert "| acknowledged, by kills, full disks and stepped clocks | 4,321 |" in page
    assert "median 0.375 s, p99 0.5 s, max 0.5 s" in page
    assert "What did not hold" not in page
    assert not report.bad(RESULTS)


def test_the_page_does_not_hide_what_did_not_hold() -> None:
    """A case that went wrong is in its table, in the list of problems, and in the exit status."""
    wrong = {"name": "spoilt", "started": False, "good": False, "problems": ["it ended"]}
    page = report.page({**RESULTS, "damage": [wrong]})
    assert "| spoilt |  |  |  | **refused to start** |" in page
    assert "- damage: spoilt: it ended" in page
    assert "| **refused to start**, damage included | **1** |" in page
    assert report.bad({**RESULTS, "damage": [wrong]})


def test_a_soak_that_falls_behind_did_not_hold() -> None:
    """Likewise one whose memory grows; one that is flat, and applies all, did."""
    sample = dict.fromkeys(("segments_mb", "snapshots_mb", "journal_mb", "files"), 1.0)
    flat = {
        "minutes": 1,
        "records": 100,
        "per_s": 1.0,
        "refused": 0,
        "left_out": 0,
        "kept_mb": 8,
        "applied": 100,
        "samples": [{**sample, "memory_mb": 100.0}] * 8,
    }
    assert not report.bad({**RESULTS, "soak": flat})
    grown = [{**sample, "memory_mb": 100.0 + at} for at in range(0, 80, 10)]
    page = report.page({**RESULTS, "soak": {**flat, "applied": 90, "samples": grown}})
    assert "- soak: it fell behind: 90 of 100 records were applied at the end" in page
    assert "- soak: memory grew: 125 → 165 MB" in page


def test_a_plot_draws_each_series_from_zero() -> None:
    """The greatest value is a tenth below the top; zero is at the bottom."""
    picture = plot([1.0, 2.0], {"memory": [0.0, 10.0]}, "minutes")
    assert 'points="440.0,104.0 760.0,22.2"' in picture
    assert ">memory<" in picture
