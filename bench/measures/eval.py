"""All detectors over the hot relations.

Attempts are made by signals through the real fold: closed ones with a report call each, open ones
with their heartbeats, a few of these in trouble (so that there is something to find). *Total* is
the median of several evaluations, *first* is the one that finds and saves, *whole* one in which
every detector looks closely, though there be no sign of its failure; then the median of each
detector (two look at the same time). *Engine* is the memory that DuckDB holds; here it may have
more than by default.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from bench import population
from bench.measures._evaluated import evaluated
from bench.past import MEMORY
from collector.store import fold
from collector.store.limits import Limits
from model.clock import system_clock
from model.units import DAY_US, us

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb
    import pyarrow as pa

    from bench.results import Cases, Say
    from bench.scale import Scale

GROUP: Final = "eval"
ORDER: Final = 6


def run(scale: Scale, say: Say) -> Cases:
    """Measure each number of open and closed attempts of *scale*; one population that grows."""
    cases: Cases = {}
    connection = fold.connect(MEMORY)
    fold.create(connection)
    growing = _Growing(connection)
    for opened, closed in scale.attempts:
        say(f"eval: building {opened:,} open and {closed:,} closed attempts")
        growing.to(opened, closed)
        name = f"{opened:,} open, {closed:,} closed"
        cases[name] = evaluated(connection.cursor(), growing.now_us, scale.evaluations)
        cases[name]["built_per_s"] = growing.signals / growing.took_s
        say(f"eval: {name}: {cases[name]['total_ms']:.0f} ms")
    connection.close()
    return cases


class _Growing:
    """The relations of a population that is added to. Numbers only grow; its time stands."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        limits = Limits()
        self._db = connection
        self._fold = fold.Fold(connection, bin_us=us(limits.bin_s), settle_us=us(limits.settle_s))
        self._opened = self._closed = self._next = 0
        self.now_us = system_clock()
        self.signals = 0
        self.took_s = 0.0

    def to(self, opened: int, closed: int) -> None:
        """Add attempts until there are so many."""
        now = self.now_us
        self._add(population.closed(self._next, closed - self._closed, now))
        self._next += closed - self._closed
        self._add(population.opened(self._next, opened - self._opened, now))
        self._next += opened - self._opened
        self._opened, self._closed = opened, closed
        self._fold.compact_rates(now, DAY_US)

    def _add(self, batches: Iterator[pa.Table]) -> None:
        for signals in batches:
            begun = time.perf_counter()
            self._fold.apply(signals)
            self.took_s += time.perf_counter() - begun
            self.signals += signals.num_rows
            self._db.execute("CHECKPOINT")  # as the store does: it tidies memory
