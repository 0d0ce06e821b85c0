"""What scheduler and executors say to each other over HTTP, and the spans in which they do."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp import web
from opentelemetry import propagate, trace

from labs import _http
from labs._http import failed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

RUNS: Final = "/runs"
BEATS: Final = "/beats"
CALLBACKS: Final = "/callbacks"
REGISTRY: Final = "/registry"

_ERRORS_FROM: Final = 400


class CallFailedError(Exception):
    """A call brought no good answer; says why."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The calling end. What fails is tried again for *retried_s*; None: not by this end."""

    session: aiohttp.ClientSession
    tracer: trace.Tracer
    limit_s: float
    retried_s: float | None = None

    async def post(self, base_url: str, route: str, body: Mapping[str, object]) -> None:
        """Send *body* to *route* at *base_url*.

        Raises:
            CallFailedError: no answer within the limit, or not a good one.
        """
        with self.tracer.start_as_current_span(
            f"POST {route}",
            kind=trace.SpanKind.CLIENT,
            attributes={
                "http.request.method": "POST",
                "url.template": route,
                **({} if self.retried_s is None else {"batch.retried_s": self.retried_s}),
                **_about(body),
            },
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            headers: dict[str, str] = {}
            propagate.inject(headers)
            limit = aiohttp.ClientTimeout(total=self.limit_s)
            try:
                async with self.session.post(
                    base_url + route, json=body, headers=headers, timeout=limit
                ) as answer:
                    status = answer.status
                    await answer.read()
            except (TimeoutError, aiohttp.ClientError) as error:
                failed(span, type(error).__name__)
                raise CallFailedError(repr(error)) from error
            span.set_attribute("http.response.status_code", status)
            if status >= _ERRORS_FROM:
                span.set_status(trace.StatusCode.ERROR)
                msg = f"answered {status}"
                raise CallFailedError(msg)


def traced(tracer: trace.Tracer, route: str, handler: Handler) -> Handler:
    """Return *handler* in a server span, which says what run it is about."""

    @functools.wraps(handler)
    async def about(request: web.Request) -> web.StreamResponse:
        trace.get_current_span().set_attributes(_about(await request.json()))
        return await handler(request)

    return _http.traced(tracer, route, about)


def _about(body: Mapping[str, Any]) -> dict[str, str]:
    return {"batch.run": str(body["run"])} if "run" in body else {}
