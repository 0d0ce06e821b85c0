"""Judges signals given as dictionaries, through the real fold and the real judge."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from collector.store import fold
from detectors._judge import Judge
from detectors._kit import load
from model.signals import COLUMNS, SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import duckdb

    from detectors._kit import Detector
    from model.findings import Finding

NOW_US = 1_790_000_000_000_000


class Memory:
    """A keeper that keeps nothing beyond the test."""

    def __init__(self) -> None:
        self.saved: dict[int, Finding] = {}

    def open_findings(self) -> list[Finding]:
        """Return what has not ended."""
        return [one for one in self.saved.values() if one.ended_us is None]

    def ended(self, detector: str, since_us: int) -> list[Finding]:
        """Return what was true and has ended."""
        return [
            one
            for one in self.saved.values()
            if one.detector == detector
            and one.verdict == "resolved"
            and (one.ended_us or 0) >= since_us
        ]

    def save(self, changed: Iterable[Finding]) -> None:
        """Give each an ID and remember it."""
        for one in changed:
            one.id = one.id or len(self.saved) + 1
            self.saved[one.id] = one


def signals(rows: Iterable[Mapping[str, Any]], now_us: int = NOW_US) -> pa.Table:
    """Return signals from dictionaries.

    `t`, `end`, `eta`, `due`, `from`, `to` and `arrived` are seconds relative to *now_us*.
    """
    made = []
    for number, row in enumerate(rows):
        one = {"kind": "log", "way": "otlp", "namespace": "test", "severity": 9, **row}
        at = one.pop("t")
        one["seq"] = number
        one["ts_us"] = now_us + round(at * 1e6)
        one["arrived_us"] = now_us + round(one.pop("arrived", one.get("end", at)) * 1e6)
        for name in ("eta", "due", "from", "to"):
            if name in one:
                one[f"{name}_us"] = now_us + round(one.pop(name) * 1e6)
        if "end" in one:
            one["end_us"] = now_us + round(one.pop("end") * 1e6)
        unknown = set(one) - set(COLUMNS)
        assert not unknown, unknown
        made.append(one)
    return pa.Table.from_pylist(made, schema=SCHEMA)


def every_case() -> list[dict[str, Any]]:
    """Return the signals of all cases of all detectors, in a namespace each."""
    return [
        {**one, "namespace": f"{detector.name}-{number}"}
        for detector in load()
        for number, case in enumerate(detector.cases)
        for one in case.signals
    ]


def hot(rows: Sequence[Mapping[str, Any]], *, bin_s: float = 60.0) -> duckdb.DuckDBPyConnection:
    """Return an engine that holds the relations of *rows*."""
    connection = fold.connect(512 << 20)
    fold.create(connection)
    folding = fold.Fold(connection, bin_us=round(bin_s * 1e6), settle_us=3_600_000_000)
    if rows:
        folding.apply(signals(rows))
    return connection


class _Engine:
    """One engine for many cases, emptied before each: making one takes longer than a case does."""

    def __init__(self) -> None:
        self.connection = hot([])
        self.fold = fold.Fold(self.connection, bin_us=60_000_000, settle_us=3_600_000_000)
        tables = self.connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE NOT temporary"
        ).fetchall()
        self._tables = [name for (name,) in tables]

    def holding(self, rows: Sequence[Mapping[str, Any]]) -> duckdb.DuckDBPyConnection:
        """Return the engine with the relations of *rows*, and nothing else."""
        for table in self._tables:
            self.connection.execute(f"DELETE FROM {table}")
        self.connection.execute("CHECKPOINT")
        if rows:
            self.fold.apply(signals(rows))
        return self.connection


_engine = cache(_Engine)


def judged(
    detector: Detector, rows: Sequence[Mapping[str, Any]], settings: Mapping[str, Any] | None = None
) -> list[Finding]:
    """Return what *detector* finds in *rows* at `NOW_US`."""
    judge = Judge([detector], Memory(), settings={detector.name: settings or {}})
    report = judge.evaluate(_engine().holding(rows), NOW_US, heard_us=NOW_US)
    assert not report.failed, report.failed
    return sorted(judge.open.values(), key=lambda one: one.subject)
