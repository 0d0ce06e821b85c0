"""The two ends disagree on how a run ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.quality.kit import Failure

if TYPE_CHECKING:
    from bench.quality.cell import Cell
    from bench.quality.process import Process
    from bench.quality.tasks import Attempt

_GRACE_S = 15.0
"""In which either end may correct itself."""


class TwoWords(Failure):
    """A lost success, a late one, or a false one; nobody tries again."""

    def finished(self, cell: Cell, attempt: Attempt, agent: Process) -> bool:
        """Say one thing, and record the other."""
        attempt.pauses_s = ()
        dice, by = cell.rng.random(), cell.dispatcher
        if dice < 1 / 3:  # called dead while it still ran
            recorded_s = cell.record(attempt, agent, "timeout", by)
            cell.clock.after(cell.rng.uniform(2, 20), lambda: self._late(
                cell, attempt, agent, recorded_s))  # fmt: skip
            return True
        said, state = ("success", "failure") if dice < 2 / 3 else ("failure", "success")
        ended_s = cell.ended(attempt, agent, said)
        recorded_s = cell.record(attempt, agent, state, by)
        self._true(cell, attempt, ended_s, recorded_s)
        return True

    def _late(self, cell: Cell, attempt: Attempt, agent: Process, recorded_s: float) -> None:
        self._true(cell, attempt, cell.ended(attempt, agent, "success"), recorded_s)

    def _true(self, cell: Cell, attempt: Attempt, ended_s: float, recorded_s: float) -> None:
        cell.truth(attempt.subject, max(ended_s, recorded_s) + _GRACE_S, attempt=attempt,
                   failure=self)  # fmt: skip


FAILURE = TwoWords(share=0.005)
