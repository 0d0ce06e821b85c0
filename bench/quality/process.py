"""One process of a simulated scheduler: who it is, its clock, and what it says."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.quality import wire
from bench.quality.lag import Lags

if TYPE_CHECKING:
    import random

    from bench.quality.noise import Noise
    from bench.quality.path import Exporter, Heard, Path
    from bench.quality.wire import Value

BEAT_S = 20.0
"""So often a process says that it lives."""


@dataclass(slots=True, eq=False)
class Process:
    """A process of one side. `ahead_s` is how far its clock is ahead of the truth."""

    namespace: str
    side: str
    service: str
    instance: str
    host: str
    boot: str
    ahead_s: float
    path: Path
    exporter: Exporter
    alive: bool = True
    taking: bool = True
    busy: int = 0
    heard_s: float = 0.0
    """When the sidecar hears the last of what it has said so far."""
    first_heard_s: float = math.inf
    """When it hears the first of that."""
    runs: set[int] = field(default_factory=set)
    """Numbers of the attempts that it works on."""
    lags: Lags = field(default_factory=Lags)
    """How late its service's records come."""

    def say(self, event: str, at_s: float, **said: Value) -> Heard:
        """Say *event* at *at_s*, with attributes whose dots are written as double underscores."""
        return self.tell(wire.log(event, at_s + self.ahead_s, _dotted(said)), at_s)

    def error(self, text: str, at_s: float, **said: Value) -> Heard:
        """Log the error *text* at *at_s*, with attributes likewise."""
        record = wire.log("", at_s + self.ahead_s, _dotted(said), severity=17, text=text)
        return self.tell(record, at_s)

    def tell(self, record: wire.Record, at_s: float) -> Heard:
        """Send *record*, made at *at_s*."""
        heard = self.path.send(self.exporter, at_s, record)
        self.first_heard_s = min(self.first_heard_s, heard.first_s)
        if self.heard_s < heard.last_s < math.inf:
            self.heard_s = heard.last_s
        if getattr(record, "event_name", "") not in {"call.sent", "call.received"}:
            self.lags.take(at_s, heard, self.exporter)
        return heard

    def beat(self, at_s: float) -> Heard:
        """Say that it lives."""
        return self.say("task.heartbeat", at_s, task__heartbeat_interval_s=BEAT_S)


def _dotted(said: dict[str, Value]) -> dict[str, Value]:
    return {key.replace("__", "."): value for key, value in said.items()}


def clock(noise: Noise, rng: random.Random) -> float:
    """Return how far the clock of a new host is ahead, in seconds."""
    if rng.random() < noise.skewed_share:
        return rng.uniform(-noise.skew_s, noise.skew_s)
    return rng.gauss(0, noise.near_s)


def start(
    path: Path, ahead_s: float, now_s: float, who: tuple[str, str, str], name: tuple[str, int]
) -> Process:
    """Return a process that has yet to speak, on a host whose clock is ahead by *ahead_s*.

    *who* is its namespace, side and service, *name* its instance and how many had that before.
    """
    namespace, side, service = who
    instance, times = name
    host, boot = f"host-{instance}", f"{instance}-{times}"
    resource = wire.resource({
        "zombiewatch.namespace": namespace, "zombiewatch.side": side, "service.name": service,
        "service.instance.id": instance, "host.name": host, "instance.boot": boot,
    })  # fmt: skip
    return Process(
        namespace, side, service, instance, host, boot, ahead_s, path,
        path.exporter((resource, namespace, ahead_s), now_s),
    )  # fmt: skip
