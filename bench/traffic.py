"""What is sent: made once with the official messages, then stamped with new IDs, byte by byte.

Work comes in *rounds*. A round is two bodies, one of the dispatcher and one of an agent, which
tell of the same tasks: five records a task and side, so that every hop and attempt of a round
has both its ends once both bodies are in. A record has ten attributes; six of ten bear a task
ID, four of ten a request ID.

IDs hold a mark of eight bytes, which is replaced by the round's number. Their length stays, so
the encoding stays valid: a new body costs a copy, and the generator leaves the cores to others.
"""

from __future__ import annotations

import gzip
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import orjson
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

KINDS: Final = ("spans", "logs", "lines", "beats")

RECORD_KINDS: Final = {
    "spans": "traces",
    "logs": "logs",
    "lines": "lines",
    "beats": "heartbeat",
}
"""Kind of traffic → kind of journal record."""

_MARK: Final = "@@@@@@@@"
_TASKS: Final = (100, 140, 180, 200)
"""Tasks in a round; five records each, so that a request has 500 to 1,000."""

_INFO, _ERROR = 9, 17
_MS: Final = 1_000_000
_Said: TypeAlias = "Mapping[str, object]"


@dataclass(frozen=True, slots=True)
class Request:
    """One body, and the number of records that it holds."""

    records: int
    body: bytes


def requests(kind: str, records: int, *, compressed: bool = False) -> list[Request]:
    """Return bodies of *kind* (see `KINDS`) that hold at least *records*; *compressed* by gzip.

    Beside these there is `flags`, of which nothing is kept.
    """
    made: list[Request] = []
    number = held = 0
    while held < records:
        for one in _round(kind, number % len(_TASKS)):
            body = one.body.replace(_MARK.encode(), b"%08x" % number)
            if compressed:
                body = gzip.compress(body, 6, mtime=0)
            made.append(Request(one.records, body))
            held += one.records
        number += 1
    return made


@cache
def _round(kind: str, number: int) -> tuple[Request, ...]:
    """Return the bodies of a round, the mark in place of its number."""
    if kind == "beats":
        return (Request(1, orjson.dumps(_beat(number))),)
    if kind == "flags":  # an evaluation: nothing of it is kept
        return (Request(1, b'{"context":{"targetingKey":"orders"}}'),)
    sides = (_dispatcher(number), _agent(number))
    tasks, now_ns = _TASKS[number], time.time_ns()
    records = 5 * tasks
    if kind == "spans":
        bodies = [_spans(one, tasks, now_ns) for one in sides]
    elif kind == "logs":
        bodies = [_logs(one, tasks, now_ns) for one in sides]
    else:
        bodies = [b"".join(_lines(one, tasks, now_ns)) for one in sides]
    return tuple(Request(records, body) for body in bodies)


# -- who speaks -------------------------------------------------------------------------------


def _dispatcher(number: int) -> dict[str, object]:
    return _process("dispatcher", "control-plane", number)


def _agent(number: int) -> dict[str, object]:
    return _process("agent", "worker", number)


def _process(side: str, service: str, number: int) -> dict[str, object]:
    return {
        "service.name": service,
        "service.instance.id": f"{service}-{number}",
        "host.name": f"host-{number}.cluster.internal",
        "zombiewatch.side": side,
        "telemetry.sdk.language": "python",
    }


def _ids(task: int) -> dict[str, object]:
    return {"task.id": f"task-{_MARK}-{task:04d}", "task.name": f"sync_{task % 20:02d}"}


def _call(purpose: str, task: int) -> dict[str, object]:
    """Return the ten attributes of one end of a call."""
    return {
        "http.request.method": "POST",
        "http.request.header.x-request-id": [f"req-{_MARK}-{task:04d}-{purpose}"],
        "http.response.status_code": 200,
        "url.path": f"/api/v1/tasks/{purpose}",
        "network.protocol.version": "1.1",
        "user_agent.original": "worker-client/4.2.1 (linux; x86_64)",
        "server.port": 8080,
        "call.purpose": purpose,
        **_ids(task),
    }


def _work(number: int, task: int) -> dict[str, object]:
    """Return ten attributes of work that is nobody's task: a query, as instrumentation has it."""
    return {
        "db.system.name": "postgresql",
        "db.namespace": "scheduler",
        "db.operation.name": "SELECT",
        "db.collection.name": "task_instance",
        "db.query.text": "SELECT id, state, slot FROM task_instance WHERE queue = $1 LIMIT $2",
        "db.response.returned_rows": task % 50,
        "code.function.name": "scheduler.queue.next_batch",
        "code.line.number": 120 + number,
        "thread.id": 140_000 + task,
        "thread.name": "pool-1-thread-3",
    }


def _step(more: _Said, task: int) -> dict[str, object]:
    """Return ten attributes of a step in a task's life, *more* (four) among them."""
    return {
        **_ids(task),
        **more,
        "code.function.name": "runner.lifecycle.advance",
        "code.line.number": 311,
        "thread.name": "MainThread",
        "deployment.environment.name": "production",
    }


_FINISHED: Final = {
    "task.outcome": "success",
    "task.exit_code": 0,
    "task.queue": "default",
    "task.attempt": 1,
}
_RECORDED: Final = {
    "task.state": "success",
    "task.queue": "default",
    "task.attempt": 1,
    "state.version": 7,
}
_BEGUN: Final = {
    "task.queue": "default",
    "task.attempt": 1,
    "task.timeout_s": 3600.0,
    "state.version": 3,
}


# -- spans --------------------------------------------------------------------------------------


class _Shape(NamedTuple):
    """One span of a task: its number, how it looks, when it begins, who called it."""

    number: int
    name: str
    kind: str
    after_ms: int
    said: Callable[[int], dict[str, object]]
    parent: int = 0


_SHAPES: Final = {
    "dispatcher": (
        _Shape(1, "POST dispatch", "CLIENT", 0, partial(_call, "dispatch")),
        _Shape(2, "SELECT task_instance", "INTERNAL", 0, partial(_work, 1)),
        _Shape(3, "SELECT task_instance", "INTERNAL", 91, partial(_work, 2)),
        _Shape(4, "POST report", "SERVER", 90, partial(_call, "report"), 8),
        _Shape(5, "task.recorded", "INTERNAL", 95, partial(_step, _RECORDED)),
    ),
    "agent": (
        _Shape(6, "POST dispatch", "SERVER", 1, partial(_call, "dispatch"), 1),
        _Shape(7, "SELECT task_instance", "INTERNAL", 5, partial(_work, 3)),
        _Shape(8, "POST report", "CLIENT", 89, partial(_call, "report")),
        _Shape(9, "SELECT task_instance", "INTERNAL", 6, partial(_work, 4)),
        _Shape(10, "task.finished", "INTERNAL", 80, partial(_step, _FINISHED)),
    ),
}


def _spans(process: _Said, tasks: int, now_ns: int) -> bytes:
    shapes = _SHAPES[str(process["zombiewatch.side"])]
    spans = [_span(task, one, now_ns + task * _MS) for task in range(tasks) for one in shapes]
    resource = Resource(attributes=_attributes(process))
    told = ResourceSpans(resource=resource, scope_spans=[ScopeSpans(spans=spans)])
    return bytes(ExportTraceServiceRequest(resource_spans=[told]).SerializeToString())


def _span(task: int, shape: _Shape, began_ns: int) -> Span:
    at_ns = began_ns + shape.after_ms * _MS
    longer_ns = int.from_bytes(_random(task, -shape.number)[:2], "big")
    return Span(
        trace_id=_MARK.encode() + _random(task, 0),
        span_id=_random(task, shape.number),
        parent_span_id=_random(task, shape.parent) if shape.parent else b"",
        name=shape.name,
        kind=Span.SpanKind.Value(f"SPAN_KIND_{shape.kind}"),
        start_time_unix_nano=at_ns,
        end_time_unix_nano=at_ns + 4 * _MS + longer_ns,
        attributes=_attributes(shape.said(task)),
    )


def _random(task: int, number: int) -> bytes:
    """Return eight bytes that look random, and are the same for a hop's two ends."""
    return blake2b(f"{task} {number}".encode(), digest_size=8).digest()


def _attributes(said: _Said) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in said.items()]


def _value(said: object) -> AnyValue:
    match said:
        case int():
            return AnyValue(int_value=said)
        case float():
            return AnyValue(double_value=said)
        case list():
            return AnyValue(array_value=ArrayValue(values=[_value(one) for one in said]))
    return AnyValue(string_value=str(said))


# -- logs and lines -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Record:
    task: int
    number: int  # within the task and side
    ms: int  # from the round's begin
    severity: int
    event: str
    said: _Said
    text: str


def _records(process: _Said, tasks: int) -> Iterator[_Record]:
    dispatching = process["zombiewatch.side"] == "dispatcher"
    for task in range(tasks):
        request = f"req-{_MARK}-{task:04d}"
        level = _ERROR if task % 50 == 0 else _INFO
        queried = f"query returned {task % 50} rows in 3.2 ms for queue default"
        told = f"request_id={request} handled POST /api/v1/tasks/report in 4.1 ms"
        if dispatching:
            events = (
                (0, _INFO, "task.enqueued", _step(_BEGUN, task), "task is waiting in its queue"),
                (1, level, "", _work(1, task), queried),
                (2, _INFO, "task.dispatched", _named(task, request), f"handed out by {request}"),
                (90, _INFO, "", _work(2, task), told),
                (95, _INFO, "task.recorded", _step(_RECORDED, task), "state stored: success"),
            )
        else:
            events = (
                (3, _INFO, "task.accepted", _named(task, request), f"accepted from {request}"),
                (4, _INFO, "task.started", _step(_BEGUN, task), "user code begins"),
                (5, level, "", _work(3, task), queried),
                (80, _INFO, "", _work(4, task), told),
                (85, _INFO, "task.finished", _step(_FINISHED, task), "user code ended: success"),
            )
        for number, (ms, severity, event, said, text) in enumerate(events):
            yield _Record(task, number, task + ms, severity, event, said, text)


def _named(task: int, request: str) -> dict[str, object]:
    more = {"task.queue": "default", "task.attempt": 1, "request.id": request, "state.version": 4}
    return _step(more, task)


def _logs(process: _Said, tasks: int, now_ns: int) -> bytes:
    made = [
        LogRecord(
            time_unix_nano=now_ns + one.ms * _MS,
            severity_number=one.severity,  # type: ignore[arg-type] # an enum is its number
            severity_text="ERROR" if one.severity == _ERROR else "INFO",
            event_name=one.event,
            body=AnyValue(string_value=one.text),
            attributes=_attributes(one.said),
            trace_id=_MARK.encode() + _random(one.task, 0),
            span_id=_random(one.task, one.number + 1),
        )
        for one in _records(process, tasks)
    ]
    resource = Resource(attributes=_attributes(process))
    told = ResourceLogs(resource=resource, scope_logs=[ScopeLogs(log_records=made)])
    return bytes(ExportLogsServiceRequest(resource_logs=[told]).SerializeToString())


def _lines(process: _Said, tasks: int, now_ns: int) -> Iterator[bytes]:
    for one in _records(process, tasks):
        at = datetime.fromtimestamp((now_ns + one.ms * _MS) / 1e9, UTC)
        line: dict[str, object] = {
            "timestamp": at.isoformat(timespec="microseconds"),
            "level": "ERROR" if one.severity == _ERROR else "INFO",
            "message": one.text,
            "service.name": process["service.name"],
            "service.instance.id": process["service.instance.id"],
            "zombiewatch.side": process["zombiewatch.side"],
            "trace_id": f"{_MARK}{_random(one.task, 0).hex()}{one.task:08x}",
            **dict(list(one.said.items())[:4]),
        }
        if one.event:
            line["event.name"] = one.event
        yield orjson.dumps(line) + b"\n"


def _beat(number: int) -> dict[str, object]:
    return {
        "task_id": f"task-{_MARK}",
        "task_name": f"sync_{number:02d}",
        "service": "worker",
        "instance": f"worker-{number}",
        "queue": "default",
        "interval_s": 10.0,
    }
