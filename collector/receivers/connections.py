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


class Connections:
    """Makes room for connections: *most* at a time.

    When there are so many, the oldest that waits for a request is closed; if none waits, the
    one whose request has been in hand for longest, past a second; otherwise the new one.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._busy: dict[Any, float] = {}
        self._server: Any = None
        self.closed = 0

    @property
    def open(self) -> int:
        """How many there are."""
        return len(self._server.connections) if self._server else 0

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

    def factory(self, server: web.Server) -> Callable[[], asyncio.Protocol]:
        """Return what makes a protocol for each connection that comes to *server*."""
        self._server = server

        def make() -> asyncio.Protocol:
            return server() if self._room(server.connections) else _Closed()

        return make

    def _room(self, held: list[Any]) -> bool:
        held = [one for one in held if one.transport is not None]  # None: it is closing
        if len(held) < self._most:
            return True
        self.closed += 1
        for one in held:
            if one not in self._busy:
                one.force_close()
                return True
        longest, since = next(iter(self._busy.items()))
        if time.monotonic() - since < _STUCK_S:
            return False
        self._busy.pop(longest)
        longest.force_close()
        return True


class _Closed(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101 - of a server
        transport.abort()
