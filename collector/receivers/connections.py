"""How many connections a listener holds: idle ones make room for new ones."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_STUCK_S: Final = 1.0
"""A request in hand for longer gives way to a new connection, where there is no other room."""

_SHAKING_S: Final = 20.0
"""A connection that has not come about by then (a TLS handshake that failed) never will."""


class Connections:
    """Makes room for connections: *most* at a time.

    When there are so many, the oldest that waits for a request is closed; if none waits, the
    one whose request has been in hand for longest, past a second; otherwise the new one.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[_Connection, float] = {}  # and since when; the oldest first
        self._busy: dict[Any, float] = {}  # likewise
        self.closed = 0

    @property
    def open(self) -> int:
        """How many there are."""
        return len(self._held)

    @property
    def middleware(self) -> Any:  # noqa: ANN401 - a middleware
        """The middleware by which this knows who is busy; the outermost of the application."""

        @web.middleware
        async def track(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            one = request.protocol
            self._busy[one] = time.monotonic()
            try:
                return await handler(request)
            finally:
                self._busy.pop(one, None)

        return track

    def factory(
        self,
        server: web.Server,
        **settings: Any,  # noqa: ANN401 - aiohttp's
    ) -> Callable[[], asyncio.Protocol]:
        """Return what makes a protocol, with aiohttp's *settings*, for each connection."""
        loop = asyncio.get_running_loop()

        def make() -> asyncio.Protocol:
            if len(self._held) >= self._most and not self._make_room():
                return _Refused()
            one = _Connection(server, loop=loop, **settings)
            one.leave = self._held.pop
            self._held[one] = time.monotonic()
            return one

        return make

    def _make_room(self) -> bool:
        now = time.monotonic()
        self.closed += 1
        for one, since in self._held.items():
            if one not in self._busy and (one.transport or now - since > _SHAKING_S):
                self._close(one)
                return True
        if not self._busy:
            return False
        longest, since = next(iter(self._busy.items()))
        if now - since < _STUCK_S:
            return False
        self._close(longest)
        return True

    def _close(self, one: _Connection) -> None:
        self._held.pop(one, None)
        self._busy.pop(one, None)
        one.force_close()


class _Connection(web.RequestHandler):
    """One that says when it has ended."""

    __slots__ = ("leave",)
    leave: Callable[[Any, Any], object]

    def connection_lost(self, exc: BaseException | None) -> None:
        self.leave(self, None)
        super().connection_lost(exc)


class _Refused(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101 - of a server
        transport.abort()
