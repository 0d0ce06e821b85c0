"""The service's way to the upstream: one call for one package, each in a span."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import aiohttp
from opentelemetry import trace

from labs._http import failed
from labs.webinstall.options import TOKEN
from labs.webinstall.upstream import LATEST

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

_LIMIT_S: Final = 30.0
_ERRORS_FROM: Final = 400
_ROUTE: Final = LATEST
_TOLD: Final = ("X-RateLimit-Limit", "X-RateLimit-Remaining")


class UpstreamError(Exception):
    """The upstream gave no good answer; says what it gave instead."""


@dataclass(frozen=True, slots=True)
class Packages:
    """What the upstream knows. With *typo*, it is asked in a header that it does not understand."""

    session: aiohttp.ClientSession
    base_url: str
    tracer: trace.Tracer
    typo: bool

    async def latest(self, package: str) -> str:
        """Return the newest version of *package*.

        Raises:
            UpstreamError: there was no answer, or not a good one.
        """
        url = f"{self.base_url}{_ROUTE.replace('{package}', package)}"
        parts = urlsplit(url)
        attributes: dict[str, AttributeValue] = {
            "http.request.method": "GET",
            "url.full": url,
            "url.template": _ROUTE,
            "server.address": parts.hostname or "",
            "server.port": parts.port or 0,
        }
        with self.tracer.start_as_current_span(
            f"GET {_ROUTE}",
            kind=trace.SpanKind.CLIENT,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                answer = await self._get(url, span)
            except (TimeoutError, aiohttp.ClientError, ValueError) as error:
                failed(span, type(error).__name__)
                raise UpstreamError(f"no answer about {package}: {error!r}") from error
            except _RefusedError as error:
                failed(span, str(error))
                raise UpstreamError(f"asked about {package}, it answered {error}") from None
            return str(answer["version"])

    async def _get(self, url: str, span: trace.Span) -> dict[str, Any]:
        # Both are words, and no spelling checker knows which of them was meant.
        scheme = "taken" if self.typo else "token"
        headers = {"Authorization": f"{scheme} {TOKEN}", "X-Request-Id": secrets.token_hex(8)}
        span.set_attribute("http.request.header.x-request-id", [headers["X-Request-Id"]])
        limit = aiohttp.ClientTimeout(total=_LIMIT_S)
        async with self.session.get(url, headers=headers, timeout=limit) as response:
            span.set_attribute("http.response.status_code", response.status)
            for name in _TOLD:
                if name in response.headers:
                    span.set_attribute(
                        f"http.response.header.{name.lower()}", [response.headers[name]]
                    )
            if response.status >= _ERRORS_FROM:
                raise _RefusedError(response.status)
            return dict(await response.json())


class _RefusedError(Exception):
    """The upstream answered with an error status."""
