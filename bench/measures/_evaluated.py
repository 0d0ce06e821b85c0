"""What evaluations have in common: all detectors, by the real judge, several times."""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from detectors._judge import Judge
from detectors._kit import load
from zombiewatch.findings import FindingsFile

if TYPE_CHECKING:
    import duckdb

    from detectors._judge import Report
    from detectors._kit import Detector


class EvalError(Exception):
    """A detector failed, so that its time would be no time; the message is its own."""


def evaluated(reader: duckdb.DuckDBPyConnection, now_us: int, times: int) -> dict[str, float]:
    """Return the time of an evaluation, in all and by detector; *reader* is closed then.

    *Whole* is that of one in which no detector is spared for want of a sign of its failure.
    """
    # all of them each time, also those that are looked for less often
    each = [replace(one, every_s=0.0) for one in load()]
    reports, took, found = _repeated(each, reader, now_us, times)
    _, whole, _ = _repeated([replace(one, only_if={}) for one in each], reader, now_us, times)
    row = reader.execute("SELECT sum(memory_usage_bytes) / 1e6 FROM duckdb_memory()").fetchone()
    reader.close()
    by_detector = {
        f"{one.name}_ms": 1000 * statistics.median(report.took_s[one.name] for report in reports)
        for one in each
    }
    return {
        "total_ms": statistics.median(took[1:]),
        "first_ms": took[0],
        "whole_ms": statistics.median(whole[1:]),
        **by_detector,
        "findings": found,
        "engine_mb": float(row[0]) if row else 0.0,
    }


def _repeated(
    detectors: list[Detector], reader: duckdb.DuckDBPyConnection, now_us: int, times: int
) -> tuple[list[Report], list[float], int]:
    """Return the reports but the first, all times in milliseconds, and how much is found."""
    took: list[float] = []
    reports: list[Report] = []
    with tempfile.TemporaryDirectory() as folder:
        findings = FindingsFile(Path(folder) / "findings.sqlite")
        judge = Judge(detectors, findings)
        for _ in range(times + 1):
            begun = time.perf_counter()
            reports.append(judge.evaluate(reader, now_us, heard_us=now_us))
            took.append(1000 * (time.perf_counter() - begun))
            if failed := reports[-1].failed:
                raise EvalError("; ".join(f"{name}: {why}" for name, why in failed.items()))
        found = len(judge.open)
        findings.close()
    return reports[1:], took, found
