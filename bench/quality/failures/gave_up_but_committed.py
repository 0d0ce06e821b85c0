"""A caller gives up on a call, and the callee commits it all the same."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bench.quality.calls import Call
from bench.quality.cell import AGENT, DISPATCHER, LIMIT_S, dotted
from bench.quality.failures.zombie_task import zombie
from bench.quality.kit import Failure

if TYPE_CHECKING:
    from bench.quality.cell import Cell
    from bench.quality.process import Process
    from bench.quality.tasks import Attempt


class Committed(Failure):
    """Of a report: the agent logs it, and reports again. Of a dispatch: a zombie is made."""

    def handed_out(self, cell: Cell, attempt: Attempt, agent: Process) -> bool:
        """Let half of them be handed out to an agent that no longer listens."""
        if cell.rng.random() < 0.5:  # noqa: PLR2004 - a half
            return False
        takes_s = LIMIT_S + cell.rng.uniform(1, 5)
        request = f"{attempt.task}-d{attempt.attempt}-g{cell.rng.randrange(1 << 30):x}"
        told = cell.handing_out(attempt, agent, cell.dispatcher, request, takes_s)
        agent.error("asking for work timed out", cell.clock.now + LIMIT_S,
                  request__id=request)  # fmt: skip
        # without a common ID the two ends cannot be laid beside each other
        cell.truth(request, told.all_s, attempt=attempt, failure=self, must=not cell.renames)
        self._besides(cell, "dispatch")
        zombie(cell, attempt, agent, self)
        return True

    def reporting(self, cell: Cell, attempt: Attempt, agent: Process) -> bool:
        """Let the first report be given up; the second is answered at once."""
        takes_s = LIMIT_S + cell.rng.uniform(1, 4)
        request = f"{attempt.task}-r{attempt.attempt}-g{cell.rng.randrange(1 << 30):x}"
        known = tuple(attempt.known.items())
        call = Call("report", request, takes_s, LIMIT_S, known=known)
        told = cell.call(call, agent, cell.dispatcher, cell.clock.now)
        # without a common ID the two ends cannot be laid beside each other
        cell.truth(request, told.all_s, attempt=attempt, failure=self, must=not cell.renames)
        self._besides(cell, "report")
        cell.clock.after(LIMIT_S, partial(self._again, cell, attempt, agent, request))
        return True

    def _besides(self, cell: Cell, purpose: str) -> None:
        """Where it happens often, the limit is too short for the answer by what was measured."""
        subject = f"{AGENT} to {DISPATCHER}, {purpose}: limit below the answer"
        cell.truth(subject, cell.clock.now, detector="timeout_lattice", must=False, failure=self)

    def _again(self, cell: Cell, attempt: Attempt, agent: Process, request: str) -> None:
        agent.error("the report timed out; trying again", cell.clock.now,
                  request__id=request, **dotted(attempt))  # fmt: skip
        cell.clock.after(cell.rng.uniform(5, 8), partial(cell.report, attempt, agent, 0.2))


FAILURE = Committed(share=0.005)
