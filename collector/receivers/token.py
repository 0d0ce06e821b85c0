"""Bearer tokens: who may speak to a listener that asks for one."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ASKED: Final = "this listener asks for a token: send Authorization: Bearer …"


def admits(token: str | None, authorization: str) -> bool:
    """Return whether the *authorization* given is that of *token*, in a time that tells nothing.

    Without a token all are admitted.
    """
    given = authorization.encode(errors="surrogateescape")
    return token is None or hmac.compare_digest(given, f"Bearer {token}".encode())


def _plain(_request: web.Request) -> web.Response:
    return web.json_response({"error": ASKED}, status=401)


def guard(
    token: str | None,
    *,
    open_paths: tuple[str, ...] = (),
    refuse: Callable[[web.Request], web.Response] = _plain,
) -> Any:  # noqa: ANN401 - a middleware
    """Return a middleware that answers 401 to requests without `Authorization: Bearer TOKEN`.

    Without a *token* all may pass; paths that begin with one of *open_paths* always may. *refuse*
    says the 401 as the listener's clients understand it.
    """

    @web.middleware
    async def check(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        free = request.path.startswith(open_paths)
        if free or admits(token, request.headers.get("Authorization", "")):
            return await handler(request)
        refused = refuse(request)
        refused.headers["WWW-Authenticate"] = "Bearer"
        return refused

    return check
