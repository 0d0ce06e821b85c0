"""One task is delivered to two agents, which both run it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bench.quality.cell import dotted
from bench.quality.kit import Failure

if TYPE_CHECKING:
    from bench.quality.cell import Cell
    from bench.quality.process import Process
    from bench.quality.tasks import Attempt


class Twice(Failure):
    """The second agent has it some seconds after the first; both succeed, one is recorded."""

    def begun(self, cell: Cell, attempt: Attempt, agent: Process) -> bool:
        """Let another agent begin it too."""
        others = [one for one in cell.agents if one is not agent and one.alive and one.taking]
        if others and attempt.run_s > 10:  # noqa: PLR2004 - else they would hardly overlap
            other = cell.rng.choice(others)
            cell.clock.after(cell.rng.uniform(1, 4), partial(self._second, cell, attempt, other))
        return False

    def _second(self, cell: Cell, attempt: Attempt, other: Process) -> None:
        if attempt.over or not other.alive:
            return
        begun = other.say("task.started", cell.clock.now, **dotted(attempt))
        number = -attempt.number
        other.runs.add(number)  # it is not drained before that is over
        cell.running[number] = (attempt, other)
        cell.clock.after(
            attempt.run_s * cell.rng.uniform(0.9, 1.3),
            partial(self._ends, cell, attempt, other, begun.first_s),
        )

    def _ends(self, cell: Cell, attempt: Attempt, other: Process, begun_heard_s: float) -> None:
        other.runs.discard(-attempt.number)
        cell.running.pop(-attempt.number, None)
        if not other.alive:
            return
        cell.ended(attempt, other, "success")
        # both have it from here on: that they overlap shows once each has spoken after the other
        at_s = max(begun_heard_s, attempt.sign_heard_s) + 1.0
        cell.truth(attempt.task, at_s, attempt=attempt, failure=self)


FAILURE = Twice(share=0.005)
