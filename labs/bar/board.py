"""Where a task's state is, and who may run it: Redis for all nodes, or each node's own map.

States are Pending, Running, Succeeded and Failed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from labs._process import pause

if TYPE_CHECKING:
    from redis.asyncio import Redis

PENDING: Final = "Pending"
RUNNING: Final = "Running"
SUCCEEDED: Final = "Succeeded"
FAILED: Final = "Failed"

LEASE_S: Final = 3.0
"""A tenth of what the incident's team came to: a lab has 45 s. Renewed three times in it."""

_MOVE: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1"""
"""Compare and set: of two nodes that both saw Pending, one gets on."""

_RENEW: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])"""

_RELEASE: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])"""


class Board(Protocol):
    """Says what state a task is in, and moves it on."""

    async def state(self, task: str) -> str:
        """Return the state of *task*, Pending if nobody has said another."""

    async def claim(self, task: str) -> bool:
        """Set *task* from Pending to Running; return False if it is not ours to run."""

    async def end(self, task: str, state: str) -> None:
        """Set *task*, which we claimed, from Running to its final *state*."""


class SharedBoard:
    """States in Redis, and a lease for what runs: the first to set `lease:<task>` owns it."""

    def __init__(self, redis: Redis, node: str) -> None:
        self._redis = redis
        self._node = node
        self._leases: dict[str, tuple[asyncio.Event, asyncio.Task[None]]] = {}

    async def state(self, task: str) -> str:
        """See `Board`."""
        return str(await self._redis.get(_state(task)) or PENDING)

    async def claim(self, task: str) -> bool:
        """See `Board`."""
        if not await self._redis.set(_lease(task), self._node, nx=True, px=_ms(LEASE_S)):
            return False
        await self._redis.set(_state(task), PENDING, nx=True)
        # The lease of one who has already ended it is gone: the state tells.
        if not await self._on(_MOVE, _state(task), PENDING, RUNNING):
            await self._on(_RELEASE, _lease(task), self._node)
            return False
        ended = asyncio.Event()
        self._leases[task] = ended, asyncio.ensure_future(self._renew(task, ended))
        return True

    async def end(self, task: str, state: str) -> None:
        """See `Board`."""
        ended, renewing = self._leases.pop(task)
        ended.set()
        await renewing
        await self._on(_MOVE, _state(task), RUNNING, state)
        await self._on(_RELEASE, _lease(task), self._node)

    async def _renew(self, task: str, ended: asyncio.Event) -> None:
        while not await pause(LEASE_S / 3, ended):
            await self._on(_RENEW, _lease(task), self._node, str(_ms(LEASE_S)))

    async def _on(self, script: str, key: str, *arguments: str) -> bool:
        return bool(await self._redis.eval(script, 1, key, *arguments))


class LocalBoard:
    """States in a map of this process alone: what other nodes do is not seen."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}

    async def state(self, task: str) -> str:
        """See `Board`."""
        return self._states.get(task, PENDING)

    async def claim(self, task: str) -> bool:
        """See `Board`."""
        if await self.state(task) != PENDING:
            return False
        self._states[task] = RUNNING
        return True

    async def end(self, task: str, state: str) -> None:
        """See `Board`."""
        self._states[task] = state


def _state(task: str) -> str:
    return f"state:{task}"


def _lease(task: str) -> str:
    return f"lease:{task}"


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
