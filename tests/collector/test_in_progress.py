"""Work that has not ended yet is seen, and counts as nothing more than that."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from collector.rules import Rule
from collector.store.journal import Entry
from tests.collector import stores
from tests.collector._taken import NOW, NOW_NS, log_body, span_body, taken
from tests.collector.otlp_plainly import pair

if TYPE_CHECKING:
    from pathlib import Path

TRACE, SPAN, PARENT = "ab" * 16, "cd" * 8, "ef" * 8
BEGAN, BEGAN_NS = NOW - 60_000_000, NOW_NS - 60_000_000_000
RUN = {"cicd.pipeline.run.id": "r1", "cicd.pipeline.task.run.id": "t1"}
KIND = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}


def _partial(
    event: str, attributes: dict[str, Any], *, kind: int = 1, raw: bool = False, **more: Any
) -> bytes:
    """Return a log record that tells of a span, as the processors for partial spans write it."""
    data = TracesData()
    resource = data.resource_spans.add()
    resource.resource.attributes.append(pair("service.name", "agent"))
    span = resource.scope_spans.add().spans.add(
        trace_id=bytes.fromhex(TRACE), span_id=bytes.fromhex(SPAN), name="run it", kind=kind,
        parent_span_id=bytes.fromhex(PARENT), start_time_unix_nano=BEGAN_NS,
    )  # fmt: skip
    span.attributes.extend(pair(key, value) for key, value in attributes.items())
    body = base64.b64encode(data.SerializeToString()).decode() if raw else MessageToJson(data)
    said = {"partial.event": event, **more}
    record = {"timeUnixNano": str(NOW_NS), "body": {"stringValue": body}, "attributes": said}
    return log_body(record, service__instance__id="a1")


FREQUENCY: dict[str, Any] = {"partial.frequency": "5000ms"}


@pytest.mark.parametrize("raw", [False, True])
def test_a_partial_heartbeat_is_a_sign_of_life_of_its_task(raw: bool) -> None:  # noqa: FBT001
    """Body as JSON with base64 IDs, or protobuf in base64; the frequency is the declared beat."""
    [one], counts = taken(
        ("logs", b""), ("logs+json", _partial("heartbeat", RUN, raw=raw, **FREQUENCY))
    )
    assert counts == {}
    assert (one["phase"], one["kind"], one["task"], one["beat_s"]) == (
        "heartbeat", "beat", "r1/t1", 5.0,
    )  # fmt: skip
    assert (one["ts_us"], one["end_us"], one["outcome"]) == (NOW, None, None)
    assert (one["trace_id"], one["span_id"], one["parent_id"]) == (TRACE, SPAN, PARENT)
    assert (one["service"], one["instance"], one["side"]) == ("agent", "a1", "agent")
    assert "cicd.pipeline.task.run.id" in one["attr_keys"]


def test_a_stop_is_the_last_sign_of_life() -> None:
    """It declares no beat; what the run came to is said by the span itself."""
    [one], _ = taken(("logs+json", _partial("stop", RUN)))
    assert (one["phase"], one["task"], one["beat_s"], one["outcome"]) == (
        "heartbeat", "r1/t1", None, None,
    )  # fmt: skip


def test_a_step_within_a_task_declares_no_beat() -> None:
    """It ends, and its task goes on in silence."""
    [one], _ = taken(("logs+json", _partial("heartbeat", {"task.id": "t1"}, **FREQUENCY)))
    assert (one["phase"], one["task"], one["beat_s"]) == ("heartbeat", "t1", None)


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("internal", {}),
        ("producer", {"messaging.message.id": "m1"}),
        ("internal", {"queue.name": "q"}),
    ],
)
def test_what_is_no_work_of_a_task_is_no_sign_of_life(
    kind: str, attributes: dict[str, Any]
) -> None:
    """A process is not alive or dead by what spans it has."""
    [one], _ = taken(("logs+json", _partial("heartbeat", attributes, kind=KIND[kind], **FREQUENCY)))
    assert (one["phase"], one["beat_s"]) == (None, None)
    [one], _ = taken(("traces+json", span_body(_open(KIND[kind], attributes))))
    assert one["phase"] is None


def test_the_dispatchers_work_on_a_task_is_no_sign_of_the_agent() -> None:
    """A step of the dispatcher that names the task shows nothing of who runs it."""
    body = span_body(_open(1, {"task.id": "t1"}), service__name="oxr")
    [one], _ = taken(("traces+json", body))
    assert (one["side"], one["task"], one["phase"]) == ("dispatcher", "t1", None)


def test_a_log_whose_body_is_no_span_stays_a_log() -> None:
    """And is counted; so is one of another event."""
    said = [
        {"attributes": {"partial.event": "heartbeat"}, "body": {"stringValue": text}}
        for text in ("", "{", "plain", "{}", '{"resourceSpans": 5}', "AAAA", "[1]")
    ]
    other = {"attributes": {"partial.event": "odd"}, "body": {"stringValue": "x"}}
    found, counts = taken(("logs+json", log_body(*said, other)))
    assert counts == {"partials_unread": 7}
    assert {(one["kind"], one["phase"]) for one in found} == {("log", None)}
    assert found[2]["body"] == "plain"


def test_secrets_of_a_span_in_progress_are_taken_out() -> None:
    """The body is the span: it is not kept, its attributes are, without secrets."""
    [one], _ = taken(("logs+json", _partial("heartbeat", {**RUN, "db.password": "hunter2"})))
    assert "hunter2" not in json.dumps(one)


def _open(kind: int, attributes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "traceId": TRACE, "spanId": SPAN, "parentSpanId": PARENT, "name": "x", "kind": kind,
        "startTimeUnixNano": str(BEGAN_NS), "attributes": attributes, **more,
    }  # fmt: skip


def _stand_in(kind: int, attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the span that stands for one in progress: its child, of no length."""
    said = {
        **attributes,
        "logfire.span_type": "pending_span",
        "logfire.pending_parent_id": PARENT,
    }
    return _open(kind, said, spanId="11" * 8, parentSpanId=SPAN, endTimeUnixNano=str(BEGAN_NS))


@pytest.mark.parametrize("pending", [_open, _stand_in])
@pytest.mark.parametrize(
    ("kind", "attributes", "phase"),
    [
        ("internal", RUN, "started"),
        ("consumer", {"messaging.message.id": "m1"}, "started"),
        ("internal", {"task.id": "t1"}, "heartbeat"),
        ("client", {"task.id": "t1"}, "call.sent"),
        ("server", {}, "call.received"),
    ],
)
def test_a_pending_span_says_what_has_begun(
    pending: Any, kind: str, attributes: dict[str, Any], phase: str
) -> None:
    """Under the identity of the span that will end."""
    [one], _ = taken(("traces+json", span_body(pending(KIND[kind], attributes))))
    assert (one["phase"], one["ts_us"], one["end_us"]) == (phase, BEGAN, None)
    assert (one["span_id"], one["parent_id"], one["outcome"]) == (SPAN, PARENT, None)


def test_a_rule_makes_a_run_of_a_pending_span() -> None:
    """What it will finish, it has started; what it will record, nobody has."""
    rules = (Rule(span="x", phase="finished"), Rule(span="y", phase="recorded"))
    said = [_open(1, {"task.id": "t1"}), _open(1, {"task.id": "t1"}, name="y")]
    found, _ = taken(("traces+json", span_body(*said)), rules=rules)
    assert [one["phase"] for one in found] == ["started", None]


@pytest.mark.parametrize("ended_first", [False, True])
def test_the_span_that_ends_replaces_its_pending_self(
    tmp_path: Path,
    ended_first: bool,  # noqa: FBT001 - one of two orders
) -> None:
    """In either order: one run, one call, with the end and the outcome."""
    resource = {"service__name": "agent", "service__instance__id": "a1"}
    run = {**_open(1, RUN), "endTimeUnixNano": str(NOW_NS)}
    call = {**_open(3, {"request.id": "q"}, spanId="22" * 8), "endTimeUnixNano": str(NOW_NS)}
    told = [
        span_body(_open(1, RUN), _open(3, {"request.id": "q"}, spanId="22" * 8), **resource),
        span_body(_stand_in(1, RUN), **resource),
        span_body(run, call, **resource),
    ]
    store = stores.store(tmp_path)
    try:
        for body in reversed(told) if ended_first else told:
            number = store.append(Entry("traces+json", NOW, body)).result(10)
            assert store.wait_applied(number, 20)
        beat = store.append(Entry("logs+json", NOW, _partial("heartbeat", RUN, **FREQUENCY)))
        assert store.wait_applied(beat.result(10), 20)
        runs = stores.ask(store, "SELECT started_us, finished_us, outcome, beat_s FROM runs")
        assert runs == [(BEGAN, NOW, "success", 5.0)]
        attempts = stores.ask(store, "SELECT task, started_us, outcome FROM attempts")
        assert attempts == [("r1/t1", BEGAN, "success")]
        calls = stores.ask(store, "SELECT sent_us, ok_us, failed_us FROM calls")
        assert calls == [(BEGAN, NOW, None)]
        rates = stores.ask(store, "SELECT measure, sum(n) FROM rates GROUP BY 1 ORDER BY 1")
        assert ("run", 1) in rates
    finally:
        store.close()
