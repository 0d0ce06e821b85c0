"""A process for each core, all doing the same at once: what the machine can do with all of itself.

Cores share caches and the way to memory, and two may be halves of one: the second is seldom worth
as much as the first.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.queues import SimpleQueue
    from multiprocessing.synchronize import Barrier

_PATIENCE_S: Final = 120.0
"""Nobody prepares for longer: one that has died must not be waited for."""


def together(make: Callable[[], Callable[[], object]], times: int) -> float:
    """Return how long all take, at best, in seconds, when each core does the same at once.

    *make* can be sent to another process; it prepares in each of them, and what it returns is
    done *times* times there, begun by all at the same moment.

    Raises RuntimeError where one of them failed.
    """
    spawn = multiprocessing.get_context("spawn")
    cores = len(os.sched_getaffinity(0))
    begin = spawn.Barrier(cores)
    took: SimpleQueue[list[float]] = spawn.SimpleQueue()
    each = [spawn.Process(target=_work, args=(make, times, begin, took)) for _ in range(cores)]
    for one in each:
        one.start()
    for one in each:
        one.join()
    if any(one.exitcode for one in each):
        msg = "a process that worked beside others failed; it said why"
        raise RuntimeError(msg)
    turns: list[tuple[float, ...]] = list(zip(*(took.get() for _ in each), strict=True))
    return min(max(turn) for turn in turns)


def _work(
    make: Callable[[], Callable[[], object]],
    times: int,
    begin: Barrier,
    took: SimpleQueue[list[float]],
) -> None:
    work = make()
    turns = []
    for _ in range(times):
        begin.wait(_PATIENCE_S)
        begun = time.perf_counter()
        work()
        turns.append(time.perf_counter() - begun)
    took.put(turns)
