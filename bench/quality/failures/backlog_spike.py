"""A queue is given more than it can bear: what comes last waits for far too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.quality.kit import Failure
from bench.quality.tasks import BULK

if TYPE_CHECKING:
    from collections import deque

    from bench.quality.cell import Cell
    from bench.quality.tasks import Attempt

_LIMIT_S = 300.0
_APART_S = 60.0
"""Three samples, 30 s apart."""
_SLOTS, _TASKS = 2, 36


class Burst(Failure):
    """Two at a time, of which each takes half a minute."""

    def begin(self, cell: Cell) -> None:
        """Submit them all at once."""
        cell.least_slots[BULK.queue] = _SLOTS
        over: list[tuple[float, float]] = []

        def sampled(queue: str, line: deque[Attempt], now: float, heard_s: float) -> None:
            oldest_s = max((now - one.enqueued_s for one in line), default=0.0)
            if queue != BULK.queue or oldest_s <= _LIMIT_S:
                return
            over.append((now, heard_s))
            if now - over[0][0] >= _APART_S and now - over[-2][0] < _APART_S and not told:
                told.append(cell.truth(BULK.queue, heard_s, since_s=over[0][0]))

        told: list[object] = []
        cell.sampled = sampled  # type: ignore[method-assign]  # it is meant to be taken over
        for _ in range(_TASKS):
            cell.submit(BULK, self)


FAILURE = Burst(needs_s=620.0)
