"""What every process of a lab does the same way: say that it is ready, and end when it must."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress

from labs._runner import LEASH, READY


def say_ready(**facts: object) -> None:
    """Tell whoever started this process that it can be used, and the *facts* needed for that."""
    words = [READY, *(f"{name}={value}" for name, value in facts.items())]
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


def stop_event() -> asyncio.Event:
    """Return an event that is set on SIGTERM, on SIGINT, and when our starter has died.

    To be called within a running loop.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if os.environ.get(LEASH) == "stdin":
        loop.add_reader(sys.stdin.fileno(), _leash, loop, stop)
    return stop


def _leash(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    with suppress(OSError):
        if os.read(sys.stdin.fileno(), 1024):
            return
    loop.remove_reader(sys.stdin.fileno())
    stop.set()


async def pause(seconds: float, stop: asyncio.Event) -> bool:
    """Sleep for *seconds*, or until *stop* is set; return whether it is."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
    return stop.is_set()
