"""A run goes on past its declared limit, beating all the time, and nothing ends it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bench.quality.kit import Failure

if TYPE_CHECKING:
    from bench.quality.cell import Cell
    from bench.quality.process import Process
    from bench.quality.tasks import Attempt
    from bench.quality.truth import Truth

_GRACE_S = 10.0
"""In which a scheduler should have ended it."""


def besides(cell: Cell, attempt: Attempt, failure: Failure) -> Truth:
    """Write down that a run that will not end is overdue too, past its limit or what is usual."""
    usual_s = max(60.0, 3 * attempt.kind.least_s)
    limit_s = attempt.kind.limit_s + _GRACE_S if attempt.kind.limit_s else usual_s
    begun_s, _ = _begun(cell, attempt)
    return cell.truth(attempt.subject, begun_s + limit_s, detector="overdue_task", must=False,
                      attempt=attempt, failure=failure)  # fmt: skip


def _begun(cell: Cell, attempt: Attempt) -> tuple[float, bool]:
    """Return when it was heard that the run has begun, and whether that was said.

    Where that is lost, its other signs tell as much: the first that was heard, or is to come.
    """
    heard_s = attempt.began_heard_s
    if heard_s < math.inf:
        return heard_s, True
    return min(attempt.sign_heard_s, cell.clock.now), False


class Endless(Failure):
    """A dispatcher takes it back in the end, and the agent drops it without a word."""

    def wants(self, cell: Cell, attempt: Attempt) -> bool:
        """Only who has a limit can pass it."""
        del cell
        return attempt.kind.limit_s is not None

    def begun(self, cell: Cell, attempt: Attempt, agent: Process) -> bool:
        """Beat, and do not end."""
        limit_s = (attempt.kind.limit_s or 0.0) + _GRACE_S
        begun_s, must = _begun(cell, attempt)
        cell.truth(attempt.subject, begun_s + limit_s, must=must, attempt=attempt, failure=self)
        lasts_s = limit_s + cell.rng.uniform(90, 240)
        cell.beats(attempt, agent, cell.clock.now + lasts_s)
        cell.clock.after(lasts_s, lambda: agent.alive and cell.requeue(attempt, agent))
        return True


FAILURE = Endless(share=0.012, absence=True)
