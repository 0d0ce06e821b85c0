"""A side is not heard for some minutes, and what it said meanwhile is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.quality.cell import AGENT, DISPATCHER
from bench.quality.dark import darken
from bench.quality.kit import Failure

if TYPE_CHECKING:
    from bench.quality.cell import Cell


class Dark(Failure):
    """The path is cut, in half of the cases for good: nothing is kept."""

    def begin(self, cell: Cell) -> None:
        """Cut it a minute from now."""
        begin_s = cell.clock.now + 61.0
        service = cell.rng.choice((AGENT, DISPATCHER))
        held = cell.rng.random() < 0.5  # noqa: PLR2004 - a half
        darken(cell, service, begin_s, begin_s + cell.rng.uniform(120, 240), held=held)


FAILURE = Dark(needs_s=400.0)
