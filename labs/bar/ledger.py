"""The payment service's ledger: it books one payment at a time, and takes its time for each.

What waits in its line is booked also when whoever asked for it has hung up.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Final

from labs.bar.options import PAYMENTS

if TYPE_CHECKING:
    import logging
    from pathlib import Path

BOOKING_S: Final = 1.0
"""How long the bank takes for one. More than twice what a blind caller waits for it: so no
booking is answered just when its caller gives up."""


class Ledger:
    """Books payments. With *idempotent*, requests of one ID are one payment."""

    def __init__(self, work: Path, log: logging.Logger, *, idempotent: bool) -> None:
        self._path = work / PAYMENTS
        self._log = log
        self._idempotent = idempotent
        self._line = asyncio.Lock()
        self._by_request: dict[str, asyncio.Task[bool]] = {}
        self._under_way: set[asyncio.Task[bool]] = set()

    async def book(self, task: str, request_id: str, until: float | None) -> bool:
        """Book the payment of *task*; return False if *until* (monotonic) came before its turn.

        Whoever is cancelled while it waits here leaves the payment in the line.
        """
        booking = self._by_request.get(request_id) if self._idempotent else None
        if booking is None:
            booking = asyncio.ensure_future(self._book(task, until))
            self._by_request[request_id] = booking
            self._under_way.add(booking)
            booking.add_done_callback(self._under_way.discard)
        return await asyncio.shield(booking)

    async def _book(self, task: str, until: float | None) -> bool:
        async with self._line:
            if until is not None and time.monotonic() > until:
                self._log.warning("payment of %s dropped: nobody waits for it any more", task)
                return False
            await asyncio.sleep(BOOKING_S)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"task": task, "at": time.time()}) + "\n")
        self._log.info("payment of %s booked", task)
        return True

    async def close(self) -> None:
        """Drop what waits in the line."""
        for booking in self._under_way:
            booking.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
