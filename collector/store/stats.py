"""What the store says of itself, for metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pyarrow.compute as pc

from collector import lost
from model.units import SECOND_US

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

_SOURCES: Final = 10_000
"""So many pairs of service and way are remembered; names that never end must not pile up."""


@dataclass(slots=True)
class Stats:
    """Counts since this process began."""

    signals: int = 0
    batches: int = 0
    apply_errors: int = 0
    memory_waits: int = 0
    replay_s: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    by_way: dict[tuple[str, str], int] = field(default_factory=dict)
    heard: dict[tuple[str, str], tuple[int, float]] = field(default_factory=dict)
    """By service and way: when last heard (our clock, us), and the lag of that batch (seconds)."""

    def count(self, signals: pa.Table, counts: Mapping[str, int]) -> None:
        """Note a batch that was applied, and what was odd about it."""
        self.signals += signals.num_rows
        self.batches += 1
        for name, number in counts.items():
            self.counts[name] = self.counts.get(name, 0) + number
        ways = signals.select(["way", "kind"]).group_by(["way", "kind"])
        for row in ways.aggregate([([], "count_all")]).to_pylist():
            key = (row["way"], row["kind"])
            self.by_way[key] = self.by_way.get(key, 0) + row["count_all"]
        spoken = pc.coalesce(signals["end_us"], signals["ts_us"])
        lag = pc.subtract(signals["arrived_us"], spoken)
        sources = signals.select(["service", "way", "arrived_us"]).append_column("lag", lag)
        grouped = sources.group_by(["service", "way"])
        for row in grouped.aggregate([("arrived_us", "max"), ("lag", "max")]).to_pylist():
            key = (row["service"] or "", row["way"])
            if row["way"] == lost.WAY:  # what we say of a source is no sign of it
                continue
            if key in self.heard or len(self.heard) < _SOURCES:
                self.heard[key] = (row["arrived_us_max"], row["lag_max"] / SECOND_US)
