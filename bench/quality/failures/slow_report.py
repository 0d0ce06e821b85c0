"""What a report takes at the dispatcher grows with what has been reported, as without an index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.quality.cell import DISPATCHER
from bench.quality.kit import Failure

if TYPE_CHECKING:
    from bench.quality.cell import Cell

_GROWTH_S = 900.0
"""In which it becomes eight times as slow; then the index is added."""
_TIMES = 8.0
_EARLY_S = 690.0
"""A rise is told from chance by minutes, not by calls."""


class Rising(Failure):
    """The load stays as it was."""

    def begin(self, cell: Cell) -> None:
        """Let it rise."""
        begun_s, usual_s = cell.clock.now, cell.report_s

        def takes_s() -> float:
            gone = min(1.0, (cell.clock.now - begun_s) / _GROWTH_S)
            return min(4.5, usual_s() * (1 + (_TIMES - 1) * gone))

        cell.report_s = takes_s
        # Of the half hour that is looked at, the last third is twice as slow as the first by then.
        true_s = begun_s + 700.0
        cell.truth(DISPATCHER, true_s, since_s=begun_s, early_s=_EARLY_S)

        def mend() -> None:
            cell.report_s = usual_s

        cell.clock.after(_GROWTH_S + 300.0, mend)


FAILURE = Rising(needs_s=1300.0)
