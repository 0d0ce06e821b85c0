"""A task is cancelled while an agent is about to begin it, and it begins all the same."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from bench.quality.cell import DISPATCHER
from bench.quality.kit import Failure

if TYPE_CHECKING:
    from bench.quality.cell import Cell
    from bench.quality.process import Process
    from bench.quality.tasks import Attempt

_MARGIN_S = 1.0


class TooLate(Failure):
    """The agent has it in its buffer; when it begins, nobody wants it any more."""

    def handed_out(self, cell: Cell, attempt: Attempt, agent: Process) -> bool:
        """Hand it out, cancel it, and let it begin after that."""
        request = f"{attempt.task}-d{attempt.attempt}-i{cell.rng.randrange(1 << 30):x}"
        cell.handing_out(attempt, agent, cell.dispatcher, request)
        wait_s = cell.rng.uniform(5, 15)
        cell.clock.after(wait_s, partial(self._cancel, cell, attempt, agent))
        return True

    def _cancel(self, cell: Cell, attempt: Attempt, agent: Process) -> None:
        attempt.pauses_s = ()
        recorded_s = cell.record(attempt, agent, "canceled", cell.dispatcher)
        cell.clock.after(
            cell.rng.uniform(5, 40),
            partial(self._begin, cell, attempt, agent, (cell.clock.now, recorded_s)),
        )

    def _begin(
        self, cell: Cell, attempt: Attempt, agent: Process, final: tuple[float, float]
    ) -> None:
        """Let it begin; *final* is when its end was recorded, and when that is heard."""
        if not agent.alive:
            return
        attempt.sign_heard_s = math.inf
        cell.sign(attempt, agent, "task.started")
        begun_s = attempt.sign_heard_s
        if begun_s < math.inf:
            waited_s = max(0.0, begun_s - attempt.running_heard_s)
            cell.account.accepts[attempt.kind.name].append(waited_s)
        since_s, recorded_s = final
        truth = cell.truth(attempt.subject, max(begun_s, recorded_s), since_s=since_s, failure=self,
                           attempt=attempt, word=(DISPATCHER, cell.clock.now))  # fmt: skip
        if cell.host_clocks.hidden(agent):
            truth.blind = "its clock is off, and no calls show by how much"
        cell.clock.after(3.0, partial(self._end, cell, attempt, agent))

    def _end(self, cell: Cell, attempt: Attempt, agent: Process) -> None:
        if agent.alive:
            cell.ended(attempt, agent, "canceled")


# that nobody had asked for it rests on the dispatcher's silence
FAILURE = TooLate(share=0.004, absence=True)
