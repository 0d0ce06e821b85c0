"""A caller gives up on a call, and the callee commits it all the same."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bench.quality.calls import Call
from bench.quality.cell import LIMIT_S, dotted
from bench.quality.failures.zombie_task import grace_s
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
        cell.truth(request, told.all_s, attempt=attempt, failure=self)
        limit_s = grace_s(cell, attempt.kind.name)
        cell.truth(attempt.subject, attempt.running_heard_s + limit_s, attempt=attempt,
                   failure=self, detector="zombie_task")  # fmt: skip
        cell.clock.after(limit_s + cell.rng.uniform(60, 200), lambda: cell.requeue(attempt, agent))
        return True

    def reporting(self, cell: Cell, attempt: Attempt, agent: Process) -> bool:
        """Let the first report be given up; the second is answered at once."""
        takes_s = LIMIT_S + cell.rng.uniform(1, 4)
        request = f"{attempt.task}-r{attempt.attempt}-g{cell.rng.randrange(1 << 30):x}"
        known = tuple(attempt.known.items())
        call = Call("report", request, takes_s, LIMIT_S, known=known)
        told = cell.call(call, agent, cell.dispatcher, cell.clock.now)
        cell.truth(request, told.all_s, attempt=attempt, failure=self)
        cell.clock.after(LIMIT_S, partial(self._again, cell, attempt, agent, request))
        return True

    def _again(self, cell: Cell, attempt: Attempt, agent: Process, request: str) -> None:
        agent.error("the report timed out; trying again", cell.clock.now,
                  request__id=request, **dotted(attempt))  # fmt: skip
        cell.clock.after(cell.rng.uniform(5, 8), partial(cell.report, attempt, agent, 0.2))


FAILURE = Committed(share=0.005)
