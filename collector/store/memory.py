"""Memory that nobody uses goes back to the system: allocators keep it after each rush."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Callable


@cache
def _trim() -> Callable[[int], int] | None:
    """Return glibc's `malloc_trim`; None where there is another libc."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return None


def give_back() -> None:
    """Return what is free to the system. It takes some milliseconds: for quiet moments."""
    pa.default_memory_pool().release_unused()
    trim = _trim()
    if trim:
        trim(0)
