"""Dispatchers give each request an ID of their own, and drop the caller's."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bench.quality import shares
from bench.quality.cell import AGENT, DISPATCHER
from bench.quality.kit import Failure
from bench.quality.tasks import KINDS

if TYPE_CHECKING:
    from bench.quality.cell import Cell

_LEAST, _SHARE, _WAIT_S, _LASTS_S, _EVERY_S = 50, 0.1, 60.0, 700.0, 5.0


class Renamed(Failure):
    """Calls are told as log lines, which only that ID joins."""

    def begin(self, cell: Cell) -> None:
        """Begin; tasks come fast enough for the share to be told."""
        cell.spans, cell.renames = False, True
        end_s = cell.clock.now + _LASTS_S
        for purpose in ("dispatch", "report"):
            made = cell.truth(
                f"{AGENT} to {DISPATCHER}, {purpose}", math.inf, early_s=shares.EARLY_S
            )

            def calls(purpose: str = purpose) -> list[tuple[float, bool]]:
                return [(at_s, bad) for at_s, bad, what in cell.account.called if what == purpose]

            shares.watch(cell, made, calls, least=_LEAST, share=_SHARE, wait_s=_WAIT_S)

        def submit() -> bool:
            cell.submit(KINDS[0])
            cell.renames = cell.clock.now < end_s
            return cell.renames

        cell.clock.every(_EVERY_S, submit)


FAILURE = Renamed(needs_s=800.0)
