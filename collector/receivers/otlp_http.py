"""OTLP over HTTP: `POST /v1/logs`, `/v1/traces` and `/v1/metrics`; protobuf or JSON, gzip or not.

200 is answered when the request is on disk. Errors are a `google.rpc.Status` in the encoding of
the request, as the specification (1.11) asks; 400 means bad data and must not be sent again,
503 means come again, after the second or two that `Retry-After` says.
"""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Final

from aiohttp import web

from collector.forward import VIA
from collector.ingest import BusyError
from collector.receivers import _answers
from collector.receivers._answers import (
    DEADLINE,
    ENCODINGS,
    INTERNAL,
    INVALID,
    JSON,
    NOT_FOUND,
    SIGNALS,
    UNAUTHENTICATED,
    UNIMPLEMENTED,
    RefusalError,
    come_again,
)
from collector.receivers.token import ASKED, guard

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from collector.receivers._bounds import Share
    from collector.receivers.connections import Connections
    from collector.receivers.intake import Intake

_CHUNK: Final = 1 << 16

_ADDRESSES: Final = ", ".join(f"/v1/{one}" for one in SIGNALS)


class OtlpHttp:
    """Reads export requests within bounds of size and time, and hands them to *intake*."""

    def __init__(
        self,
        intake: Intake,
        connections: Connections,
        *,
        token: str | None = None,
        body_timeout_s: float = 30.0,
    ) -> None:
        self._intake = intake
        self._connections = connections
        self._token = token
        self._body_timeout_s = body_timeout_s

    def app(self) -> web.Application:
        """Return the application to serve; its runner must not decompress by itself."""
        check = guard(self._token, refuse=_unknown_sender)
        app = web.Application(
            client_max_size=self._intake.max_body_bytes,
            middlewares=[self._connections.middleware, _told, check],
        )
        for signal in SIGNALS:
            app.router.add_post(f"/v1/{signal}", self._handler(signal))
        return app

    def _handler(self, signal: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            with self._intake.share() as share:
                try:
                    response = await self._take(signal, request, share)
                except RefusalError as refusal:
                    response = _refused(refusal, request)
            self._intake.count("http", signal, str(response.status))
            return response

        return handle

    async def _take(self, signal: str, request: web.Request, share: Share) -> web.Response:
        self._intake.kind(signal, request.content_type)  # before a body is read for nothing
        encoding = request.headers.get("Content-Encoding", "identity").lower()
        if encoding not in {"identity", "gzip"}:
            raise RefusalError(
                UNIMPLEMENTED, 415, f"{encoding} is not taken: send gzip or no encoding"
            )
        try:
            async with asyncio.timeout(self._body_timeout_s):
                body = await self._body(request, share)
        except TimeoutError:
            message = f"the body did not come within {self._body_timeout_s:g} s"
            raise RefusalError(DEADLINE, 408, message) from None
        except BusyError as error:
            raise come_again(str(error)) from None
        except web.RequestPayloadError as error:
            raise RefusalError(INVALID, 400, f"the body cannot be read: {error}") from None
        if encoding == "gzip":
            body = await self._intake.unpacked(body, share)
        taken = await self._intake.take(
            signal, body, request.content_type, via=request.headers.get(VIA, "")
        )
        return web.Response(
            body=_answers.success(signal, taken, request.content_type),
            content_type=request.content_type,
        )

    async def _body(self, request: web.Request, share: Share) -> bytes:
        """Read the body, never holding more than its limit. Raises RefusalError, BusyError."""
        most = self._intake.max_body_bytes
        if (request.content_length or 0) > most:
            raise self._intake.too_large()
        parts = io.BytesIO()
        async for data in request.content.iter_chunked(_CHUNK):
            await share.room(len(data))
            parts.write(data)
            if parts.tell() > most:
                raise self._intake.too_large()
        return parts.getvalue()


def _refused(refusal: RefusalError, request: web.Request) -> web.Response:
    # in the request's encoding; whoever named none of ours can most likely read JSON
    told_as = request.content_type if request.content_type in ENCODINGS else JSON
    response = web.Response(
        status=refusal.status,
        body=_answers.error(refusal, told_as),
        content_type=told_as,
        headers={"Retry-After": str(refusal.retry_s)} if refusal.retry_s else None,
    )
    if not request.content.at_eof():
        response.force_close()  # the rest of the body is not waited for
    return response


def _unknown_sender(request: web.Request) -> web.Response:
    return _refused(RefusalError(UNAUTHENTICATED, 401, ASKED), request)


@web.middleware
async def _told(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Tell what is not here as exporters understand it."""
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as error:
        message = f"{request.method} is not taken at {request.path}: POST an export request"
        response = _refused(RefusalError(UNIMPLEMENTED, 405, message), request)
        response.headers["Allow"] = error.headers["Allow"]
        return response
    except web.HTTPNotFound:
        message = f"there is nothing at {request.path}: this listener takes POST {_ADDRESSES}"
        return _refused(RefusalError(NOT_FOUND, 404, message), request)
    except web.HTTPException as error:
        return _refused(RefusalError(INTERNAL, error.status, error.reason), request)
