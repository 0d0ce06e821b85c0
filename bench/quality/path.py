"""The way from a process to the sidecar: an exporter each, and one gateway that batches.

When something is heard is known the moment it is said, for whoever writes down the truth.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.quality import wire

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

    from opentelemetry.proto.resource.v1.resource_pb2 import Resource

    from bench.quality.noise import Noise
    from bench.quality.wire import Record

TOLERATED_S: Final = 5.0
"""A shorter absence of the sidecar's is bridged by the senders, and proves nothing lost."""

_BACKOFF_S: Final = 1.0
"""So long after the sidecar is back, the gateway has tried again."""

_LATE_S: Final = 2.0
"""What comes later than others by so much, comes after what was said after it."""


class Heard(NamedTuple):
    """When the sidecar had a record first and last, in simulated seconds; infinite: never."""

    first_s: float
    last_s: float


@dataclass(slots=True)
class Exporter:
    """What stands in the way of one process. `dark` are times at which nothing gets through.

    Of each: from, to, and whether what was held comes afterwards or is lost.
    """

    resource: Resource
    namespace: str
    ahead_s: float = 0.0
    service: str = ""
    instance: str = ""
    stall_from_s: float = math.inf
    stall_to_s: float = math.inf
    slow_from_s: float = math.inf
    slow_to_s: float = math.inf
    slow_s: tuple[float, float] = (0.0, 0.0)
    dark: list[tuple[float, float, bool]] = field(default_factory=list)
    numbered: bool = False
    """Whether its records bear a number each: then a gap tells what was lost."""
    number: int = 0
    said_s: float = 0.0
    """When it said what was not lost last."""
    second: int = -1
    losing: str = ""
    """Whether what is said in this second is lost, and how: `told` or `silent`."""
    lost: int = 0
    """Records lost in it."""
    lost_of: list[tuple[str, str]] = field(default_factory=list)
    """Namespace, and task or request, that these are about."""
    before_dark_s: float = 0.0
    """When something was heard last before it fell dark."""

    def stalled(self, at_s: float) -> bool:
        """Say whether something of it is still on its way: a process ends when all is sent."""
        return self.stall_from_s <= at_s < self.stall_to_s


class Path:
    """All exporters' common gateway. It sends what it has once a second."""

    def __init__(
        self, noise: Noise, rng: random.Random, away: Sequence[tuple[float, float]]
    ) -> None:
        self.noise = noise
        self.away = away
        self.absences = [one for one in away if one[1] - one[0] > TOLERATED_S]
        """Those of *away* in which something may have been lost."""
        self.records = 0
        self.lost: dict[tuple[str, str], str] = {}
        """Namespace, and task or request, of which something was lost; and how: who lost some of it
        without a trace is not made up for by another who told."""
        self._telling: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
        self.told: dict[str, list[tuple[str, str, float, float]]] = defaultdict(list)
        """By namespace, whose records are known to be lost: service, instance, from, to."""
        self.spoke: dict[tuple[str, str], list[float]] = defaultdict(list)
        """Namespace and service or instance, and when something of it was heard."""
        self.instances: dict[tuple[str, str], set[str]] = defaultdict(set)
        """Of a namespace and service."""
        self.missed: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
        """Namespace and service or instance, and when it said something numbered that came late,
        and when that came: until then it passes for lost."""
        self._rng = rng
        self._waiting: dict[int, dict[int, tuple[Exporter, list[Record]]]] = defaultdict(dict)

    def exporter(self, who: tuple[Resource, str, float], now_s: float) -> Exporter:
        """Return the way of a new process: its resource, namespace and how its clock errs."""
        made = Exporter(*who)
        said = {one.key: one.value.string_value for one in made.resource.attributes}
        made.service, made.instance = said["service.name"], said["service.instance.id"]
        self.instances[made.namespace, made.service].add(made.instance)
        self._next_stall(made, now_s)
        return made

    def _next_stall(self, exporter: Exporter, now_s: float) -> None:
        if not self.noise.stall_every_s:
            return
        exporter.stall_from_s = now_s + self._rng.expovariate(1 / self.noise.stall_every_s)
        exporter.stall_to_s = exporter.stall_from_s + self._rng.uniform(0, self.noise.late_s)

    def send(self, exporter: Exporter, at_s: float, record: Record) -> Heard:
        """Take *record*, which was made at *at_s*; say when the sidecar hears it."""
        self.records += 1
        if exporter.numbered:
            wire.number(record, exporter.number)
            exporter.number += 1
        if self._loses(exporter, at_s, record):
            return Heard(math.inf, math.inf)
        heard = self._send(exporter, at_s, record)
        if exporter.numbered and at_s + _LATE_S < heard.first_s < math.inf:
            for who in (exporter.service, exporter.instance):
                self.missed[exporter.namespace, who].append((at_s, heard.first_s))
        return heard

    def _loses(self, exporter: Exporter, at_s: float, record: Record) -> bool:
        """Say whether *record* is lost; what was lost a while ago is told by its process."""
        if int(at_s) != exporter.second:
            if exporter.losing == "told" and exporter.lost:
                self._tell(exporter, at_s)
            dice, noise = self._rng.random(), self.noise
            silent = "silent" if dice < noise.told_loss + noise.silent_loss else ""
            exporter.losing = "told" if dice < noise.told_loss else silent
            if silent and exporter.numbered:
                exporter.losing = "told"
            exporter.second, exporter.lost, exporter.lost_of = int(at_s), 0, []
        if not exporter.losing:
            exporter.said_s = at_s
            return False
        exporter.lost += 1
        for one in record.attributes:
            if one.key in {"task.id", "request.id", "schedule.name"}:
                about = exporter.namespace, one.value.string_value
                if self.lost.get(about) != "silent":
                    self.lost[about] = exporter.losing
                if not exporter.numbered:
                    self._telling[about][exporter.instance] = math.inf
                    exporter.lost_of.append(about)
        return True

    @property
    def told_s(self) -> dict[tuple[str, str], float]:
        """The same, where records of its own are to tell it: when the last of them is heard."""
        return {about: max(heard.values()) for about, heard in self._telling.items()}

    def _tell(self, exporter: Exporter, at_s: float) -> None:
        """Let it be known what was lost: by the next number, or by a record that says so."""
        from_s, to_s = float(exporter.second), exporter.second + 1.0
        if exporter.numbered:
            from_s, to_s = min(exporter.said_s, from_s), max(at_s, to_s)
        else:
            ahead_s = exporter.ahead_s
            said: dict[str, wire.Value] = {
                "export.lost": exporter.lost,
                "export.from": wire.micros(from_s + ahead_s),
                "export.to": wire.micros(to_s + ahead_s),
            }
            told = wire.log("export.failed", at_s + ahead_s, said, severity=17)
            heard = self._send(exporter, at_s, told)
            for about in exporter.lost_of:
                self._telling[about][exporter.instance] = heard.first_s
        self.told[exporter.namespace].append((exporter.service, exporter.instance, from_s, to_s))

    def _send(self, exporter: Exporter, at_s: float, record: Record) -> Heard:
        rng, noise = self._rng, self.noise
        while at_s >= exporter.stall_to_s:
            self._next_stall(exporter, exporter.stall_to_s)
        leaves_s = exporter.stall_to_s if at_s >= exporter.stall_from_s else at_s
        if exporter.slow_from_s <= at_s < exporter.slow_to_s:
            leaves_s += rng.uniform(*exporter.slow_s)
        if rng.random() < noise.late_share:
            leaves_s = max(leaves_s, at_s + rng.uniform(0, noise.late_s))
        first = self._put(exporter, leaves_s + 0.02 + 0.5 * rng.random(), record)
        last = first
        if rng.random() < noise.twice_share:
            again = self._put(exporter, leaves_s + rng.uniform(0, noise.late_s), record)
            first, last = min(first, again), max(first, again)
        return Heard(first, last)

    def _put(self, exporter: Exporter, leaves_s: float, record: Record) -> float:
        for begin_s, end_s, held in exporter.dark:
            if begin_s <= leaves_s < end_s:
                if not held:
                    return math.inf
                leaves_s = end_s + self._rng.uniform(0, 10)
        at_s = self.through_s(leaves_s)
        if exporter.dark and leaves_s < exporter.dark[0][0]:
            exporter.before_dark_s = max(exporter.before_dark_s, at_s)
        _, records = self._waiting[int(at_s)].setdefault(id(exporter), (exporter, []))
        records.append(record)
        for who in (exporter.service, exporter.instance):
            self.spoke[exporter.namespace, who].append(at_s)
        return at_s

    def through_s(self, leaves_s: float) -> float:
        """Return when the sidecar hears what the gateway gets at *leaves_s*."""
        at_s = float(math.floor(leaves_s) + 1)
        for begin_s, end_s in self.away:
            if begin_s <= at_s < end_s + _BACKOFF_S:
                at_s = float(math.ceil(end_s + _BACKOFF_S))
        return at_s

    def arrivals(self, until_s: float) -> Iterator[tuple[float, list[tuple[str, bytes]]]]:
        """Yield what arrives up to *until_s*: when, and the requests. Each once, in disorder."""
        for second in sorted(at for at in self._waiting if at <= until_s):
            heard = list(self._waiting.pop(second).values())
            self._rng.shuffle(heard)
            for _, records in heard:
                self._rng.shuffle(records)
            yield float(second), wire.bodies((one.resource, records) for one, records in heard)
