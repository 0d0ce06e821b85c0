"""A lab's services among each other: served on a free port, each request in a span."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Final

from aiohttp import web
from opentelemetry import propagate, trace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from opentelemetry.util.types import AttributeValue

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

REQUEST_ID: Final = "X-Request-Id"
ID_ATTRIBUTE: Final = "http.request.header.x-request-id"

_SERVER_ERRORS_FROM: Final = 500
_CLOSE_S: Final = 0.5


def traced(tracer: trace.Tracer, route: str, handler: Handler) -> Handler:
    """Return *handler* in a server span, which says if its caller left or an error came of it."""

    @functools.wraps(handler)
    async def within(request: web.Request) -> web.StreamResponse:
        attributes: dict[str, AttributeValue] = {
            "http.request.method": request.method,
            "http.route": route,
            "url.path": request.path,
        }
        if given := request.headers.get(REQUEST_ID):
            attributes[ID_ATTRIBUTE] = [given]
        with tracer.start_as_current_span(
            f"{request.method} {route}",
            context=propagate.extract(request.headers),
            kind=trace.SpanKind.SERVER,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                response = await handler(request)
            except (asyncio.CancelledError, Exception) as error:
                failed(span, type(error).__name__)
                raise
            span.set_attribute("http.response.status_code", response.status)
            if response.status >= _SERVER_ERRORS_FROM:
                failed(span, str(response.status))
            return response

    return within


def failed(span: trace.Span, error: str) -> None:
    """Say in *span* that it failed, and of what."""
    span.set_attribute("error.type", error)
    span.set_status(trace.StatusCode.ERROR)


async def listen(
    app: web.Application, *, port: int = 0, cancels: bool = False
) -> tuple[web.AppRunner, str]:
    """Serve *app* on *port* of loopback (0: any that is free); return its runner and base URL.

    With *cancels* a handler whose client hangs up is cancelled.
    """
    runner = web.AppRunner(
        app, handler_cancellation=cancels, access_log=None, shutdown_timeout=_CLOSE_S
    )
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"
