"""A queue loses its last consumer, and tasks wait in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.quality.kit import Failure
from bench.quality.tasks import BULK

if TYPE_CHECKING:
    from collections import deque

    from bench.quality.cell import Cell
    from bench.quality.tasks import Attempt

_GRACE_S = 60.0
_LASTS_S = 200.0
"""Less than what would be a backlog."""


class Bare(Failure):
    """It had been served before; it is served again in the end."""

    def begin(self, cell: Cell) -> None:
        """Serve it for a minute, then no more."""
        for _ in range(3):
            cell.submit(BULK)
        cell.clock.after(90.0, lambda: self._leave(cell))

    def _leave(self, cell: Cell) -> None:
        cell.held.add(BULK.queue)
        told: list[object] = []
        bare: list[float] = []

        def sampled(queue: str, line: deque[Attempt], now: float, heard_s: float) -> None:
            if queue != BULK.queue or queue not in cell.held or not line:
                return
            bare.append(now)
            if now - bare[0] > _GRACE_S and not told:
                told.append(cell.truth(BULK.queue, heard_s, since_s=bare[0]))

        cell.sampled = sampled  # type: ignore[method-assign]  # it is meant to be taken over
        for _ in range(3):
            cell.submit(BULK)

        def back() -> None:
            cell.held.discard(BULK.queue)
            cell.pump()

        cell.clock.after(_LASTS_S, back)


FAILURE = Bare(needs_s=420.0)
