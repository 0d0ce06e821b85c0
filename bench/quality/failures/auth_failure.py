"""A credential is no longer good: an outside service refuses every call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.quality.api import refuse
from bench.quality.kit import Failure

if TYPE_CHECKING:
    from bench.quality.cell import Cell


class Refused(Failure):
    """For some minutes."""

    def begin(self, cell: Cell) -> None:
        """Let all calls be answered with 401: over a fifth of them within minutes."""
        refuse(cell, 401, 0.2)


FAILURE = Refused(needs_s=500.0)
