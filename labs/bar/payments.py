"""How a node has a group's payment booked: by a deadline and with growing pauses, or blindly."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from labs._telemetry import fields
from labs.bar.wire import CALLBACK, DEADLINE_MS, Caller, CallFailedError

if TYPE_CHECKING:
    import logging

WHOLE_S: Final = 3.0
"""How long a payment may take in all, whoever works on it."""

BLIND_LIMIT_S: Final = 0.4
BLIND_RETRIES: Final = 3
"""How long the blind one waits for an answer, and how often it asks again."""

_PAUSES_S: Final = ((0.04, 0.06), (0.13, 0.17), (0.25, 0.35))
"""Before the first retry, the second and the third: anywhere in between. There is no fourth."""

_LEAST_S: Final = 1.0
"""With so little left, the next try waits for all of it."""

_CHANCE: Final = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Payments:
    """A node's way to the payment callback; *blind* as the bug `blind_retry` has it."""

    caller: Caller
    log: logging.Logger
    blind: bool

    async def book(self, task: str) -> bool:
        """Have the payment of *task* booked; return whether the callback said that it was."""
        request_id = secrets.token_hex(8)
        if self.blind:
            return await self._blindly(task, request_id)
        until = time.monotonic() + WHOLE_S
        for pause in _PAUSES_S:
            if await self._in_time(task, request_id, until):
                return True
            pause_s = _CHANCE.uniform(*pause)
            if time.monotonic() + pause_s >= until:
                return False
            await asyncio.sleep(pause_s)
        return await self._in_time(task, request_id, until)

    async def _in_time(self, task: str, request_id: str, until: float) -> bool:
        """Try once, and leave half of the time for another try; say how much there is in all."""
        left_s = max(0.0, until - time.monotonic())
        limit_s = left_s if left_s < _LEAST_S else left_s / 2
        deadline = {DEADLINE_MS: str(round(left_s * 1000))}
        return await self._once(task, request_id, limit_s, deadline)

    async def _blindly(self, task: str, request_id: str) -> bool:
        for _ in range(1 + BLIND_RETRIES):
            if await self._once(task, request_id, BLIND_LIMIT_S, {}):
                return True
        return False

    async def _once(
        self, task: str, request_id: str, limit_s: float, headers: dict[str, str]
    ) -> bool:
        try:
            await self.caller.post(
                CALLBACK.replace("{task}", task),
                route=CALLBACK,
                request_id=request_id,
                limit_s=limit_s,
                headers=headers,
                about={"bar.task": task},
            )
        except CallFailedError as error:
            ids = fields(request_id=request_id)
            self.log.warning("payment of %s not booked: %s", task, error, extra=ids)
            return False
        return True
