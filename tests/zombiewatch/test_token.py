"""A listener that has a token lets nobody in without it."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from collector.receivers.token import guard

TOKEN = "0123456789abcdef"  # noqa: S105 - the example


def answers(token: str | None, path: str, headers: dict[str, str]) -> int:
    """Return the status that a guarded server answers."""

    async def fine(_request: web.Request) -> web.Response:
        return web.Response(text="fine")

    async def go() -> int:
        app = web.Application(middlewares=[guard(token, open_paths=("/healthz",))])
        app.router.add_route("*", "/{path:.*}", fine)
        async with TestClient(TestServer(app)) as client:
            return (await client.get(path, headers=headers)).status

    return asyncio.run(go())


@pytest.mark.parametrize(
    ("token", "path", "headers", "status"),
    [
        (None, "/metrics", {}, 200),
        (TOKEN, "/metrics", {}, 401),
        (TOKEN, "/metrics", {"Authorization": f"Bearer {TOKEN}"}, 200),
        (TOKEN, "/metrics", {"Authorization": f"Bearer {TOKEN}x"}, 401),
        (TOKEN, "/metrics", {"Authorization": TOKEN}, 401),
        (TOKEN, "/healthz", {}, 200),
        (TOKEN, "/", {}, 401),
    ],
)
def test_a_token_is_asked_for(
    token: str | None, path: str, headers: dict[str, str], status: int
) -> None:
    """Everywhere but at the probes."""
    assert answers(token, path, headers) == status
