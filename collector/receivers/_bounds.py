"""What requests may hold in memory, from when they are read until they are answered.

Who finds no room waits a moment; then the sender is told to come again.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Final, Self

from collector.ingest import BusyError

_PATIENCE_S: Final = 2.0


class Budget:
    """Counts the bytes of requests in hand, from any thread.

    One at a time is favoured: it may have more than there is. Without it, many that are half
    read would keep each other from ever being whole.
    """

    def __init__(self, most: int) -> None:
        self.held = 0
        self._most = most
        self._favoured: Share | None = None
        self._lock = threading.Lock()
        self._waiting: list[asyncio.Future[None]] = []

    def take(self, size: int, share: Share) -> None:
        """Count *size* bytes for *share*. Raises BusyError where there is no room."""
        with self._lock:
            if size > 0 and self.held + size > self._most and self._favoured is not share:
                if self._favoured is not None:
                    msg = "too much is being read at once (otlp.in_flight_max_bytes)"
                    raise BusyError(msg)
                self._favoured = share
            self.held += size

    def leave(self, share: Share) -> None:
        """Count out what *share* holds; called by the loop's thread."""
        with self._lock:
            self.held -= share.size
            if self._favoured is share:
                self._favoured = None
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)

    async def change(self) -> None:
        """Return when somebody has left."""
        left = asyncio.get_running_loop().create_future()
        self._waiting.append(left)
        await left


class Share:
    """The bytes of one request in hand."""

    def __init__(self, of: Budget) -> None:
        self._of = of
        self.size = 0

    def grow(self, size: int) -> None:
        """Hold *size* bytes more (or fewer). Raises BusyError where there is no room."""
        self._of.take(size, self)
        self.size += size

    async def room(self, size: int) -> None:
        """Hold *size* bytes more, as soon as there is room. Raises BusyError after a moment."""
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return self.grow(size)
            except BusyError:
                try:
                    async with asyncio.timeout(until - time.monotonic()):
                        await self._of.change()
                except TimeoutError:
                    pass
                else:
                    continue
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._of.leave(self)
        self.size = 0
