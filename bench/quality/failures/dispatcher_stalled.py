"""Dispatchers live and queue, and hand nothing out, though agents are free."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from bench.quality.cell import DISPATCHER
from bench.quality.kit import Failure
from bench.quality.tasks import KINDS

if TYPE_CHECKING:
    from bench.quality.cell import Cell

_LEAST_S, _TIMES = 60.0, 3
_BUSY_S, _STALLS_S, _EVERY_S = 150.0, 300.0, 5.0


class Stalls(Failure):
    """After a time of steady work, so that what is usual is known."""

    def begin(self, cell: Cell) -> None:
        """Submit short tasks all the time, and stop handing out."""
        end_s = cell.clock.now + _BUSY_S + _STALLS_S

        def submit() -> bool:
            cell.submit(KINDS[0])
            return cell.clock.now < end_s

        cell.clock.every(_EVERY_S, submit)
        cell.clock.after(_BUSY_S, lambda: self._stop(cell))

    def _stop(self, cell: Cell) -> None:
        cell.stopped = True
        begun_s = cell.clock.now

        def back() -> None:
            cell.stopped = False
            cell.pump()

        def look() -> bool:
            free = any(not one.runs for one in cell.agents if one.taking)
            waits_s = min((one.enqueued_heard_s for line in cell.waiting.values() for one in line
                           if not one.depends_on), default=math.inf)  # fmt: skip
            if free and waits_s < math.inf:
                self._true(cell, begun_s, max(cell.clock.now, waits_s))
            return cell.stopped and not (free and waits_s < math.inf)

        cell.clock.every(1.0, look)
        cell.clock.after(_STALLS_S, back)

    def _true(self, cell: Cell, begun_s: float, free_s: float) -> None:
        """Once there is work, and who is free, nothing is handed out for so long."""
        heard = sorted(at_s for at_s in cell.account.handed if at_s < math.inf)
        gaps = sorted(after - before for before, after in pairwise(heard))
        usual_s = gaps[int(0.9 * len(gaps))] if gaps else 0.0
        base_s = max(free_s, heard[-1] if heard else begun_s)
        least_s = (heard[-1] if heard else begun_s) + _LEAST_S
        true_s = base_s + max(_LEAST_S, _TIMES * max(usual_s, 10.0))
        cell.truth(DISPATCHER, true_s, since_s=begun_s, early_s=max(0.0, true_s - least_s),
                   until_s=begun_s + _STALLS_S)  # fmt: skip


FAILURE = Stalls(needs_s=520.0, absence=True)
