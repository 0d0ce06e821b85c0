"""What exporters are answered, in the encoding in which they asked.

Errors are a `google.rpc.Status`; only UNAVAILABLE (503) may be sent again. The waits that we
ask for are 1 or 2 seconds: the Python SDK gives a batch up that it is told to hold for longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.json_format import MessageToJson
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

if TYPE_CHECKING:
    from collections.abc import Iterator

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"

SIGNALS: Final[dict[str, tuple[Any, str]]] = {
    "logs": (ExportLogsServiceResponse, "rejected_log_records"),
    "traces": (ExportTraceServiceResponse, "rejected_spans"),
    "metrics": (ExportMetricsServiceResponse, "rejected_data_points"),
}
"""Signal, as in the URL's path → what answers it, and where that counts what was rejected."""

ENCODINGS: Final = {PROTOBUF: "", JSON: "+json"}
"""Content type → what it adds to the signal's name in the kind of a journal record."""

# google.rpc.Code
INVALID, DEADLINE, NOT_FOUND, TOO_LARGE, UNIMPLEMENTED = 3, 4, 5, 8, 12
INTERNAL, UNAVAILABLE, UNAUTHENTICATED = 13, 14, 16

_RETRY_S: Final[Iterator[int]] = cycle((1, 2))  # so that not all come back at once


@dataclass(frozen=True, slots=True)
class Taken:
    """A request that is on disk, or held nothing; *rejected* of its records were not kept."""

    rejected: int = 0
    message: str = ""


class RefusalError(Exception):
    """A request that is not taken: a `google.rpc.Code`, an HTTP status, and why.

    With *retry_s* it may be sent again after so many seconds.
    """

    def __init__(self, code: int, status: int, message: str, *, retry_s: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.message = message
        self.retry_s = retry_s


def come_again(message: str) -> RefusalError:
    """Return the refusal of what can be taken in a moment."""
    return RefusalError(UNAVAILABLE, 503, message, retry_s=next(_RETRY_S))


def status(refusal: RefusalError) -> Status:
    """Return *refusal* as the message that errors are told by."""
    told = Status(code=refusal.code, message=refusal.message)
    if refusal.retry_s:
        told.details.add().Pack(retry_info(refusal))
    return told


def retry_info(refusal: RefusalError) -> RetryInfo:
    """Return when to come again."""
    info = RetryInfo()
    info.retry_delay.seconds = refusal.retry_s
    return info


def error(refusal: RefusalError, content_type: str) -> bytes:
    """Return the body that tells *refusal*."""
    return _encoded(status(refusal), content_type)


def success(signal: str, taken: Taken, content_type: str) -> bytes:
    """Return the body of a success; `partial_success` is set only where there is one."""
    if not taken.rejected and not taken.message:
        return b"{}" if content_type == JSON else b""
    response, rejected = SIGNALS[signal]
    said = response()
    setattr(said.partial_success, rejected, taken.rejected)
    said.partial_success.error_message = taken.message
    return _encoded(said, content_type)


def _encoded(said: Any, content_type: str) -> bytes:  # noqa: ANN401 - any message
    if content_type == JSON:
        return str(MessageToJson(said, indent=None)).encode()
    return bytes(said.SerializeToString())
