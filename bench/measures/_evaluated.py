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


class EvalError(Exception):
    """A detector failed, so that its time would be no time; the message is its own."""


def evaluated(reader: duckdb.DuckDBPyConnection, now_us: int, times: int) -> dict[str, float]:
    """Return the time of an evaluation, in all and by detector; *reader* is closed then."""
    took: list[float] = []
    by_detector: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        findings = FindingsFile(Path(folder) / "findings.sqlite")
        # all of them each time, also those that are looked for less often
        judge = Judge([replace(one, every_s=0.0) for one in load()], findings)
        for _ in range(times + 1):
            begun = time.perf_counter()
            report = judge.evaluate(reader, now_us, heard_us=now_us)
            took.append(1000 * (time.perf_counter() - begun))
            if report.failed:
                raise EvalError("; ".join(f"{name}: {why}" for name, why in report.failed.items()))
            for name, seconds in report.took_s.items():
                by_detector.setdefault(name, []).append(1000 * seconds)
        found = len(judge.open)
        findings.close()
    row = reader.execute("SELECT sum(memory_usage_bytes) / 1e6 FROM duckdb_memory()").fetchone()
    reader.close()
    return {
        "total_ms": statistics.median(took[1:]),
        "first_ms": took[0],
        **{f"{name}_ms": statistics.median(each[1:]) for name, each in by_detector.items()},
        "findings": found,
        "engine_mb": float(row[0]) if row else 0.0,
    }
