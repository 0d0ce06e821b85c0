"""What an injected failure is. One file each in `failures/`; the folder is the list."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import bench.quality.failures as folder

if TYPE_CHECKING:
    from bench.quality.cell import Cell
    from bench.quality.process import Process
    from bench.quality.tasks import Attempt


@dataclass(slots=True)
class Failure:
    """A failure; its file's name is its name, and `detector` should find it.

    Of one task: `share` of the tasks that it `wants` get it, and its steps, each of which returns
    True where it has taken over, are called as the task goes on. Of a whole cell: it begins once,
    by `begin`, and needs `needs_s` to show.
    """

    detector: str = ""
    name: str = ""
    share: float = 0.0
    needs_s: float = 0.0
    absence: bool = False
    """Whether what shows it is that something does not come: then who cannot hear cannot tell."""
    lasting: bool = False
    """Whether it befalls every attempt of a task."""

    def wants(self, cell: Cell, attempt: Attempt) -> bool:
        """Say whether it can happen to this attempt."""
        del cell, attempt
        return True

    def handed_out(self, cell: Cell, attempt: Attempt, agent: Process) -> bool:
        """Take over when the attempt has been handed out."""
        del cell, attempt, agent
        return False

    def begun(self, cell: Cell, attempt: Attempt, agent: Process) -> bool:
        """Take over when its run has begun."""
        del cell, attempt, agent
        return False

    def finished(self, cell: Cell, attempt: Attempt, agent: Process) -> bool:
        """Take over when its run is over, before that is said."""
        del cell, attempt, agent
        return False

    def reporting(self, cell: Cell, attempt: Attempt, agent: Process) -> bool:
        """Take over when its end was said, before it is reported."""
        del cell, attempt, agent
        return False

    def begin(self, cell: Cell) -> None:
        """Begin, in the whole cell."""


@cache
def load() -> tuple[Failure, ...]:
    """Return every failure of the folder, by name."""
    found = []
    for module in pkgutil.iter_modules(folder.__path__):
        one: Failure = importlib.import_module(f"{folder.__name__}.{module.name}").FAILURE
        one.name = module.name
        one.detector = one.detector or module.name
        found.append(one)
    return tuple(sorted(found, key=lambda one: one.name))
