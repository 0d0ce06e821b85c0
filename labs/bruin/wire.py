"""What the two ends say to each other over HTTP, and the spans in which they do.

Every request bears a random `X-Request-Id`, and says how long its caller will wait.
"""

from __future__ import annotations

import asyncio
import functools
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp import web
from opentelemetry import propagate, trace

from labs import _http
from labs._http import ID_ATTRIBUTE, REQUEST_ID, failed
from labs._telemetry import fields, span_ids

if TYPE_CHECKING:
    import logging
    from collections.abc import Awaitable, Callable, Mapping

    from opentelemetry.util.types import AttributeValue

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

LIMIT_MS: Final = "X-Request-Timeout-Ms"

NEXT: Final = "/agents/{agent}/next"
RESULT: Final = "/tasks/{task}/result"

MARGIN_S: Final = 0.25
"""How long before its caller gives up the callee does: the answer has to travel, too."""

_ARRIVED: Final = web.RequestKey("arrived", float)
_ERRORS_FROM: Final = 400


@dataclass(slots=True)
class CallFailedError(Exception):
    """A call brought no good answer; *gave_up* if we stopped waiting for one."""

    reason: str
    gave_up: bool
    fields: dict[str, str]

    def __str__(self) -> str:
        return f"{'gave up' if self.gave_up else 'failed'}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Caller:
    """The calling end. It logs each request and each answer; errors are for who called it."""

    session: aiohttp.ClientSession
    base_url: str
    tracer: trace.Tracer
    log: logging.Logger
    limit_s: float

    async def post(
        self, what: str, path: str, *, route: str, body: Mapping[str, object] | None = None
    ) -> Any:  # noqa: ANN401 - JSON
        """Send *body* to *path* and return the answer's JSON, or None where it has no content.

        *what* opens the log lines; *route* is the path's pattern and names the span.

        Raises:
            CallFailedError: no answer within the limit, or not a good one.
        """
        request_id = secrets.token_hex(8)
        url = f"{self.base_url}{path}"
        attributes: dict[str, AttributeValue] = {
            "http.request.method": "POST",
            "url.full": url,
            "url.template": route,
            "oxr.limit_s": self.limit_s,
            ID_ATTRIBUTE: [request_id],
            **_task_attributes(body),
        }
        with self.tracer.start_as_current_span(
            f"POST {route}",
            kind=trace.SpanKind.CLIENT,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            told = {"request_id": request_id, **span_ids()}
            self.log.info(what, extra=fields(request_id=request_id, limit_s=self.limit_s))
            headers = {REQUEST_ID: request_id, LIMIT_MS: str(round(self.limit_s * 1000))}
            propagate.inject(headers)
            try:
                status, answer = await self._send(url, headers, body)
            except (TimeoutError, aiohttp.ClientError, ValueError) as error:
                late = isinstance(error, TimeoutError)
                failed(span, type(error).__name__)
                reason = f"no answer within {self.limit_s:g} s" if late else repr(error)
                raise CallFailedError(reason, late, told) from error
            span.set_attribute("http.response.status_code", status)
            if status >= _ERRORS_FROM:
                failed(span, str(status))
                raise CallFailedError(f"answered {status}", gave_up=False, fields=told)
            span.set_attributes(_task_attributes(answer))
            self.log.info("%s: answered %d", what, status, extra=fields(request_id=request_id))
            return answer

    async def _send(
        self, url: str, headers: Mapping[str, str], body: Mapping[str, object] | None
    ) -> tuple[int, Any]:
        limit = aiohttp.ClientTimeout(total=self.limit_s)
        async with self.session.post(url, json=body, headers=headers, timeout=limit) as response:
            if response.status == web.HTTPNoContent.status_code:
                return response.status, None
            return response.status, await response.json(content_type=None)


def give_up_at(request: web.Request) -> float | None:
    """Return when (`time.monotonic`) to stop working on *request*: a margin before its caller.

    None if the caller does not say how long it waits.
    """
    limit = request.headers.get(LIMIT_MS, "")
    if not limit.isdigit():
        return None
    return request[_ARRIVED] + int(limit) / 1000 - MARGIN_S


def request_id(request: web.Request) -> str | None:
    """Return the ID that the caller gave *request*."""
    return request.headers.get(REQUEST_ID)


def traced(tracer: trace.Tracer, route: str, handler: Handler) -> Handler:
    """Return *handler* in a server span, that remembers when its request arrived."""
    within = _http.traced(tracer, route, handler)

    @functools.wraps(handler)
    async def arriving(request: web.Request) -> web.StreamResponse:
        request[_ARRIVED] = time.monotonic()
        return await within(request)

    return arriving


def in_application_context(handler: Handler, tasks: set[asyncio.Task[Any]]) -> Handler:
    """Return *handler* as a task of the application: whoever cancels the request, it goes on.

    *tasks* keeps those that are under way.
    """

    @functools.wraps(handler)
    async def beside(request: web.Request) -> web.StreamResponse:
        task = asyncio.ensure_future(handler(request))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return await asyncio.shield(task)

    return beside


def about_task(task: str, attempt: int) -> None:
    """Say in the current span which task it is about."""
    span = trace.get_current_span()
    span.set_attributes({"oxr.task": task, "oxr.attempt": attempt})


def _task_attributes(body: object) -> dict[str, AttributeValue]:
    if not isinstance(body, dict) or "task" not in body:
        return {}
    return {"oxr.task": str(body["task"]), "oxr.attempt": int(body.get("attempt", 1))}
