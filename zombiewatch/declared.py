"""Limits and times as a user declares them for `zombiewatch lint`: the models are the format."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from detectors._lattice import THRESHOLDS
from zombiewatch import _nearest
from zombiewatch._nearest import did_you_mean, refuse
from zombiewatch._values import Name, Seconds, Section

Time = Annotated[Seconds, Field(ge=0)]
Limit = Annotated[Seconds, Field(gt=0)]


class Took(Section):
    """How long something takes: a length of time, `{p50: …, p99: …}`, or a list of measured ones.

    A single length is what it may well take: it counts as the 99th percentile.
    """

    p50: Time | None = None
    p99: Time | None = None
    samples: tuple[Time, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, said: object) -> object:
        if isinstance(said, list):
            if not said:
                raise refuse("give at least one, or leave it out")
            return {"samples": said}
        return said if isinstance(said, dict) else {"p99": said}

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not self.samples and self.p50 is None and self.p99 is None:
            raise refuse("give a length of time, p50, p99, or a list of measured ones")
        if self.samples and (self.p50 is not None or self.p99 is not None):
            raise refuse("give samples or percentiles, not both")
        if self.p50 is not None and self.p99 is not None and self.p50 > self.p99:
            raise refuse("p50 must not be more than p99", at="p50", what=f"{{path}} is {self.p50}")
        return self

    @property
    def number(self) -> float:
        """How many samples it rests on; of what was not measured, any number."""
        return len(self.samples) or math.inf

    def percentile(self, q: float) -> float:
        """Return the 50th or 99th percentile (*q* 0.5 or 0.99), in seconds.

        Of samples between the two nearest, as the detector does; where one of the two
        percentiles was declared, it stands for the other.
        """
        if not self.samples:
            first, second = (self.p50, self.p99) if q == 0.5 else (self.p99, self.p50)  # noqa: PLR2004
            return first if first is not None else second or 0.0
        ordered = sorted(self.samples)
        at = (len(ordered) - 1) * q
        low, high = math.floor(at), math.ceil(at)
        return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


class Task(Section):
    """One task name: its limits, how often it beats, how long it runs."""

    timeout_s: Limit | None = None
    heartbeat_timeout_s: Limit | None = None
    heartbeat_interval_s: Limit | None = None
    run_s: Took | None = None
    queue: Name | None = None


class Call(Section):
    """Calls of one purpose from one service to another: the caller's limits, the callee's time."""

    caller: Name
    callee: Name
    purpose: Name = "other"
    timeout_s: Limit | None = None
    retry_window_s: Limit | None = None
    answer_s: Took | None = None


class Queue(Section):
    """One queue: how long a message is hidden, and how long whoever took it may hold it.

    It waits at the worker (`prefetch_wait_s`), or until its ETA (`eta_s`: the furthest ahead), and
    then runs: `run_s`, or the longest of the tasks that name this queue.
    """

    visibility_timeout_s: Limit | None = None
    prefetch_wait_s: Time = 0.0
    eta_s: Time = 0.0
    run_s: Took | None = None


class Thresholds(Section):
    """How much room there must be; those of the detector `timeout_lattice`."""

    samples_min: float = Field(THRESHOLDS["samples_min"], ge=1)
    beats_per_limit: float = Field(THRESHOLDS["beats_per_limit"], ge=1)
    margin: float = Field(THRESHOLDS["margin"], ge=1)


class Declared(Section):
    """All that was declared."""

    tasks: dict[Name, Task] = Field(default_factory=dict)
    calls: tuple[Call, ...] = ()
    queues: dict[Name, Queue] = Field(default_factory=dict)
    thresholds: Thresholds = Field(default_factory=Thresholds)


class DeclaredError(_nearest.RefusedError):
    """The file cannot be used; the text, for the user, says what, where and how to mend it."""


def load(path: Path) -> tuple[Declared, _nearest.Document]:
    """Return what the YAML file at *path* declares, and where each part of it stands.

    Raises DeclaredError with all that is wrong at once.
    """
    problems: list[str] = []
    document = _nearest.read_file(path, problems, "name one that declares limits")

    def where(at: _nearest.Path) -> str:
        line = document.line_of(at)
        return f"{path}:{line}" if line else str(path)

    try:
        declared = Declared.model_validate(document.data)
        problems += [f"{where(at)}: {told}" for at, told in _strays(declared)]
    except ValidationError as error:
        problems += _nearest.refusals(error, Declared, where)
    if problems:
        raise DeclaredError(problems, str(path))
    return declared, document


def _strays(declared: Declared) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Yield the tasks of queues that are not declared, where queues are: misspelt, most likely."""
    for name, task in declared.tasks.items():
        if task.queue is not None and declared.queues and task.queue not in declared.queues:
            meant = did_you_mean(task.queue, declared.queues) or "; declare it, or leave it out"
            at = ("tasks", name, "queue")
            yield at, f"{_nearest.dotted(at)} is '{task.queue}', which is no queue here{meant}"
