"""Tasks of one name fail at once, and are tried again without a pause."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from bench.quality.cell import DISPATCHER
from bench.quality.kit import Failure
from bench.quality.tasks import KINDS

if TYPE_CHECKING:
    from bench.quality.cell import Cell
    from bench.quality.process import Process
    from bench.quality.tasks import Attempt

_TASKS, _ENOUGH, _TRIES = 30, 20, 6
_PAUSE_S = 1.0


class Storm(Failure):
    """Thirty tasks, six tries each; the last one succeeds."""

    _fourth: ClassVar[dict[str, list[float]]] = {}

    def begin(self, cell: Cell) -> None:
        """Submit them all."""
        self._fourth[cell.name] = []
        for _ in range(_TASKS):
            cell.submit(KINDS[0], self)

    def begun(self, cell: Cell, attempt: Attempt, agent: Process) -> bool:
        """Fail a second later, each time but the last."""
        attempt.run_s = 1.0
        attempt.pauses_s = (_PAUSE_S,) * _TRIES
        attempt.outcome = "failure" if attempt.attempt < _TRIES else "success"
        if attempt.attempt == 4 and attempt.began_heard_s < math.inf:  # noqa: PLR2004 - more than 3
            fourth = self._fourth[cell.name]
            fourth.append(attempt.began_heard_s)
            if len(fourth) == _ENOUGH:
                cell.truth(f"{DISPATCHER}/{attempt.kind.name} attempts", max(fourth),
                           early_s=60.0)  # fmt: skip
        del agent
        return False


FAILURE = Storm(needs_s=420.0, lasting=True)
