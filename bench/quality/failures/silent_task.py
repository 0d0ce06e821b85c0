"""A run hangs, beats included; its agent goes on as if nothing were."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.quality.failures.overdue_task import besides
from bench.quality.kit import Failure

if TYPE_CHECKING:
    from bench.quality.cell import Cell
    from bench.quality.process import Process
    from bench.quality.tasks import Attempt

_LIMIT_S = 90.0
"""Three beats of 10 s are less than the least silence that counts."""


class Hangs(Failure):
    """A dispatcher takes it back after a while."""

    def wants(self, cell: Cell, attempt: Attempt) -> bool:
        """Only who promised a beat can miss one."""
        del cell
        return attempt.kind.beat_s is not None

    def begun(self, cell: Cell, attempt: Attempt, agent: Process) -> bool:
        """Beat for a while, then no more."""
        beats_s = cell.rng.uniform(11, 60)
        attempt.run_s = beats_s

        def stop() -> None:
            if attempt.over:
                return
            attempt.over = True  # ends the beats
            # it has been silent since its last sign, not since it hangs
            heard_s = attempt.sign_last_heard_s
            word_s = heard_s + (attempt.kind.beat_s or 0.0)
            cell.truth(attempt.subject, heard_s + _LIMIT_S, attempt=attempt,
                       since_s=attempt.sign_said_s, failure=self,
                       word=(agent.instance, word_s))  # fmt: skip
            besides(cell, attempt, self)
            cell.clock.after(_LIMIT_S + cell.rng.uniform(60, 300),
                             lambda: agent.alive and cell.requeue(attempt, agent))  # fmt: skip

        cell.clock.after(beats_s, stop)
        return True


FAILURE = Hangs(share=0.008, absence=True)
