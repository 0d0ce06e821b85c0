"""The one shape that every log record, span, heartbeat, ping and sample becomes.

`COLUMNS` is the contract between receivers and the store; `ATTRIBUTES` says which
attribute of the native form fills which column, so that receivers, rules and the
documentation agree without a second list.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

_S, _I, _F, _B = pa.string(), pa.int64(), pa.float64(), pa.bool_()

COLUMNS: Final = {
    "seq": _I,  # journal record and row in it: the identity of a signal, for exactly-once
    "arrived_us": _I,  # our clock, when it came in
    "ts_us": _I,  # the sender's clock; start, for a span
    "end_us": _I,  # end of a span, else null
    "kind": _S,  # log, span, beat, ping, event, queue
    "way": _S,  # which receiver: otlp, file, events, heartbeat, ping; schedule is what we say
    "source": _S,  # more exactly: path of the file, say
    "namespace": _S,
    "side": _S,
    "service": _S,
    "instance": _S,
    "host": _S,
    "boot": _S,
    "phase": _S,
    "name": _S,  # event name or span name
    "severity": pa.int16(),
    "body": _S,
    "request_id": _S,
    "trace_id": _S,
    "span_id": _S,
    "parent_id": _S,
    "task": _S,
    "attempt": pa.int32(),
    "task_name": _S,
    "queue": _S,
    "priority": _S,
    "depends_on": _S,
    "reports": _B,
    "acks_early": _B,  # its message is given back when the run begins, not when it ends
    "outcome": _S,
    "state": _S,
    "exit_code": pa.int32(),
    "reason": _S,  # why it was given up, or its state changed
    "eta_us": _I,
    "timeout_s": _F,
    "beat_s": _F,  # so often a sign of life is promised
    "beat_timeout_s": _F,  # so long after the last sign it is called dead
    "call_timeout_s": _F,
    "retry_window_s": _F,  # so long a call that fails is tried again
    "visibility_s": _F,  # so long a queue waits for the end of what it handed out
    "expect_s": _F,  # so often something of this source is to be expected, whatever it is
    "purpose": _S,
    "peer": _S,
    "status_code": pa.int32(),
    "error": _S,
    "quota_limit": _F,  # calls that the callee allows in its window
    "quota_left": _F,
    "trace_broken": _B,  # it bore a trace context that is none
    "sequence": _I,  # counts what one life of a process says
    "lost": _F,  # records that will never come
    "lost_total": _F,  # the same, since `from_us`
    "from_us": _I,  # from when to when they were made, as far as it is known
    "to_us": _I,
    "clean": _B,
    "depth": _F,
    "oldest_age_s": _F,
    "in_flight": _F,
    "consumers": _F,
    "paused": _B,
    "enqueued_total": _F,
    "completed_total": _F,
    "schedule": _S,
    "due_us": _I,
    "start_grace_s": _F,
    "run_grace_s": _F,
    "attr_keys": pa.dictionary(pa.int32(), _S),  # of every attribute, joined (see `unpack`)
    "attr_values": _S,
}
"""Column → Arrow type. Times are microseconds since 1970 UTC."""

UNLIKE: Final = frozenset(
    ("request_id", "trace_id", "span_id", "parent_id", "task", "attr_values", "body")
)
"""Columns of text that is another in nearly every signal."""

SCHEMA: Final = pa.schema(list(COLUMNS.items()))

ATTRIBUTES: Final = {
    "zombiewatch.namespace": "namespace",
    "zombiewatch.side": "side",
    "service.name": "service",
    "service.instance.id": "instance",
    "host.name": "host",
    "instance.boot": "boot",
    "instance.clean": "clean",
    "task.id": "task",
    "task.attempt": "attempt",
    "task.name": "task_name",
    "task.queue": "queue",
    "task.priority": "priority",
    "task.depends_on": "depends_on",
    "task.reports": "reports",
    "task.acks_early": "acks_early",
    "task.outcome": "outcome",
    "task.state": "state",
    "task.exit_code": "exit_code",
    "task.reason": "reason",
    "task.eta": "eta_us",
    "task.timeout_s": "timeout_s",
    "task.heartbeat_interval_s": "beat_s",
    "task.heartbeat_timeout_s": "beat_timeout_s",
    "call.timeout_s": "call_timeout_s",
    "call.retry_window_s": "retry_window_s",
    "call.purpose": "purpose",
    "call.quota_limit": "quota_limit",
    "call.quota_left": "quota_left",
    "http.response.header.x-ratelimit-limit": "quota_limit",
    "http.response.header.x-ratelimit-remaining": "quota_left",
    "http.response.header.ratelimit-limit": "quota_limit",
    "http.response.header.ratelimit-remaining": "quota_left",
    "http.response.status_code": "status_code",
    "rpc.grpc.status_code": "status_code",
    "server.address": "peer",
    "error.type": "error",
    "event.name": "name",
    "queue.name": "queue",
    "queue.depth": "depth",
    "queue.oldest_age_s": "oldest_age_s",
    "queue.in_flight": "in_flight",
    "queue.consumers": "consumers",
    "queue.paused": "paused",
    "queue.enqueued_total": "enqueued_total",
    "queue.completed_total": "completed_total",
    "queue.visibility_timeout_s": "visibility_s",
    "schedule.name": "schedule",
    "schedule.due": "due_us",
    "schedule.start_grace_s": "start_grace_s",
    "schedule.run_grace_s": "run_grace_s",
    "zombiewatch.sequence": "sequence",
    "export.lost": "lost",
    "export.from": "from_us",
    "export.to": "to_us",
    # CI/CD conventions
    "cicd.pipeline.task.run.id": "task",
    "cicd.pipeline.task.name": "task_name",
    "cicd.pipeline.task.run.result": "outcome",
    "cicd.worker.id": "instance",
    # messaging conventions
    "messaging.message.id": "task",
    "messaging.destination.name": "queue",
}
"""Attribute → column, in order of preference: of two that fill one column, the first wins."""

SETTABLE: Final = frozenset(
    set(COLUMNS)
    - {
        "seq",
        "arrived_us",
        "expect_s",
        "trace_broken",
        "sequence",
        "lost_total",
        "kind",
        "way",
        "source",
        "phase",
        "attr_keys",
        "attr_values",
        "body",
    }
)
"""Columns that a rule may fill."""

SEPARATOR: Final = "\x1f"
ESCAPE: Final = "\x1e"


def unpack(keys: str | None, values: str | None) -> dict[str, str]:
    """Return the attributes that were packed into two joined strings.

    Within a value, the separator is kept as escape + "s" and the escape as escape + "e".
    """
    if keys is None or values is None:
        return {}

    def plain(text: str) -> str:
        return text.replace(ESCAPE + "s", SEPARATOR).replace(ESCAPE + "e", ESCAPE)

    pairs = zip(keys.split(SEPARATOR), values.split(SEPARATOR), strict=False)
    return {plain(key): plain(value) for key, value in pairs}
