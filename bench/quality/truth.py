"""What is true, written down by whoever made it so."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(slots=True)
class Truth:
    """One thing that a detector should find, or (not *must*) may find. Times in simulated seconds.

    `true_s` is when its definition held, thresholds included, by what had arrived at the sidecar
    by then; `since_s` is when it began; `until_s` when it ended, likewise by arrival. `blind` says
    why it cannot be told from a loss of signals: then *unknown* is the right answer. Where the
    moment is a matter of statistics, it may be told `early_s` before.
    """

    failure: str
    detector: str
    namespace: str
    subject: str
    since_s: float
    true_s: float
    until_s: float = math.inf
    must: bool = True
    blind: str = ""
    early_s: float = 0.0
    word_of: str = ""
    """The service, or the instance, whose word is missed."""
    also_of: str = ""
    """Another one whose word is missed too: only if both lost some can it not be told."""
    word_from_s: float | None = None
    """From when on it may have been said, where that is not since it is so."""
    word_s: float = 0.0
    """By when it would surely have been said."""


@dataclass(slots=True)
class Truths:
    """All of them."""

    told: list[Truth] = field(default_factory=list)

    def add(self, truth: Truth) -> Truth:
        """Write *truth* down."""
        self.told.append(truth)
        return truth
