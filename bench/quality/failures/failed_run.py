"""A schedule is run in time, and its runs fail."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bench.quality.cell import SCHEDULE, SCHEDULE_S
from bench.quality.kit import Failure

if TYPE_CHECKING:
    from bench.quality.cell import Cell
    from bench.quality.truth import Truth

_TIMES = 2


class Fails(Failure):
    """Twice in a row; then it succeeds again."""

    def begin(self, cell: Cell) -> None:
        """Let the next two fail."""
        cell.schedule_ends = "failure"
        told: list[Truth] = []
        failed: list[float] = []

        def ended(outcome: str, heard_s: float) -> None:
            if outcome == "failure":
                failed.append(heard_s)
                if len(failed) == _TIMES:
                    cell.schedule_ends = "success"
                if told:
                    told[0].true_s = min(told[0].true_s, heard_s)
                elif heard_s < math.inf:
                    told.append(cell.truth(SCHEDULE, heard_s, since_s=cell.clock.now))
            elif failed and told:
                told[0].until_s = min(told[0].until_s, heard_s)

        cell.schedule_ended = ended  # type: ignore[method-assign]  # it is meant to be taken over


FAILURE = Fails(needs_s=_TIMES * SCHEDULE_S + 160.0)
