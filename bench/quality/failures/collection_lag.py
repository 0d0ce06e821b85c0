"""What agents say arrives late, all the time, for a quarter of an hour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.quality.cell import AGENT
from bench.quality.kit import Failure

if TYPE_CHECKING:
    from bench.quality.cell import Cell

_LATE_S, _LASTS_S, _WINDOW_S = (12.0, 20.0), 1000.0, 600.0


class Late(Failure):
    """By more than ten seconds, each record."""

    def begin(self, cell: Cell) -> None:
        """Begin with all agents, and those that come."""
        begun_s = cell.clock.now
        cell.slow = (AGENT, begun_s, begun_s + _LASTS_S, _LATE_S)
        for one in cell.agents:
            way = one.exporter
            way.slow_from_s, way.slow_to_s, way.slow_s = cell.slow[1:]
        # over what time is not defined: within the ten minutes that are looked at, at the latest
        until_s = begun_s + _LASTS_S + _WINDOW_S
        cell.truth(
            f"{AGENT} by otlp",
            begun_s + _WINDOW_S,
            since_s=begun_s,
            early_s=_WINDOW_S - _LATE_S[0],
            until_s=until_s,
        )


FAILURE = Late(needs_s=1100.0)
