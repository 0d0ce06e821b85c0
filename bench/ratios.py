"""What the whole path reaches, divided by what one of its parts could do alone.

A ratio says more than a rate: it was measured in one run, so a slow machine or a noisy
neighbour is on both sides of it. Near 1, the path is bound by that part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.measures._posted import case

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.results import Measured


class Figure(NamedTuple):
    """Where a number is: measurement, case, figure."""

    measure: str
    case: str
    name: str

    def of(self, measured: Measured) -> float | None:
        """Return the number, or None where it was not measured."""
        return measured.get(self.measure, {}).get(self.case, {}).get(self.name)


@dataclass(frozen=True, slots=True)
class Ratio:
    """Records per second of a path and of a limit, and how they are told."""

    path: str
    limit: str
    path_per_s: float
    limit_per_s: float

    @property
    def ratio(self) -> float:
        """Path divided by limit."""
        return self.path_per_s / self.limit_per_s


_STAGES: Final = {
    "received_per_s": "received and dropped",
    "decoded_per_s": "decoded",
    "flattened_per_s": "decoded and flattened",
    "pipeline_per_s": "the pipeline alone",
    "inserted_per_s": "inserted into DuckDB, no relations",
    "folded_per_s": "the fold alone",
    "pipeline_then_fold_per_s": "pipeline, then fold",
    "together_per_s": "pipeline, then fold, on each core at once",
}

_SYNCED: Final = {
    "synced_by_{}_per_s": "written and synced, {} a group",
    "journal_by_{}_per_s": "the journal alone, {} a group",
}


_GROWTHS: Final = {
    "settled": (
        "total_ms", "lookup_unknown_ms", "lookup_one_ms", "lookup_thousand_ms", "lookup_spread_ms",
        "applied_new_ms", "applied_agent_ms", "opened_s",
    ),
    "history": ("ready_s", "idle_cpu_percent", "idle_rss_mb"),
}  # fmt: skip
"""What should be the same with much history as with little: measurement → figures."""


class Growth(NamedTuple):
    """A figure with little history and with much, and the names of the two cases."""

    figure: str
    less: str
    more: str
    values: tuple[float, float]

    @property
    def ratio(self) -> float:
        """With much, divided by with little."""
        return self.values[1] / self.values[0]


def growths(measured: Measured) -> Iterator[Growth]:
    """Yield each figure of the least and the most history that were measured."""
    for measure, figures in _GROWTHS.items():
        cases = list(measured.get(measure, {}).items())
        if len(cases) > 1:
            (less, before), (more, after) = cases[0], cases[-1]
            for name in figures:
                yield Growth(name, less, more, (before[name], after[name]))


def ratios(measured: Measured) -> Iterator[Ratio]:
    """Yield every ratio of which both sides were measured."""
    for kind in ("spans", "logs", "beats"):
        for connections in (1, 16):
            path = Figure(kind, case(connections), "acknowledged_per_s")
            told = f"{kind} acknowledged, {case(connections)}"
            for name, limit in _SYNCED.items():
                of = Figure("limits", kind, name.format(connections))
                yield from _ratio(measured, told, limit.format(connections), path, of)
    for kind, of_case in (("spans", case(16)), ("logs", case(16)), ("lines", "one file")):
        path = Figure(kind, of_case, "applied_per_s")
        for name, limit in _STAGES.items():
            of = Figure("limits", kind, name)
            yield from _ratio(measured, f"{kind} applied, {of_case}", limit, path, of)


def _ratio(measured: Measured, told: str, limit: str, path: Figure, of: Figure) -> Iterator[Ratio]:
    above, below = path.of(measured), of.of(measured)
    if above and below:
        yield Ratio(told, limit, above, below)
