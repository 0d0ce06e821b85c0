"""A message that nothing can process: it fails, and is given up."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from bench.quality.cell import DISPATCHER, dotted
from bench.quality.kit import Failure
from bench.quality.tasks import KINDS

if TYPE_CHECKING:
    from bench.quality.cell import Cell
    from bench.quality.process import Process
    from bench.quality.tasks import Attempt
    from bench.quality.truth import Truth


class Poison(Failure):
    """Three of them, of one name, for one reason: one finding."""

    _known: ClassVar[dict[str, Truth]] = {}

    def begin(self, cell: Cell) -> None:
        """Submit them."""
        self._known.pop(cell.name, None)
        for number in range(3):
            cell.clock.after(20.0 * number, partial(cell.submit, KINDS[0], self))

    def finished(self, cell: Cell, attempt: Attempt, agent: Process) -> bool:
        """Fail, and be given up."""
        cell.ended(attempt, agent, "failure")
        attempt.pauses_s = ()
        cell.record(attempt, agent, "failure", cell.dispatcher)
        heard = cell.dispatcher.say("task.dead_lettered", cell.clock.now + 0.1,
                                    task__reason="cannot be parsed", **dotted(attempt))  # fmt: skip
        subject = f"{DISPATCHER} default {attempt.kind.name}: cannot be parsed"
        known = self._known.get(cell.name) or cell.truth(subject, heard.first_s)
        known.true_s = min(known.true_s, heard.first_s)
        self._known[cell.name] = known
        return True


FAILURE = Poison(needs_s=200.0)
