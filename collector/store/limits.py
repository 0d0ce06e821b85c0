"""How much the store keeps, and for how long."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes, rows and seconds, as the names say; defaults are those of the configuration."""

    memory_bytes: int = 320 << 20
    hot_rows: int = 1_000_000
    settle_s: float = 3600.0
    abandon_s: float = 7 * 86_400.0
    bin_s: float = 60.0
    apply_s: float = 1.0
    checkpoint_s: float = 30.0
    segment_rows: int = 500_000
    journal_bytes: int = 10 << 30
    backlog_bytes: int = 64 << 20
    min_free_bytes: int = 256 << 20
    keep_s: float = 30 * 86_400.0
    keep_bytes: int = 50 << 30
    push_gap_s: float = 5.0
