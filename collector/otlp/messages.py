"""What is kept of an OTLP message: one table, from which both encodings are read.

The table is narrow: what is not in it is skipped as unknown. Field names are those of OTLP/JSON,
field numbers those of opentelemetry-proto 1.x (`common`, `logs`, `trace`, `metrics`).
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Field(NamedTuple):
    """A field's number on the wire and its type: a scalar, a message, or either in a list."""

    number: int
    type: str

    @property
    def base(self) -> str:
        """The type of one, where it is a list."""
        return self.type.strip("[]")

    @property
    def many(self) -> bool:
        """Whether it is a list."""
        return self.type.startswith("[")


_SCALAR: Final = {
    "stringValue": (1, "string"),
    "boolValue": (2, "bool"),
    "intValue": (3, "int64"),
    "doubleValue": (4, "double"),
    "bytesValue": (7, "bytes"),
}

_ATTRIBUTES: Final = "[KeyValue]"

_TABLE: Final[dict[str, dict[str, tuple[int, str]]]] = {
    # what nests at will is kept as it came, and read one by one where there is any
    "Member": {**_SCALAR, "arrayValue": (5, "raw"), "kvlistValue": (6, "raw")},
    "Array": {"values": (1, "[Member]")},
    "AnyValue": {
        **_SCALAR,
        "arrayValue": (5, "Array"),
        "kvlistValue": (6, "raw"),
    },
    "KeyValue": {"key": (1, "string"), "value": (2, "AnyValue"), "keyStrindex": (3, "int32")},
    "Resource": {"attributes": (1, _ATTRIBUTES)},
    "LogRecord": {
        "timeUnixNano": (1, "fixed64"),
        "severityNumber": (2, "enum"),
        "body": (5, "AnyValue"),
        "attributes": (6, _ATTRIBUTES),
        "traceId": (9, "id"),
        "spanId": (10, "id"),
        "observedTimeUnixNano": (11, "fixed64"),
        "eventName": (12, "string"),
    },
    "ScopeLogs": {"logRecords": (2, "[LogRecord]")},
    "ResourceLogs": {"resource": (1, "Resource"), "scopeLogs": (2, "[ScopeLogs]")},
    "Logs": {"resourceLogs": (1, "[ResourceLogs]")},
    "Status": {"message": (2, "string"), "code": (3, "enum")},
    "Span": {
        "traceId": (1, "id"),
        "spanId": (2, "id"),
        "parentSpanId": (4, "id"),
        "name": (5, "string"),
        "kind": (6, "enum"),
        "startTimeUnixNano": (7, "fixed64"),
        "endTimeUnixNano": (8, "fixed64"),
        "attributes": (9, _ATTRIBUTES),
        "status": (15, "Status"),
    },
    "ScopeSpans": {"spans": (2, "[Span]")},
    "ResourceSpans": {"resource": (1, "Resource"), "scopeSpans": (2, "[ScopeSpans]")},
    "Traces": {"resourceSpans": (1, "[ResourceSpans]")},
    "NumberPoint": {
        "startTimeUnixNano": (2, "fixed64"),
        "timeUnixNano": (3, "fixed64"),
        "asDouble": (4, "double"),
        "asInt": (6, "sfixed64"),
        "attributes": (7, _ATTRIBUTES),
        "flags": (8, "uint32"),
    },
    "Gauge": {"dataPoints": (1, "[NumberPoint]")},
    "Sum": {"dataPoints": (1, "[NumberPoint]"), "aggregationTemporality": (2, "enum")},
    # histograms and summaries are counted only: their time has one number in all three
    "OtherPoint": {"timeUnixNano": (3, "fixed64")},
    "Other": {"dataPoints": (1, "[OtherPoint]")},
    "Metric": {
        "name": (1, "string"),
        "gauge": (5, "Gauge"),
        "sum": (7, "Sum"),
        "histogram": (9, "Other"),
        "exponentialHistogram": (10, "Other"),
        "summary": (11, "Other"),
    },
    "ScopeMetrics": {"metrics": (2, "[Metric]")},
    "ResourceMetrics": {"resource": (1, "Resource"), "scopeMetrics": (2, "[ScopeMetrics]")},
    "Metrics": {"resourceMetrics": (1, "[ResourceMetrics]")},
}

MESSAGES: Final = {
    name: {field: Field(*said) for field, said in fields.items()} for name, fields in _TABLE.items()
}
"""Message → its fields.

Types of our own: `id` is bytes that JSON writes in hex, `bytes` are such in base64, `enum` is a
number that JSON may write as its name, `raw` is a message that is kept as it came.
"""

ONE_OF: Final = {
    "Member": tuple(MESSAGES["Member"]),
    "AnyValue": tuple(MESSAGES["AnyValue"]),
    "NumberPoint": ("asDouble", "asInt"),
    "Metric": ("gauge", "sum", "histogram", "exponentialHistogram", "summary"),
}
"""Message → those of its fields of which the last one sent is the only one."""

ROOTS: Final = {"logs": "Logs", "traces": "Traces", "metrics": "Metrics"}
"""Signal, as in the URL path, → message."""
