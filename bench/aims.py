"""The numbers to hold (DESIGN.md), and where the bench finds what was reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.measures import history, settled, visible
from bench.measures._posted import case
from bench.ratios import Figure

if TYPE_CHECKING:
    from bench.results import Measured


@dataclass(frozen=True, slots=True)
class Aim:
    """One number to hold. Without a *figure*, it is measured *elsewhere*."""

    what: str
    number: float
    unit: str
    figure: Figure | None = None
    at_most: bool = False
    elsewhere: str = ""

    @property
    def told(self) -> str:
        """The aim as people read it."""
        return f"at {'most' if self.at_most else 'least'} {self.number:,g}{self.unit}"

    def reached(self, measured: Measured) -> float | None:
        """Return what was measured, in the aim's unit, or None."""
        return self.figure.of(measured) if self.figure else None

    def held(self, reached: float) -> bool:
        """Tell whether *reached* is as good as the aim."""
        return reached <= self.number if self.at_most else reached >= self.number


_BEST: Final = case(16)

AIMS: Final = (
    Aim("OTLP spans, acknowledged", 150_000, "/s", Figure("spans", _BEST, "acknowledged_per_s")),
    Aim("OTLP spans, relations kept up", 150_000, "/s", Figure("spans", _BEST, "applied_per_s")),
    Aim("OTLP logs, acknowledged", 150_000, "/s", Figure("logs", _BEST, "acknowledged_per_s")),
    Aim("OTLP logs, relations kept up", 150_000, "/s", Figure("logs", _BEST, "applied_per_s")),
    Aim("JSON lines followed", 300_000, "/s", Figure("lines", "one file", "applied_per_s")),
    Aim(
        "all detectors, 100,000 open and 100,000 closed", 150, " ms",
        Figure("eval", "100,000 open, 100,000 closed", "total_ms"), at_most=True,
    ),
    Aim(
        "all detectors, 100,000 open and 1,000,000 closed", 400, " ms",
        Figure("eval", "100,000 open, 1,000,000 closed", "total_ms"), at_most=True,
    ),
    Aim(
        "memory when idle", 170, " MB", Figure("start", "empty folder", "idle_rss_mb"), at_most=True
    ),
    Aim("memory under full load", 600, " MB", Figure("spans", _BEST, "peak_rss_mb"), at_most=True),
    Aim(
        "CPU when idle, of one core", 1, "%",
        Figure("start", "empty folder", "idle_cpu_percent"), at_most=True,
    ),
    Aim(
        "start-up to ready, empty folder", 2, " s",
        Figure("start", "empty folder", "ready_s"), at_most=True,
    ),
    Aim(
        "start-up to ready, 10 GB of history", 10, " s",
        Figure("history", history.case(10_000_000_000), "ready_s"), at_most=True,
    ),
    Aim(
        "first view of the page, 10 GB of history", 100, " ms",
        Figure("history", history.case(10_000_000_000), "first_page_ms"), at_most=True,
    ),
    Aim(
        "from arrival to visible, beyond the hold, evaluated every 5 s", 10, " s",
        Figure("visible", visible.case(5), "visible_max_s"), at_most=True,
    ),
    Aim(
        "from arrival to visible, beyond the hold, evaluated every 1 s", 2, " s",
        Figure("visible", visible.case(1), "visible_max_s"), at_most=True,
    ),
    Aim(
        "all detectors, 100,000,000 settled", 400, " ms",
        Figure("settled", settled.case(100_000_000), "total_ms"), at_most=True,
    ),
    Aim(
        "acknowledged, then lost, over 1,000 kills", 0, "", at_most=True,
        elsewhere="see docs/reliability.md, by `make crash`",
    ),
)  # fmt: skip
