"""A run ends, and that is never recorded: not reported, or accepted and then forgotten."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bench.quality.calls import Call
from bench.quality.cell import DISPATCHER, LIMIT_S
from bench.quality.failures.zombie_task import USUAL_S
from bench.quality.kit import Failure

if TYPE_CHECKING:
    from bench.quality.cell import Cell
    from bench.quality.process import Process
    from bench.quality.tasks import Attempt

GRACE_S = 30.0
"""So long after its end (as heard) a record may take."""
_EARLY_S = 60.0
"""So long before its end it may have been called dead, without anything that followed from it."""


class Forgotten(Failure):
    """A patrol sets the state right, minutes later."""

    def finished(self, cell: Cell, attempt: Attempt, agent: Process) -> bool:
        """Say that it is over, and record nothing."""
        heard_s = cell.ended(attempt, agent)
        if cell.rng.random() < 0.5:  # noqa: PLR2004 - a half is reported, and forgotten there
            known = tuple(attempt.known.items())
            cell.call(Call("report", f"{attempt.task}-lost", 0.2, LIMIT_S, known=known), agent,
                      cell.dispatcher, cell.clock.now)  # fmt: skip
        missing(cell, attempt, agent, heard_s, self)
        return True


def missing(cell: Cell, attempt: Attempt, agent: Process, heard_s: float, failure: Failure) -> None:
    """Write down that the record of a run, whose end was *heard_s*, is missing until a patrol."""
    held_s = attempt.running_heard_s
    if held_s == math.inf:  # that it was handed out is lost: what was heard first of it counts
        held_s = min(attempt.enqueued_heard_s, attempt.sign_heard_s)
    now = cell.clock.now
    made = cell.truth(attempt.subject, heard_s + GRACE_S, attempt=attempt, failure=failure,
                      detector="lost_report", word=(DISPATCHER, now + USUAL_S),
                      word_from_s=max(min(held_s, now), now - _EARLY_S))  # fmt: skip

    def patrol() -> None:
        if attempt.number not in cell.running:
            return  # its agent died, and it was taken back
        made.until_s = cell.record(attempt, agent, "success", cell.dispatcher)

    cell.clock.after(GRACE_S + cell.rng.uniform(60, 240), patrol)


FAILURE = Forgotten(share=0.004, absence=True)
