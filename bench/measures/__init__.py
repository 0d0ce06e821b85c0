"""One measurement per file, found by walking the folder: GROUP, a docstring, and `run`.

The docstring's first sentence heads its table; what follows says how it was measured.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.results import Cases, Say
    from bench.scale import Scale


@dataclass(frozen=True, slots=True)
class Measure:
    """One measurement: its module's name, the group that it is chosen by, docstring, function."""

    name: str
    group: str
    doc: str
    run: Callable[[Scale, Say], Cases]

    @property
    def title(self) -> str:
        """The docstring's first sentence, without its full stop."""
        return self.doc.strip().split("\n\n", 1)[0].replace("\n", " ").rstrip(".")

    @property
    def told(self) -> str:
        """How it was measured: the rest of the docstring."""
        return self.doc.strip().partition("\n\n")[2].strip()


@cache
def load() -> tuple[Measure, ...]:
    """Return every measurement of the folder, in the order in which they are run and shown."""
    found = []
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            one = importlib.import_module(f"{__name__}.{module.name}")
            found.append((one.ORDER, Measure(module.name, one.GROUP, one.__doc__ or "", one.run)))
    return tuple(measure for _, measure in sorted(found, key=lambda pair: pair[0]))
