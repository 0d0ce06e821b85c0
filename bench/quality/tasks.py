"""What the tasks of a simulated scheduler are like, and one attempt of one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bench.quality.kit import Failure
    from bench.quality.truth import Truth
    from bench.quality.wire import Value


@dataclass(frozen=True, slots=True)
class Kind:
    """Tasks of one name: how long they run, whether they beat, what limit is declared."""

    name: str
    least_s: float
    most_s: float
    weight: float
    beat_s: float | None = None
    limit_s: float | None = None
    queue: str = "default"
    depends: bool = False


KINDS: Final = (
    Kind("sync", 4, 20, 0.45),
    Kind("train", 30, 100, 0.15, beat_s=10.0),
    Kind("export", 10, 50, 0.25, beat_s=10.0, limit_s=120.0),
    Kind("pay", 3, 12, 0.15, depends=True),
)

BULK: Final = Kind("resize", 20, 30, 0.0, queue="bulk")
"""Only submitted by failures that are about a queue of its own."""

FAILS: Final = 0.02
"""Attempts that fail in all health, and are tried again."""

PAUSES_S: Final = (5.0, 15.0, 45.0, 120.0)
"""Before the second try, the third …"""


@dataclass(slots=True, eq=False)
class Attempt:
    """One attempt of one task. Times in simulated seconds."""

    number: int
    task: str
    kind: Kind
    run_s: float
    attempt: int = 1
    outcome: str = "success"
    queue: str = ""
    depends_on: str = ""
    reused: bool = False
    failure: Failure | None = None
    pauses_s: tuple[float, ...] = PAUSES_S
    enqueued_s: float = 0.0
    enqueued_heard_s: float = math.inf
    running_heard_s: float = math.inf
    sign_heard_s: float = math.inf
    began_heard_s: float = math.inf
    sign_last_heard_s: float = 0.0
    sign_said_s: float = 0.0
    signs: list[tuple[str, float, float]] = field(default_factory=list)
    """Which agent said something of it, when, and when that was heard first."""
    truths: list[Truth] = field(default_factory=list)
    over: bool = False
    accepted: bool = False
    """Whether it is counted how long it took to its first sign."""

    @property
    def subject(self) -> str:
        """How findings name it."""
        return f"{self.task}/{self.attempt}"

    @property
    def known(self) -> dict[str, Value]:
        """What everybody says of it."""
        return {"task.id": self.task, "task.attempt": self.attempt, "task.name": self.kind.name,
                "task.queue": self.queue or self.kind.queue}  # fmt: skip
