"""OTLP over gRPC: the `Export` methods of logs, traces and metrics.

Messages are taken as bytes and unpacked here, not by gRPC, which would unpack a bomb whole
before its size is looked at. No message of an exporter begins with the bytes of gzip: there is
no field 3 of wire type 7.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Final

# before it is loaded: what it has to say of a port or a handshake, we say in our own words
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
import grpc
import grpc.aio

from collector.ingest import BusyError
from collector.receivers import _answers
from collector.receivers._answers import (
    DEADLINE,
    INVALID,
    PROTOBUF,
    UNAUTHENTICATED,
    RefusalError,
    come_again,
)
from collector.receivers.token import ASKED, admits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from collector.receivers.intake import Intake

METHODS: Final = {
    "logs": "opentelemetry.proto.collector.logs.v1.LogsService",
    "traces": "opentelemetry.proto.collector.trace.v1.TraceService",
    "metrics": "opentelemetry.proto.collector.metrics.v1.MetricsService",
}
_GZIP: Final = b"\x1f\x8b"
_ZLIB: Final = frozenset({b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"})
_CODES: Final = {one.value[0]: one for one in grpc.StatusCode}
_LEAST_GUESS: Final = 64 << 10
_CALLS: Final = 1024


class OtlpGrpc:
    """Reads export requests and hands them to *intake*.

    How large a message is shows only when it has come. Until then it is counted as large as
    those that came lately, so that many large ones at once are told to come again.
    """

    def __init__(
        self, intake: Intake, *, token: str | None = None, body_timeout_s: float = 30.0
    ) -> None:
        self._intake = intake
        self._token = token
        self._body_timeout_s = body_timeout_s
        self._guess = _LEAST_GUESS
        self._calls = 0

    def server(self, *, max_connections: int, idle_timeout_s: float) -> grpc.aio.Server:
        """Return the server, without a port yet."""
        options = [
            ("grpc.so_reuseport", 0),  # or two sidecars would share a port
            ("grpc.per_message_decompression", 0),
            ("grpc.max_receive_message_length", self._intake.max_body_bytes + 1),
            ("grpc.max_metadata_size", 16 << 10),
            ("grpc.absolute_max_metadata_size", 32 << 10),
            ("grpc.max_allowed_incoming_connections", max_connections),
            ("grpc.max_connection_idle_ms", int(idle_timeout_s * 1000)),
            ("grpc.server_handshake_timeout_ms", 10_000),
            ("grpc.max_concurrent_streams", _CALLS),
        ]
        server = grpc.aio.server(options=options)
        server.add_generic_rpc_handlers(
            [
                grpc.method_handlers_generic_handler(
                    service, {"Export": grpc.stream_unary_rpc_method_handler(self._method(signal))}
                )
                for signal, service in METHODS.items()
            ]
        )
        return server

    def _method(self, signal: str) -> Callable[[Any, Any], Awaitable[bytes]]:
        # A stream of one message is on the wire what a single one is; only so is it ours to
        # say when it is read: after its token was looked at, and while there is room.
        async def export(_messages: object, context: Any) -> bytes:  # noqa: ANN401 - gRPC's
            self._calls += 1
            try:
                answer = await self._answer(signal, context)
            except RefusalError as refusal:
                code = _CODES[refusal.code]
                self._intake.count("grpc", signal, code.name)
                await context.abort(code, refusal.message, _trailers(refusal))
                raise AssertionError from None  # abort has raised
            finally:
                self._calls -= 1
            self._intake.count("grpc", signal, "OK")
            return answer

        return export

    async def _answer(self, signal: str, context: Any) -> bytes:  # noqa: ANN401 - gRPC's
        said = dict(context.invocation_metadata() or ())
        if not admits(self._token, str(said.get("authorization", ""))):
            raise RefusalError(UNAUTHENTICATED, 401, ASKED)
        self._intake.kind(signal, PROTOBUF)
        if self._calls > _CALLS:
            raise come_again("too many requests at once")
        with self._intake.share() as share:
            try:
                await share.room(self._guess)
                body = await self._read(context)
                await share.room(len(body) - share.size)
            except BusyError as error:
                raise come_again(str(error)) from None
            self._guess = max(_LEAST_GUESS, len(body), self._guess * 7 // 8)
            if body[:2] in _ZLIB:
                raise RefusalError(INVALID, 400, "deflate is not taken: send gzip or as it is")
            if body.startswith(_GZIP):
                body = await self._intake.unpacked(body, share)
            elif len(body) > self._intake.max_body_bytes:
                raise self._intake.too_large()
            taken = await self._intake.take(signal, body)
        return _answers.success(signal, taken, PROTOBUF)

    async def _read(self, context: Any) -> bytes:  # noqa: ANN401 - gRPC's
        try:
            async with asyncio.timeout(self._body_timeout_s):
                body = await context.read()
        except TimeoutError:
            message = f"the message did not come within {self._body_timeout_s:g} s"
            raise RefusalError(DEADLINE, 408, message) from None
        if body is grpc.aio.EOF:
            raise RefusalError(INVALID, 400, "a request without a message")
        return bytes(body)


def _trailers(refusal: RefusalError) -> tuple[tuple[str, bytes], ...]:
    details = ("grpc-status-details-bin", _answers.status(refusal).SerializeToString())
    if not refusal.retry_s:
        return (details,)
    # the Python SDK looks for it under a name of its own
    return details, ("google.rpc.retryinfo-bin", _answers.retry_info(refusal).SerializeToString())
