"""A new agent dies seconds after each start, and is started again."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from bench.quality.cell import AGENT
from bench.quality.kit import Failure

if TYPE_CHECKING:
    from bench.quality.cell import Cell

_ENDS, _TIMES = 3, 8


class Looping(Failure):
    """It says each time that it ends uncleanly; after eight times it is mended."""

    def begin(self, cell: Cell) -> None:
        """Start it for the first time."""
        self._start(cell, f"loop-{cell.name}", [])

    def _start(self, cell: Cell, name: str, ends: list[float]) -> None:
        process = cell.process("agent", name)

        def die() -> None:
            process.alive = False
            heard = process.say("instance.stopped", cell.clock.now, instance__clean=False)
            ends.append(heard.first_s)
            known = [at_s for at_s in ends if at_s < math.inf]
            if len(known) == _ENDS and heard.first_s < math.inf:
                # a new life tells of the end that was lost: it may be found earlier
                early_s = 0.0 if len(ends) == _ENDS else max(known) - sorted(known)[-2]
                cell.truth(f"{AGENT} on {process.host}", max(known), early_s=early_s)
            if len(ends) < _TIMES:
                cell.clock.after(cell.rng.uniform(5, 25), partial(self._start, cell, name, ends))

        cell.clock.after(cell.rng.uniform(2, 20), die)


FAILURE = Looping(needs_s=400.0)
