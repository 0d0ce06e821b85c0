"""A side that is not heard for some minutes, though it lives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bench.quality.process import BEAT_S

if TYPE_CHECKING:
    from bench.quality.cell import Cell

_LIMIT_S: Final = max(60.0, 3 * BEAT_S)
"""A promised beat may stay away for three of its gaps, and for a minute at least."""
_BACK_S: Final = 15.0
"""So long after the end, all that was held has come."""


def darken(cell: Cell, service: str, begin_s: float, end_s: float, *, held: bool) -> None:
    """Let *service* of *cell* not be heard from *begin_s* to *end_s*; what is *held* comes late.

    That it is dark is true, and is written down; whatever rests on its silence cannot be told.
    """
    cell.dark.append((service, begin_s, end_s, held))
    for one in (*cell.agents, *cell.dispatchers):
        if one.service == service:
            one.exporter.dark.append((begin_s, end_s, held))

    def look() -> None:
        whose = [one for one in (*cell.agents, *cell.dispatchers) if one.service == service]
        heard_s = max(one.exporter.before_dark_s for one in whose)
        for _, back_s in cell.path.absences:
            if heard_s < back_s < heard_s + _LIMIT_S:
                heard_s = back_s
        if heard_s + _LIMIT_S < end_s - _BACK_S:
            cell.truth(f"{service} by otlp", heard_s + _LIMIT_S, since_s=begin_s,
                       until_s=end_s + _BACK_S, detector="source_dark")  # fmt: skip

    cell.clock.at(begin_s + 2.0, look)
