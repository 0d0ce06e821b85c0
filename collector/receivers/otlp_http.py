"""OTLP over HTTP: `POST /v1/logs` and `/v1/traces`, protobuf, plain or gzip.

200 is answered when the request is on disk. Errors are a `google.rpc.Status` in protobuf, as
the specification (1.11) asks; 400 means bad data and must not be sent again, 503 means come
again, after the second that `Retry-After` says: the SDKs give up when told to wait longer.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from collector.ingest import BusyError
from collector.otlp import ROOTS
from collector.receivers.token import guard
from collector.store.journal import Entry, JournalFullError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Future

    from model.clock import Clock

_PROTOBUF: Final = "application/x-protobuf"
_INVALID, _TOO_LARGE, _UNAVAILABLE, _UNSUPPORTED = 3, 8, 14, 12  # google.rpc.Code
_CHUNK: Final = 1 << 16


class TooLargeError(Exception):
    """A body, once decompressed, is over the limit."""


class OtlpHttp:
    """Takes export requests and hands them to *append*, which returns when they are on disk."""

    def __init__(
        self,
        append: Callable[[Entry], Future[int]],
        clock: Clock,
        *,
        max_body_bytes: int,
        token: str | None = None,
    ) -> None:
        self._token = token
        self._append = append
        self._clock = clock
        self._max = max_body_bytes
        self.requests: dict[tuple[str, int], int] = {}

    def app(self) -> web.Application:
        """Return the application to serve; its runner must not decompress by itself."""
        app = web.Application(client_max_size=self._max, middlewares=[guard(self._token)])
        for kind in ROOTS:
            app.router.add_post(f"/v1/{kind}", self._handler(kind))
        return app

    def _handler(self, kind: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            response = await self._take(kind, request)
            key = (kind, response.status)
            self.requests[key] = self.requests.get(key, 0) + 1
            return response

        return handle

    async def _take(self, kind: str, request: web.Request) -> web.Response:
        if request.content_type != _PROTOBUF:
            said = request.content_type
            return _refusal(415, _UNSUPPORTED, f"{said} is not taken yet: send {_PROTOBUF}")
        encoding = request.headers.get("Content-Encoding", "identity").lower()
        if encoding not in {"identity", "gzip"}:
            return _refusal(415, _UNSUPPORTED, f"{encoding} is not taken: send gzip or no encoding")
        try:
            body = await self._body(request, compressed=encoding == "gzip")
        except TooLargeError:
            return _refusal(
                413, _TOO_LARGE, f"over {self._max} bytes after decompression (otlp.max_body_bytes)"
            )
        except zlib.error as error:
            return _refusal(400, _INVALID, f"the body is not gzip: {error}")
        if body:
            entry = Entry(kind, self._clock(), body)
            try:
                await asyncio.wrap_future(self._append(entry))
            except ValueError as error:
                return _refusal(400, _INVALID, f"not an export request of {kind}: {error}")
            except (BusyError, JournalFullError) as error:
                return _refusal(503, _UNAVAILABLE, str(error), retry=True)
        return web.Response(body=b"", content_type=_PROTOBUF)

    async def _body(self, request: web.Request, *, compressed: bool) -> bytes:
        """Read the body, never holding more than its limit. Raises TooLargeError, zlib.error."""
        gzip = _Gzip() if compressed else None
        parts, size = [], 0
        async for data in request.content.iter_chunked(_CHUNK):
            part = gzip.unpack(data, self._max + 1 - size) if gzip else data
            parts.append(part)
            size += len(part)
            if size > self._max:
                raise TooLargeError
        if gzip:
            gzip.end()
        return b"".join(parts)


class _Gzip:
    """Unpacks gzip as it comes: of one member, or of several in a row (RFC 1952)."""

    def __init__(self) -> None:
        self._member: Any = None  # zlib does not say of what type it is

    def unpack(self, data: bytes, most: int) -> bytes:
        """Return what *data* goes on with, at most *most* bytes: then more may be left behind."""
        parts = []
        while data and most > 0:
            if self._member is None or self._member.eof:
                self._member = zlib.decompressobj(31)
            parts.append(self._member.decompress(data, most))
            most -= len(parts[-1])
            data = self._member.unused_data
        return b"".join(parts)

    def end(self) -> None:
        """Raise zlib.error where more had to come; nothing at all is an empty body."""
        if self._member is not None and not self._member.eof:
            msg = "it ends before its end"
            raise zlib.error(msg)


def _refusal(status: int, code: int, message: str, *, retry: bool = False) -> web.Response:
    return web.Response(
        status=status,
        body=Status(code=code, message=message).SerializeToString(),
        content_type=_PROTOBUF,
        headers={"Retry-After": "1"} if retry else None,
    )
