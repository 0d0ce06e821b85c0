"""Bearer tokens: who may speak to a listener that asks for one."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def guard(token: str | None, *, open_paths: tuple[str, ...] = ()) -> Any:  # noqa: ANN401 - a middleware
    """Return a middleware that answers 401 to requests without `Authorization: Bearer TOKEN`.

    Without a *token* all may pass; paths that begin with one of *open_paths* always may.
    """
    wanted = f"Bearer {token}".encode() if token else None

    @web.middleware
    async def check(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if wanted is None or request.path == "/" or request.path.startswith(open_paths):
            return await handler(request)
        given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        if not hmac.compare_digest(given, wanted):
            said = {"error": "this listener asks for a token: send Authorization: Bearer …"}
            return web.json_response(said, status=401, headers={"WWW-Authenticate": "Bearer"})
        return await handler(request)

    return check
