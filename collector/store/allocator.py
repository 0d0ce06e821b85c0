"""What the C library does with memory: keep it in a rush, give it back in quiet moments.

By itself glibc maps each large block anew and returns it when it is freed, so that the kernel has
to clear its pages again for the next batch. That took a fifth of all CPU time under full load.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import TYPE_CHECKING, Final

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Callable

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8
"""Parameters of `mallopt`, as numbered in glibc's malloc.h."""

_MIB: Final = 1 << 20


def keep() -> None:
    """Let freed blocks wait for the next batch, until `give_back`. Once, before threads start."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library
        return
    for parameter, value in (
        (_ARENA_MAX, 2),  # for two cores: each more keeps what the others could use
        (_MMAP_THRESHOLD, 32 * _MIB),  # the most that glibc takes
        (_TRIM_THRESHOLD, 1024 * _MIB),
        (_TOP_PAD, 16 * _MIB),
    ):
        mallopt(parameter, value)
    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own would return it just the same


@cache
def _trim() -> Callable[[int], int] | None:
    """Return glibc's `malloc_trim`; None where there is another libc."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return None


def give_back() -> None:
    """Return what is free to the system. It takes some milliseconds: for quiet moments."""
    trim = _trim()
    if trim:
        trim(0)
