"""Clocks that are off are noise to all detectors but one, for which they are true."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections import Counter

    from bench.quality.cell import Cell
    from bench.quality.process import Process

_LIMIT_S: Final = 1.0
_CALLS: Final = 3


def look(
    cell: Cell, one: Process, other: Process, heard_s: float, pairs: Counter[tuple[str, str]]
) -> None:
    """Write down that the clocks of two hosts differ, once so many calls show it."""
    if math.isinf(heard_s):
        return  # lost: it shows nothing
    pair = (min(one.host, other.host), max(one.host, other.host))
    pairs[pair] += 1
    if pairs[pair] != _CALLS or abs(one.ahead_s - other.ahead_s) <= _LIMIT_S:
        return
    for who, peer in ((one, other), (other, one)):
        alone = abs(peer.ahead_s) <= _LIMIT_S < abs(who.ahead_s)
        # of two that are only together too far apart, either may be told
        off = abs(who.ahead_s) > _LIMIT_S or abs(peer.ahead_s) <= _LIMIT_S
        if off and (who.host, alone) not in cell.skewed:
            cell.skewed.add((who.host, alone))
            cell.truth(who.host, heard_s, detector="clock_skew", must=alone, early_s=heard_s)
