"""A schedule is due, and is not run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.quality.cell import DISPATCHER, SCHEDULE, SCHEDULE_GRACE_S, SCHEDULE_S
from bench.quality.kit import Failure

if TYPE_CHECKING:
    from bench.quality.cell import Cell


class Skipped(Failure):
    """Twice in a row; then it runs again."""

    def begin(self, cell: Cell) -> None:
        """Let the next two pass."""
        cell.schedule_runs = False
        now = cell.clock.now
        due_s = (now // SCHEDULE_S + 1) * SCHEDULE_S

        def back() -> None:
            cell.schedule_runs = True

        cell.clock.at(due_s + SCHEDULE_S + 5.0, back)
        cell.truth(SCHEDULE, due_s + SCHEDULE_GRACE_S, since_s=due_s,
                   word=(DISPATCHER, due_s + SCHEDULE_GRACE_S))  # fmt: skip


FAILURE = Skipped(needs_s=400.0, absence=True)
