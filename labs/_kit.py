"""What a lab is: an incident as real processes, with a switch for each bug.

A lab is a package in this folder whose `__init__` has a `LAB`. Nothing is registered: the
folder is the list.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import labs
from labs._runner import LabProcessError, Runner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["Command", "Expected", "Heeding", "Lab", "LabProcessError", "Runner", "find_labs"]


@dataclass(frozen=True, slots=True)
class Expected:
    """Names of detectors that *must* find something, and of those that *may*; no others.

    *degraded* are the services whose degrade level a policy must raise, and lower again.
    """

    must: frozenset[str] = frozenset()
    may: frozenset[str] = frozenset()
    degraded: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Command:
    """One process of a lab.

    *argv* is the whole command line. `{other.url}` in it stands for what the command named
    `other` said on stdout when it became ready (`ready url=http://…`), and makes this one
    start after it. With *port* (on loopback) it is ready when that accepts connections;
    without, when it has written its line `ready`.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Heeding:
    """How a lab runs whose dispatcher heeds degrade switches.

    *settings* are those of the sidecar, with a policy that moves the switches; new work comes in
    for *seconds*, since what they do takes its time.
    """

    settings: Mapping[str, Any]
    seconds: float


class Expects(Protocol):
    """Which findings a set of bugs must and may lead to."""

    def __call__(self, bugs: frozenset[str]) -> Expected:
        """Return the expectation for *bugs*, a subset of the lab's."""


class Processes(Protocol):
    """Which processes a lab is made of."""

    def __call__(
        self, otlp_url: str, logs: Path, work: Path, bugs: frozenset[str], seconds: float
    ) -> Sequence[Command]:
        """Return the commands; they log to *logs*, and keep their state in *work*."""


class Progress(Protocol):
    """What a person wants to see while a lab runs."""

    def __call__(self, work: Path) -> str:
        """Return one line on how far the lab in *work* is; empty while nothing is known."""


class Truth(Protocol):
    """What really happened, read from where only an auditor can look."""

    def __call__(self, logs: Path, work: Path) -> dict[str, float | int]:
        """Return the figures; to be called when the processes have ended."""


@dataclass(frozen=True, slots=True)
class Lab:
    """An incident that can be run.

    *bugs* maps each switch to a sentence that says what is wrong with it on, *fixes* to one that
    says what mends it; *story* is what happened to those who published it. New work comes in for
    *seconds*; for *tail_s* more the processes live on, finish what they have and go on
    giving signs of life, since those who watch need them as witnesses. They run until they
    are stopped.

    *heeds* is how it runs when its dispatcher is told to heed degrade switches (by `FLAGS` of
    `labs._runner`); None where it heeds none.
    """

    name: str
    title: str
    summary: str
    bugs: Mapping[str, str]
    preset: Path
    seconds: float
    tail_s: float
    expected: Expects
    processes: Processes
    progress: Progress
    truth: Truth
    story: str = ""
    fixes: Mapping[str, str] = field(default_factory=dict)
    heeds: Heeding | None = None

    def choose(self, text: str) -> frozenset[str]:
        """Return the bugs that *text* names: `all`, `none`, or names between commas.

        Raises:
            ValueError: a name is not one of this lab's bugs.
        """
        if text in ("", "none"):
            return frozenset()
        if text == "all":
            return frozenset(self.bugs)
        chosen = frozenset(name.strip() for name in text.split(","))
        unknown = sorted(chosen - frozenset(self.bugs))
        if unknown:
            raise ValueError(
                f"lab {self.name!r} has no bug {unknown[0]!r}; it has"
                f" {', '.join(self.bugs)}; or say all, or none"
            )
        return chosen


def find_labs() -> dict[str, Lab]:
    """Return every lab of this folder by name, in alphabetical order.

    Raises:
        TypeError: a package here has no `LAB`, or one that does not bear the package's name.
    """
    found = {}
    for module in sorted(pkgutil.iter_modules(labs.__path__), key=lambda module: module.name):
        if not module.ispkg or module.name.startswith("_"):
            continue
        lab = getattr(importlib.import_module(f"labs.{module.name}"), "LAB", None)
        if not isinstance(lab, Lab) or lab.name != module.name:
            raise TypeError(f"labs/{module.name}/__init__.py needs LAB = Lab(name={module.name!r})")
        found[module.name] = lab
    return found
