"""The time-out lattice of declared figures alone: which limits cannot hold what they have to.

The rules are the detector's (`detectors._lattice`); here the figures come from a file, before
anything runs, and no engine is needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from detectors import _lattice as lattice
from detectors._kit import filled
from zombiewatch._nearest import dotted
from zombiewatch.declared import Declared, Took

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from detectors._lattice import Pair
    from zombiewatch._nearest import Document, Path
    from zombiewatch.declared import Queue


@dataclass(frozen=True, slots=True)
class Compared:
    """A declared limit beside what it has to hold. *at* is where the limit is declared.

    *needs_s* is None where nothing was declared that it would have to hold.
    """

    at: Path
    of: str
    pair: Pair
    limit_s: float
    needs_s: float | None
    top_s: float = 0.0
    samples: float = math.inf

    def misfit(self, thresholds: Mapping[str, float]) -> Misfit | None:
        """Return what is wrong, if anything is."""
        needs_s = self.needs_s
        if needs_s is None or not self.pair.misfits(self.limit_s, needs_s, thresholds):
            return None
        proposed_s = self.pair.proposed_s(self.limit_s, needs_s, self.top_s, thresholds)
        return Misfit(self, needs_s, proposed_s)


@dataclass(frozen=True, slots=True)
class Misfit:
    """A limit that cannot hold what it has to, and the value to set. Times are seconds."""

    found: Compared
    needs_s: float
    proposed_s: float

    @property
    def subject(self) -> str:
        """What is wrong with what, in the detector's words."""
        return f"{self.found.of}: {self.found.pair.misfit}"

    @property
    def shown_s(self) -> float:
        """The proposed value in three digits, on the safe side: set as it is, it is sound."""
        step = 10.0 ** min(0, math.floor(math.log10(self.proposed_s)) - 2)
        steps = round(self.proposed_s / step, 6)
        oftener = self.found.pair.base == "limit_s"  # it is how often to beat: less is safer
        return (math.floor(steps) if oftener else math.ceil(steps)) * step

    @property
    def fix(self) -> str:
        """What to set, and the numbers that say so."""
        pair, figures = self.found.pair, {"limit_s": self.found.limit_s, "needs_s": self.needs_s}
        told = {"advice": pair.advice, "against": pair.against, "proposed_s": self.shown_s}
        measured = f" ({self.found.samples:.0f} measured)" if self.found.samples < math.inf else ""
        return f"{filled(lattice.FIX, {**told, **figures})}{measured}."

    def as_json(self, document: Document) -> dict[str, Any]:
        """Return it as `--json` shows it."""
        found = self.found
        return {
            "subject": self.subject,
            "pair": found.pair.name,
            "limit": dotted(found.at),
            "line": document.line_of(found.at),
            "limit_s": found.limit_s,
            "needs_s": self.needs_s,
            "proposed_s": self.proposed_s,
            "samples": None if found.samples == math.inf else int(found.samples),
            "fix": self.fix,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """*misfits*, how many pairs were *compared*, and the limits that have nothing to hold."""

    misfits: tuple[Misfit, ...]
    compared: int
    alone: tuple[Path, ...]

    def as_json(self, document: Document) -> dict[str, Any]:
        """Return it as `--json` shows it."""
        return {
            "sound": not self.misfits,
            "compared": self.compared,
            "misfits": [one.as_json(document) for one in self.misfits],
            "not_compared": [
                {"limit": dotted(at), "line": document.line_of(at)} for at in self.alone
            ],
        }


def judge(declared: Declared) -> Report:
    """Return which of the *declared* limits cannot hold what they have to, in the file's order."""
    thresholds = declared.thresholds.model_dump()
    every = [*_of_tasks(declared), *_of_calls(declared), *_of_queues(declared)]
    known = [one for one in every if one.needs_s is not None]
    compared = {one.at for one in known}
    alone = dict.fromkeys(one.at for one in every if one.at not in compared)
    misfits = (one.misfit(thresholds) for one in known)
    return Report(tuple(one for one in misfits if one), len(known), tuple(alone))


def _of_tasks(declared: Declared) -> Iterator[Compared]:
    thresholds = declared.thresholds.model_dump()
    for name, task in declared.tasks.items():
        beats = task.heartbeat_interval_s is not None
        pairs: list[tuple[str, float | None, Pair]] = [
            ("timeout_s", task.timeout_s, lattice.RUN),
            ("heartbeat_timeout_s", task.heartbeat_timeout_s, lattice.BEAT),
        ]
        if not beats and task.heartbeat_timeout_s is None:
            pairs.append(("timeout_s", task.timeout_s, lattice.RUN_WITHOUT_BEATS))
        if not beats:
            last = ("heartbeat_timeout_s", task.heartbeat_timeout_s, lattice.BEAT_THAT_NEVER_COMES)
            pairs.append(last)
        for word, limit_s, pair in pairs:
            if limit_s is not None:
                at = ("tasks", name, word)
                if pair is lattice.BEAT:
                    needs_s = pair.needs_s(thresholds, beat_s=task.heartbeat_interval_s)
                    yield Compared(at, name, pair, limit_s, needs_s)
                else:
                    yield _held(at, name, pair, limit_s, task.run_s, thresholds)


def _of_calls(declared: Declared) -> Iterator[Compared]:
    thresholds = declared.thresholds.model_dump()
    for index, call in enumerate(declared.calls):
        of = lattice.of_a_call(call.caller, call.callee, call.purpose)
        for word, limit_s, pair in (
            ("timeout_s", call.timeout_s, lattice.CALL),
            ("retry_window_s", call.retry_window_s, lattice.RETRY),
        ):
            if limit_s is not None:
                at = ("calls", index, word)
                yield _held(at, of, pair, limit_s, call.answer_s, thresholds)


def _of_queues(declared: Declared) -> Iterator[Compared]:
    thresholds = declared.thresholds.model_dump()
    for name, queue in declared.queues.items():
        if queue.visibility_timeout_s is None:
            continue
        runs = [task.run_s for task in declared.tasks.values() if task.queue == name and task.run_s]
        at = ("queues", name, "visibility_timeout_s")
        ways = _holds(queue, [queue.run_s] if queue.run_s else runs)
        held = [
            _held(at, name, lattice.VISIBILITY, queue.visibility_timeout_s, took, thresholds)
            for took in ways or (None,)
        ]
        yield max(held, key=lambda one: (one.needs_s or 0.0, one.top_s))


def _holds(queue: Queue, runs: Iterable[Took]) -> list[Took]:
    """Return how long a message is held, by each kind of run: it waits first, or for its ETA."""
    before_s = max(queue.prefetch_wait_s, queue.eta_s)
    found = [
        Took(samples=tuple(before_s + each for each in took.samples))
        if took.samples
        else Took(p50=before_s + took.percentile(0.5), p99=before_s + took.percentile(0.99))
        for took in runs
    ]
    return found or ([Took(p99=before_s)] if before_s else [])


def _held(
    at: Path,
    of: str,
    pair: Pair,
    limit_s: float,
    took: Took | None,
    thresholds: Mapping[str, float],
) -> Compared:
    if took is None:
        return Compared(at, of, pair, limit_s, None)
    p50_s, p99_s = took.percentile(0.5), took.percentile(0.99)
    needs_s = pair.needs_s(thresholds, samples=took.number, p50_s=p50_s, p99_s=p99_s)
    return Compared(at, of, pair, limit_s, needs_s, p99_s, took.number)


SOUND: Final = "{path} is sound: each limit holds what it has to ({compared} compared{alone})."


def lines(report: Report, path: object, document: Document) -> Iterator[str]:
    """Yield the report as text: a line for each misfit, or one that says that there is none."""
    for one in report.misfits:
        yield f"{path}:{document.line_of(one.found.at)}: {one.subject}. {one.fix}"
    if not report.misfits:
        at = ", ".join(str(document.line_of(at)) for at in report.alone)
        alone = f"; with nothing to hold, in line {at}" if at else ""
        yield SOUND.format(path=path, compared=report.compared, alone=alone)
