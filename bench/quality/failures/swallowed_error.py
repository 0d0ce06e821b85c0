"""A report fails, and its caller neither says so nor tries again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.quality.failures.lost_report import missing
from bench.quality.kit import Failure

if TYPE_CHECKING:
    from bench.quality.cell import Cell
    from bench.quality.process import Process
    from bench.quality.tasks import Attempt

_GRACE_S = 30.0
"""Within which it would have tried again."""


class Swallowed(Failure):
    """The dispatcher answers with an error; the record stays missing until a patrol."""

    def finished(self, cell: Cell, attempt: Attempt, agent: Process) -> bool:
        """Report in vain."""
        heard_s = cell.ended(attempt, agent)
        told = cell.report(attempt, agent, 0.3, status=500)
        # whatever the callee said: it is the caller's words that tell it
        true_s = told.caller_s + _GRACE_S
        cell.truth(told.request, true_s, attempt=attempt, failure=self,
                   word=(agent.instance, true_s))  # fmt: skip
        missing(cell, attempt, agent, heard_s, self)
        return True


FAILURE = Swallowed(share=0.004, absence=True)
