"""What the services say to each other over HTTP, and the spans in which they do.

Every request bears an `X-Request-Id`, which is handed on unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp import web
from opentelemetry import propagate, trace

from labs._http import ID_ATTRIBUTE, REQUEST_ID, failed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from opentelemetry.util.types import AttributeValue

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
    Inject = Callable[[dict[str, str]], None]

NEW_ORDER: Final = "/orders"
CALLBACK: Final = "/payments/{task}"

DEADLINE_MS: Final = "X-Deadline-Ms"
"""How long, from now on, the answer is of use to whoever began it all."""

_ERRORS_FROM: Final = 400


@dataclass(slots=True)
class CallFailedError(Exception):
    """A call brought no good answer; the reason says why."""

    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True, slots=True)
class Caller:
    """The calling end. *inject* writes the trace context into the headers."""

    session: aiohttp.ClientSession
    base_url: str
    tracer: trace.Tracer
    inject: Inject = propagate.inject

    async def post(
        self,
        path: str,
        *,
        route: str,
        request_id: str,
        limit_s: float,
        headers: Mapping[str, str] | None = None,
        about: Mapping[str, AttributeValue] | None = None,
    ) -> Any:  # noqa: ANN401 - JSON
        """Post to *path* and return the answer's JSON.

        *route* is the path's pattern and names the span, *about* are further attributes of it.

        Raises:
            CallFailedError: no answer within *limit_s* seconds, or not a good one.
        """
        url = f"{self.base_url}{path}"
        attributes: dict[str, AttributeValue] = {
            "http.request.method": "POST",
            "url.full": url,
            "url.template": route,
            ID_ATTRIBUTE: [request_id],
            **(about or {}),
        }
        with self.tracer.start_as_current_span(
            f"POST {route}",
            kind=trace.SpanKind.CLIENT,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            sent = {**(headers or {}), REQUEST_ID: request_id}
            self.inject(sent)
            limit = aiohttp.ClientTimeout(total=limit_s)
            try:
                async with self.session.post(url, headers=sent, timeout=limit) as response:
                    status, answer = response.status, await response.json(content_type=None)
            except (TimeoutError, aiohttp.ClientError, ValueError) as error:
                failed(span, type(error).__name__)
                late = isinstance(error, TimeoutError)
                reason = f"no answer within {limit_s:.2f} s" if late else repr(error)
                raise CallFailedError(reason) from error
            span.set_attribute("http.response.status_code", status)
            if status >= _ERRORS_FROM:
                failed(span, str(status))
                raise CallFailedError(f"answered {status}")
            return answer


def request_id(request: web.Request) -> str:
    """Return the ID that the caller gave *request*; empty if it gave none."""
    return str(request.headers.get(REQUEST_ID, ""))
