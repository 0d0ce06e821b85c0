"""One task is delivered to two agents, which both run it."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Final

from bench.quality.failures.lost_report import GRACE_S
from bench.quality.kit import Failure

if TYPE_CHECKING:
    from bench.quality.cell import Cell
    from bench.quality.process import Process
    from bench.quality.tasks import Attempt


_OVERLAP_S: Final = 1.1
"""A second, and what ordinary clocks differ by."""
_LATER_S: Final = 15.0
"""So long after the second run the first is over too: it may take a tenth less."""


class Twice(Failure):
    """The second agent has it some seconds after the first; both succeed, one is recorded."""

    def begun(self, cell: Cell, attempt: Attempt, agent: Process) -> bool:
        """Let another agent begin it too."""
        others = [one for one in cell.agents if one is not agent and one.alive and one.taking]
        if others and attempt.run_s > 10:  # noqa: PLR2004 - else they would hardly overlap
            other = cell.rng.choice(others)
            second = partial(self._second, cell, attempt, agent, other)
            cell.clock.after(cell.rng.uniform(1, 4), second)
        return False

    def _second(self, cell: Cell, attempt: Attempt, agent: Process, other: Process) -> None:
        if attempt.over or not other.alive:
            return
        begun_s = cell.clock.now
        cell.sign(attempt, other, "task.started")
        number = -attempt.number
        other.runs.add(number)  # it is not drained before that is over
        cell.running[number] = (attempt, other)
        run_s = attempt.run_s * cell.rng.uniform(0.9, 1.3)
        if attempt.kind.beat_s:
            cell.beats(attempt, other, begun_s + run_s)
        cell.clock.after(run_s, partial(self._ends, cell, attempt, agent, other, begun_s))

    def _ends(
        self, cell: Cell, attempt: Attempt, agent: Process, other: Process, begun_s: float
    ) -> None:
        other.runs.discard(-attempt.number)
        cell.running.pop(-attempt.number, None)
        if other.alive:
            heard_s = cell.ended(attempt, other, "success")
            if attempt.over:  # the first one's agent died, and nobody reports what this one did
                cell.truth(attempt.subject, heard_s + GRACE_S, failure=self,
                           detector="lost_report", must=False)  # fmt: skip
                cell.truth(attempt.task, heard_s, failure=self, must=False)
        cell.clock.after(_LATER_S, partial(self._told, cell, attempt, agent, other, begun_s))

    def _told(
        self, cell: Cell, attempt: Attempt, agent: Process, other: Process, begun_s: float
    ) -> None:
        """Write down when it showed: each had been heard to go on after the second had begun."""

        def shown_s(who: Process) -> float:
            return min((heard_s for name, at_s, heard_s in attempt.signs
                        if name == who.instance and at_s > begun_s + _OVERLAP_S),
                       default=math.inf)  # fmt: skip

        begin_heard_s = [
            min((heard_s for name, _, heard_s in attempt.signs if name == who.instance),
                default=math.inf)
            for who in (agent, other)
        ]  # fmt: skip
        at_s = max(*begin_heard_s, shown_s(agent), shown_s(other))
        if at_s < math.inf:
            cell.truth(attempt.task, at_s, since_s=begun_s, attempt=attempt, failure=self)


FAILURE = Twice(share=0.005)
