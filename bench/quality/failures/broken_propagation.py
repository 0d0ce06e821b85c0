"""Dispatchers do not take over the trace of a call, and begin one of their own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bench.quality import shares
from bench.quality.cell import AGENT, DISPATCHER
from bench.quality.kit import Failure

if TYPE_CHECKING:
    from bench.quality.cell import Cell

_LEAST, _SHARE, _LASTS_S = 20, 0.05, 400.0


class NewTraces(Failure):
    """The request ID is still the same at both ends."""

    def begin(self, cell: Cell) -> None:
        """Begin to tell calls as spans, whose traces part."""
        cell.spans = cell.new_traces = True
        made = cell.truth(f"{AGENT} to {DISPATCHER}", math.inf, early_s=shares.EARLY_S)

        def mend() -> None:
            cell.new_traces = False

        cell.clock.after(_LASTS_S, mend)
        shares.watch(cell, made, lambda: ((at_s, bad) for at_s, bad, _ in cell.account.called),
                     least=_LEAST, share=_SHARE)  # fmt: skip


FAILURE = NewTraces(needs_s=500.0)
