"""One run in a process and a folder of its own."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.quality.result import result
from bench.quality.world import Size, World

if TYPE_CHECKING:
    from collections.abc import Collection


def simulate(tasks: int, seed: int, name: str, only: Collection[str] = ()) -> dict[str, Any]:
    """Do one run, *name* of `failing` or `healthy`, and return what came of it."""
    begun = time.perf_counter()

    def say(line: str) -> None:
        print(f"{time.perf_counter() - begun:6.1f} s  {line}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        world = World(
            Size.of(tasks), seed, Path(folder), healthy=name == "healthy", only=frozenset(only)
        )
        return result(world.run(say))
