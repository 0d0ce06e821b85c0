"""An agent is handed a task, and drops it: no word of it is ever heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.quality.kit import Failure

if TYPE_CHECKING:
    from bench.quality.cell import Cell
    from bench.quality.process import Process
    from bench.quality.tasks import Attempt

GRACE_S = 60.0
"""An agent may take so long to show a sign, or three times as long as it usually takes (p99)."""
_ENOUGH = 20


def grace_s(cell: Cell, name: str) -> float:
    """Return how long agents of *cell* have for the first sign of a task of *name*."""
    waits = sorted(cell.accepts[name])
    usual_s = waits[min(len(waits) - 1, int(0.99 * len(waits)))] if len(waits) >= _ENOUGH else 0.0
    return max(GRACE_S, 3 * usual_s)


class Dropped(Failure):
    """The dispatcher takes it back some minutes later."""

    def handed_out(self, cell: Cell, attempt: Attempt, agent: Process) -> bool:
        """Let both ends tell that it was handed out, and no more."""
        request = f"{attempt.task}-d{attempt.attempt}-x{cell.rng.randrange(1 << 30):x}"
        cell.handing_out(attempt, agent, cell.dispatcher, request)
        limit_s = grace_s(cell, attempt.kind.name)
        cell.truth(attempt.subject, attempt.running_heard_s + limit_s, attempt=attempt,
                   failure=self)  # fmt: skip
        cell.clock.after(limit_s + cell.rng.uniform(60, 300), lambda: cell.requeue(attempt, agent))
        return True


FAILURE = Dropped(share=0.004, absence=True)
