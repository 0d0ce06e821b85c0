"""An agent is handed a task, and drops it: no word of it is ever heard."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bench.quality.kit import Failure

if TYPE_CHECKING:
    from bench.quality.cell import Cell
    from bench.quality.process import Process
    from bench.quality.tasks import Attempt

GRACE_S = 60.0
"""An agent may take so long to show a sign, or three times as long as it usually takes (p99)."""
USUAL_S = 5.0
"""So long, about, it takes from being handed out to a sign, or from an end to its record."""
_ENOUGH = 20
_ROUNDED = 1.1
"""What is usual is known to within a tenth."""


def grace_s(cell: Cell, name: str) -> float:
    """Return how long agents of *cell* have for the first sign of a task of *name*."""
    waits = sorted(cell.account.accepts[name])
    usual_s = waits[min(len(waits) - 1, int(0.99 * len(waits)))] if len(waits) >= _ENOUGH else 0.0
    return max(GRACE_S, 3 * usual_s)


def zombie(cell: Cell, attempt: Attempt, agent: Process, failure: Failure) -> None:
    """Write down that *attempt* was handed out for nobody; a dispatcher takes it back later."""
    made = cell.truth(attempt.subject, math.inf, attempt=attempt, failure=failure,
                      detector="zombie_task",
                      word=(agent.instance, cell.clock.now + USUAL_S))  # fmt: skip
    since_s = attempt.running_heard_s

    def look() -> bool:
        limit_s = grace_s(cell, attempt.kind.name)
        longest_s = max(GRACE_S, limit_s * _ROUNDED if limit_s > GRACE_S else 0.0)
        if cell.clock.now < since_s + longest_s:
            return True
        made.true_s, made.early_s = since_s + longest_s, longest_s - GRACE_S
        cell.clock.after(cell.rng.uniform(60, 240), lambda: cell.requeue(attempt, agent))
        return False

    cell.clock.every(1.0, look)


class Dropped(Failure):
    """The dispatcher takes it back some minutes later."""

    def handed_out(self, cell: Cell, attempt: Attempt, agent: Process) -> bool:
        """Let both ends tell that it was handed out, and no more."""
        request = f"{attempt.task}-d{attempt.attempt}-x{cell.rng.randrange(1 << 30):x}"
        cell.handing_out(attempt, agent, cell.dispatcher, request)
        zombie(cell, attempt, agent, self)
        return True


FAILURE = Dropped(share=0.004, absence=True)
