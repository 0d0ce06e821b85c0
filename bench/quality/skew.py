"""Clocks that are off are noise to all detectors but one, for which they are true."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bench.quality.cell import Cell
    from bench.quality.process import Process

_LIMIT_S: Final = 1.0
_CALLS: Final = 3


@dataclass(slots=True)
class Clocks:
    """The clocks of a cell's hosts, and what has shown how far they are apart."""

    ahead_s: dict[str, float] = field(default_factory=dict)
    """Of each host: how far its clock is ahead."""
    _calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Calls between two hosts."""
    _told: set[tuple[str, bool]] = field(default_factory=set)
    """Hosts whose clock was told to be off, and whether one beside it was right."""

    def look(self, cell: Cell, one: Process, other: Process, heard_s: float) -> None:
        """Write down that the clocks of two hosts differ, once so many calls show it."""
        if math.isinf(heard_s):
            return  # lost: it shows nothing
        pair = (min(one.host, other.host), max(one.host, other.host))
        self._calls[pair] += 1
        if self._calls[pair] != _CALLS or abs(one.ahead_s - other.ahead_s) <= _LIMIT_S:
            return
        for who, peer in ((one, other), (other, one)):
            alone = abs(peer.ahead_s) <= _LIMIT_S < abs(who.ahead_s)
            # of two that are only together too far apart, either may be told
            off = abs(who.ahead_s) > _LIMIT_S or abs(peer.ahead_s) <= _LIMIT_S
            if (off or not self._agreed(who)) and (who.host, alone) not in self._told:
                self._told.add((who.host, alone))
                cell.truth(who.host, heard_s, detector="clock_skew", must=alone, early_s=heard_s)

    def hidden(self, one: Process) -> bool:
        """Say whether the clock of *one* is off, and no calls have shown by how much."""
        shown = any(number >= _CALLS for pair, number in self._calls.items() if one.host in pair)
        return abs(one.ahead_s) > _LIMIT_S and not shown

    def _agreed(self, who: Process) -> bool:
        """Say whether anyone whom *who* has met has about its time: else it is off to all."""
        met = {host for pair in self._calls if who.host in pair for host in pair} - {who.host}
        return any(abs(self.ahead_s[host] - who.ahead_s) <= _LIMIT_S for host in met)
