"""An outside service turns calls away because there are too many of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.quality.api import refuse
from bench.quality.kit import Failure

if TYPE_CHECKING:
    from bench.quality.cell import Cell


class TooMany(Failure):
    """For some minutes."""

    def begin(self, cell: Cell) -> None:
        """Let all calls be answered with 429: over a twentieth of them soon."""
        refuse(cell, 429, 0.05)


FAILURE = TooMany(needs_s=500.0)
