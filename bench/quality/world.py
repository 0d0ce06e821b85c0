"""All cells, what befalls them, and the sidecar that watches: one run from begin to end."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from bench.quality.cell import AGENT, DISPATCHER, Cell
from bench.quality.clockwork import Clockwork
from bench.quality.dark import darken
from bench.quality.drive import Sidecar
from bench.quality.kit import load
from bench.quality.noise import Noise
from bench.quality.path import Path
from bench.quality.truth import Truth, Truths

if TYPE_CHECKING:
    import pathlib

    from bench.quality.kit import Failure
    from bench.results import Say
    from model.findings import Finding

STEP_S: Final = 5.0
"""The interval of evaluation."""
WARM_S: Final = 600.0
"""Until then nothing fails: what is usual has to be learned first."""
_WARM_STEP_S: Final = 30.0
"""Until then it is looked less often: nobody waits for a finding, and a false one stays false."""
TAIL_S: Final = 240.0
"""So long before the end the last thing goes wrong with a task."""
AFTER_S: Final = 60.0
"""The run goes on so long after all is over."""
_DARK_S: Final = (150.0, 300.0)


_USUAL: Final = Noise()


_SIZES: Final = ((5_000, 1500.0, 3.0), (50_000, 2400.0, 2.0))
"""Up to so many tasks: how long it lasts, and how many times as many fail."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is simulated: *tasks* in *cells*, submitted over *lasts_s* simulated seconds.

    Of few tasks more fail: `times` as many as each failure has for its share.
    """

    tasks: int
    cells: int
    lasts_s: float
    times: float = 1.0

    @classmethod
    def of(cls, tasks: int) -> Size:
        """Return the size for *tasks*: more of them are more cells and a longer time."""
        cells = max(20, tasks // 1000)
        for most, lasts_s, times in _SIZES:
            if tasks <= most:
                return cls(tasks, cells, lasts_s, times)
        return cls(tasks, cells, 3600.0)


@dataclass(slots=True)
class Run:
    """What came of one run. Real seconds in `took_s`; simulated ones elsewhere."""

    seed: int
    size: Size
    healthy: bool
    truths: list[Truth] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    every_s: dict[str, float] = field(default_factory=dict)
    hold_s: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    gaps: list[tuple[float, float]] = field(default_factory=list)
    """From when to when the sidecar was away."""
    dark: dict[str, list[tuple[str, float, float, bool]]] = field(default_factory=dict)
    """As `Cell.dark`, by namespace."""
    lost: dict[tuple[str, str], str] = field(default_factory=dict)
    """As `Path.lost`."""
    told_s: dict[tuple[str, str], float] = field(default_factory=dict)
    """As `Path.told_s`."""
    told: dict[str, list[tuple[str, str, float, float]]] = field(default_factory=dict)
    """As `Path.told`."""
    spoke: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    """As `Path.spoke`."""
    instances: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    """As `Path.instances`."""
    missed: dict[tuple[str, str], list[tuple[float, float]]] = field(default_factory=dict)
    """As `Path.missed`."""
    tasks: int = 0
    records: int = 0
    took_s: float = 0.0


class World:
    """A simulation of *size*, seeded, in good health or not; *folder* is the sidecar's."""

    def __init__(
        self, size: Size, seed: int, folder: pathlib.Path, *, healthy: bool, noise: Noise = _USUAL,
        only: frozenset[str] = frozenset(),
    ) -> None:  # fmt: skip
        self.size, self.noise, self.healthy = size, noise, healthy
        self.rng = random.Random(f"{seed} {healthy}")  # noqa: S311 - no secret
        self.clock = Clockwork()
        self.truths = Truths()
        begins = [(round(size.lasts_s * share), length) for share, length in self.noise.outages]
        self.away: list[tuple[float, float]] = [(at_s, at_s + length) for at_s, length in begins]
        self.path = Path(self.noise, self.rng, self.away)
        self.sidecar = Sidecar(folder)
        self.sidecar.start(0.0)
        self.run_ = Run(seed, size, healthy, every_s=self.sidecar.detectors,
                        hold_s=self.sidecar.holds, gaps=self.away)  # fmt: skip
        known = [one for one in load() if one.detector in self.run_.every_s]
        chosen = [one for one in known if not only or one.name in only]
        self.failures = () if healthy else tuple(one for one in chosen if one.share)
        room_s = size.lasts_s - WARM_S
        self.drills = [] if healthy else [one for one in chosen if 0 < one.needs_s <= room_s]
        self.cells = [self._cell(number) for number in range(size.cells)]

    # -- before -------------------------------------------------------------------------------

    def _cell(self, number: int) -> Cell:
        rng, lasts_s = self.rng, self.size.lasts_s
        cell = Cell(f"cell-{number:03}", self.clock, self.path, self.truths,
                    random.Random(f"{rng.random()}"), agents=rng.randint(3, 5))  # noqa: S311 # fmt: skip
        cell.failures = self.failures
        cell.failing = (WARM_S, lasts_s - TAIL_S)
        cell.ends_s, cell.times = lasts_s, self.size.times
        mean_s = lasts_s * self.size.cells / self.size.tasks
        cell.clock.after(rng.uniform(0, mean_s), lambda: self._submit(cell, mean_s))
        drill = self.drills[number % len(self.drills)] if self.drills else None
        if drill:
            self._drill(cell, drill)
        elif rng.random() < self.noise.dark_share:
            self._darken(cell)
        if not drill or rng.random() < 0.5:  # noqa: PLR2004 - a half
            self._change(cell)
        return cell

    def _submit(self, cell: Cell, mean_s: float) -> None:
        cell.submit()
        pause_s = cell.rng.expovariate(1 / mean_s)
        if self.clock.now + pause_s < self.size.lasts_s:
            self.clock.after(pause_s, lambda: self._submit(cell, mean_s))

    def _drill(self, cell: Cell, failure: Failure) -> None:
        """Let *failure* begin in *cell*, at a time that leaves it what it needs."""
        latest_s = max(WARM_S, self.size.lasts_s - failure.needs_s)
        cell.failure = failure
        self.clock.at(self.rng.uniform(WARM_S, latest_s), lambda: failure.begin(cell))

    def _darken(self, cell: Cell) -> None:
        """Let one side of *cell* not be heard for some minutes; what was held comes afterwards."""
        service = self.rng.choice((AGENT, DISPATCHER))
        begin_s = self.rng.uniform(WARM_S, self.size.lasts_s - TAIL_S)
        end_s = begin_s + self.rng.uniform(*_DARK_S)
        darken(cell, service, begin_s, end_s, held=True)

    def _change(self, cell: Cell) -> None:
        """Replace agents by a deployment, and let their number follow the load."""
        rng, lasts_s = self.rng, self.size.lasts_s
        same = rng.random() < 0.5  # noqa: PLR2004 - a half
        self.clock.at(rng.uniform(0.2, 0.6) * lasts_s, lambda: cell.roll(same_name=same))
        for number in range(3):
            self.clock.at(rng.uniform(0.1, 0.8) * lasts_s, partial(_scale, cell, number))

    # -- meanwhile ----------------------------------------------------------------------------

    def run(self, say: Say) -> Run:
        """Simulate all of it; *say* is told how far it is, every few minutes of it."""
        begun, now, told = time.perf_counter(), 0.0, 0.0
        end_s = self.size.lasts_s + AFTER_S
        away = list(self.away)
        while now < end_s:
            now += STEP_S if now >= WARM_S else _WARM_STEP_S
            if away and now > away[0][0]:
                now = self._restart(*away.pop(0))
            self.clock.run(now)
            self.sidecar.take(self.path.arrivals(now))
            self.sidecar.judge(now)
            if now - told >= 300:  # noqa: PLR2004 - five minutes
                told = now
                done = sum(cell.done for cell in self.cells)
                say(f"{'healthy' if self.healthy else 'failing'}: {now / 60:.0f} of"
                    f" {end_s / 60:.0f} simulated minutes, {done:,} tasks,"
                    f" {self.path.records:,} records")  # fmt: skip
        made = self.run_
        made.findings = self.sidecar.findings()
        made.failed = self.sidecar.failed
        self.sidecar.stop(now)
        made.truths = self.truths.told
        made.dark = {cell.name: cell.dark for cell in self.cells if cell.dark}
        made.lost, made.told = self.path.lost, self.path.told
        made.told_s = self.path.told_s
        made.spoke = self.path.spoke
        made.instances = self.path.instances
        made.missed = self.path.missed
        made.tasks = sum(cell.submitted for cell in self.cells)
        made.records = self.path.records
        made.took_s = time.perf_counter() - begun
        return made

    def _restart(self, begin_s: float, end_s: float) -> float:
        """Close the sidecar and open it again; return when it is back."""
        self.clock.run(begin_s)
        self.sidecar.take(self.path.arrivals(begin_s - 1))
        self.sidecar.stop(begin_s)
        self.clock.run(end_s)
        self.sidecar.start(end_s)
        return end_s


def _scale(cell: Cell, number: int) -> None:
    """Add an agent for some minutes."""
    made = cell.join(f"x-{number}")

    def leave() -> None:
        if made.alive:
            cell.drain(made)

    cell.clock.after(cell.rng.uniform(200, 600), leave)
