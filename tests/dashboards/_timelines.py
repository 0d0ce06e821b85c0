"""Real timelines, of recordings of labs: as the page gets them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from collector import recorded
from collector.store.hot import Hot
from collector.store.limits import Limits
from labs._kit import find_labs
from tests.labs import _recorded
from zombiewatch import timeline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb

    from model.findings import Finding


class Heard:
    """What was recorded of a lab, with what was found: enough of a store for timelines."""

    def __init__(self, lab: str, bugs: str) -> None:
        of, path = find_labs()[lab], _recorded.RECORDED / lab / f"{bugs}.jsonl.gz"
        self.findings: Sequence[Finding] = _recorded.judged(of, path).findings
        with _recorded.pipeline(of) as pipeline, tempfile.TemporaryDirectory() as folder:
            found = recorded.read([path], pipeline, Path(folder))
            self.to_us = found.to_us
            self._signals = pa.concat_tables(rows for _, rows in found.steps(10**12, 10**12))
        self._hot = Hot(Limits())
        self._hot.apply(self._signals)

    def timeline(self, column: str, value: str) -> list[dict[str, Any]]:
        """Return the signals of a task or a request, by time."""
        kept = self._signals.filter(pc.equal(self._signals[column], value))
        rows: list[dict[str, Any]] = kept.sort_by([("ts_us", "ascending")]).to_pylist()
        return rows

    def reader(self) -> duckdb.DuckDBPyConnection:
        """Return a cursor on the relations."""
        return self._hot.reader()

    def of(self, task: str) -> Mapping[str, Any]:
        """Return the timeline of *task*."""
        about = [one for one in self.findings if one.task == task]
        return timeline.build(self, "task", task, about)

    def first(self, detector: str) -> Mapping[str, Any]:
        """Return the timeline of the first task of which *detector* found something."""
        found = (one for one in self.findings if one.detector == detector and one.task)
        return self.of(str(min(found, key=lambda one: one.since_us).task))
