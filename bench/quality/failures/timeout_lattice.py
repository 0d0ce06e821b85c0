"""A heartbeat time-out is configured that is shorter than three beats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.quality.cell import dotted
from bench.quality.kit import Failure
from bench.quality.tasks import KINDS, Attempt

if TYPE_CHECKING:
    from bench.quality.cell import Cell

_TOO_SHORT_S = 25.0


class TooShort(Failure):
    """The dispatcher says it with each task of the name from then on."""

    def begin(self, cell: Cell) -> None:
        """Say it with the next task; its beats have been heard before."""
        kind = KINDS[1]
        made = Attempt(0, f"{cell.name}-lattice", kind, 1.0)
        heard = cell.dispatcher.say("task.enqueued", cell.clock.now, **dotted(made),
                                    task__heartbeat_timeout_s=_TOO_SHORT_S)  # fmt: skip
        cell.dispatcher.say("task.recorded", cell.clock.now + 1, task__state="canceled",
                            **dotted(made))  # fmt: skip
        cell.truth(f"{kind.name}: heartbeat time-out of too few beats", heard.first_s)


FAILURE = TooShort(needs_s=200.0)
