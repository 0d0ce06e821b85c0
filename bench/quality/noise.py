"""What stands between what is said and what is heard."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Noise:
    """Shares are of 1, lengths in seconds."""

    late_share: float = 0.01
    """Records that take another way, late by up to `late_s`: out of order, too."""
    stall_every_s: float = 1200.0
    """So often, about, a process's exporter stalls, for up to `late_s`; then all of it comes."""
    late_s: float = 30.0
    twice_share: float = 0.01
    """Records that are sent twice."""
    skewed_share: float = 0.2
    """Processes whose clock is off, by up to `skew_s` in either direction."""
    skew_s: float = 300.0
    near_s: float = 0.05
    """So far are the other clocks off, about."""
    reused_share: float = 0.01
    """Tasks that bear the ID of one that ended a while ago."""
    told_loss: float = 0.005
    """Exports (what a process says in a second) that fail, and the process then says so."""
    silent_loss: float = 0.0005
    """Exports that are lost without a trace."""
    dark_share: float = 0.1
    """Cells of which one side is not heard for some minutes."""
    outages: tuple[tuple[float, float], ...] = ((0.45, 3.0), (0.62, 20.0), (0.8, 2.0))
    """Restarts of the sidecar: when (of the whole time), and how long it is away, in seconds."""
