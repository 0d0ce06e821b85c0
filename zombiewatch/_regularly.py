"""Something that is done again and again, at fixed times, in a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_LOG: Final = logging.getLogger("zombiewatch")


class Regularly:
    """Does *do* every *every_s* from `start` on. What it raises is logged; the next time comes."""

    def __init__(self, name: str, every_s: float, do: Callable[[], None]) -> None:
        self._every_s = every_s
        self._do = do
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)

    def start(self) -> None:
        """Begin, now."""
        self._thread.start()

    def stop(self) -> None:
        """Do it no more; wait until it is not being done."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def stopping(self) -> bool:
        """Whether what is being done should come to an end."""
        return self._stop.is_set()

    def _loop(self) -> None:
        next_at = time.monotonic()
        while not self._stop.is_set():
            try:
                self._do()
            except Exception:  # noqa: BLE001 - one that ended would be missed by nobody
                _LOG.exception("%s failed; the next time comes", self._thread.name)
            next_at = max(next_at + self._every_s, time.monotonic())
            self._stop.wait(next_at - time.monotonic())
