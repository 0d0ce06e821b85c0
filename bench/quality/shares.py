"""When a share of something was passed, counted as the definitions count."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bench.quality.cell import Cell
    from bench.quality.truth import Truth

WINDOW_S = 900.0
EARLY_S = 15.0
"""A call of which only one end was heard may count too, and one more or less makes a share."""


def watch(
    cell: Cell,
    truth: Truth,
    events: Callable[[], Iterable[tuple[float, bool]]],
    *,
    least: int,
    share: float,
    wait_s: float = 0.0,
) -> None:
    """Make *truth* true once, of the last quarter of an hour's *events*, over *share* are bad.

    An event is when it was heard and whether it is bad; there must be *least* of them, and they
    count from *wait_s* after they were heard.
    """

    def look() -> bool:
        now = cell.clock.now
        recent = [bad for at_s, bad in events() if now - WINDOW_S < at_s <= now - wait_s]
        if len(recent) < least or sum(recent) <= share * len(recent):
            return True
        truth.true_s = now
        return False

    cell.clock.every(1.0, look)
