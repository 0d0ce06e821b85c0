"""Metrics that name a queue become samples of it; all others are counted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.collector._taken import NOW, NOW_NS, pairs, taken


def _metrics(*metrics: dict[str, Any], **resource: Any) -> bytes:
    shared = {"attributes": pairs({key.replace("__", "."): one for key, one in resource.items()})}
    scopes = [{"metrics": list(metrics)}]
    return json.dumps({"resourceMetrics": [{"resource": shared, "scopeMetrics": scopes}]}).encode()


def _gauge(name: str, value: float | str, **said: Any) -> dict[str, Any]:
    return {"name": name, "gauge": {"dataPoints": [_point(value, **said)]}}


def _sum(name: str, value: float | str, temporality: int, **said: Any) -> dict[str, Any]:
    points = [_point(value, **said)]
    return {"name": name, "sum": {"dataPoints": points, "aggregationTemporality": temporality}}


def _point(value: float | str, at: int = NOW_NS, flags: int = 0, **said: Any) -> dict[str, Any]:
    number = {"asInt": str(value)} if isinstance(value, int) else {"asDouble": value}
    named = {key.replace("__", "."): one for key, one in said.items()}
    return {"timeUnixNano": str(at), "flags": flags, "attributes": pairs(named), **number}


def test_all_of_a_queue_at_one_time_is_one_signal() -> None:
    """Of one resource: its columns, its service, its side; another queue or time is another."""
    mail = {"queue__name": "mail"}
    found, counts = taken(
        (
            "metrics+json",
            _metrics(
                _gauge("queue.depth", 5, **mail),
                _gauge("queue.oldest_age_s", 12.5, **mail),
                _gauge("queue.in_flight", 2, **mail),
                _gauge("queue.consumers", 3, **mail),
                _gauge("queue.paused", 1, **mail),
                _sum("queue.enqueued_total", 100, 2, **mail),
                _sum("queue.completed_total", 95, 2, **mail),
                _gauge("queue.depth", 7, messaging__destination__name="sms"),
                _gauge("queue.depth", 6, at=NOW_NS + 1_000_000, **mail),
                service__name="oxr",
            ),
        )
    )
    assert counts == {}
    shown = [(one["queue"], one["ts_us"], one["depth"]) for one in found]
    assert sorted(shown) == [("mail", NOW, 5.0), ("mail", NOW + 1000, 6.0), ("sms", NOW, 7.0)]
    [one] = [one for one in found if one["depth"] == 5]
    assert (one["phase"], one["kind"], one["name"]) == ("queue.sampled", "queue", "queue.sampled")
    assert (one["oldest_age_s"], one["in_flight"], one["consumers"]) == (12.5, 2.0, 3.0)
    assert (one["paused"], one["enqueued_total"], one["completed_total"]) == (True, 100.0, 95.0)
    assert (one["service"], one["side"], one["way"]) == ("oxr", "dispatcher", "otlp")
    assert len({one["seq"] for one in found}) == 3


def test_metrics_of_brokers_are_known_by_their_names() -> None:
    """Of the Collector's RabbitMQ receiver, whose resource names the queue, and of exporters."""
    found, counts = taken(
        (
            "metrics+json",
            _metrics(
                _sum("rabbitmq.message.current", 5, 2, state="ready"),
                _sum("rabbitmq.message.current", 2, 2, state="unacknowledged"),
                _sum("rabbitmq.message.current", 9, 2, state="lost"),
                _sum("rabbitmq.consumer.count", 4, 2),
                rabbitmq__queue__name="mail",
            ),
        ),
        ("metrics+json", _metrics(_gauge("celery_queue_length", 8, queue_name="celery"))),
        ("metrics+json", _metrics(_gauge("rabbitmq_queue_messages_ready", 3, queue="sms"))),
    )
    assert counts == {"metrics_left_out": 1}
    shown = [(one["queue"], one["depth"], one["in_flight"], one["consumers"]) for one in found]
    assert shown == [
        ("mail", 5.0, 2.0, 4.0), ("celery", 8.0, None, None), ("sms", 3.0, None, None),
    ]  # fmt: skip


def test_points_of_several_partitions_are_one_queue() -> None:
    """Depths are added up, of ages the greatest is told; a point said twice counts once."""
    found, _ = taken(
        (
            "metrics+json",
            _metrics(
                _gauge("queue.depth", 5, queue="q", partition=1),
                _gauge("queue.depth", 7, queue="q", partition=2),
                _gauge("queue.depth", 7, queue="q", partition=2),
                _gauge("queue.oldest_age_s", 2.0, queue="q", partition=1),
                _gauge("queue.oldest_age_s", 9.0, queue="q", partition=2),
            ),
        )
    )
    assert [(one["depth"], one["oldest_age_s"]) for one in found] == [(12.0, 9.0)]


@pytest.mark.parametrize(
    "metric",
    [
        _gauge("process.memory.usage", 5, queue="q"),
        _gauge("queue.depth", 5),
        _gauge("queue.depth", 5, queue=""),
        _gauge("queue.depth", "NaN", queue="q"),
        _gauge("queue.depth", 5, queue="q", flags=1),
        _sum("queue.enqueued_total", 5, 1, queue="q"),
        {"name": "queue.depth", "histogram": {"dataPoints": [{"timeUnixNano": "1"}]}},
        {"name": "queue.depth", "exponentialHistogram": {"dataPoints": [{}]}},
        {"name": "queue.depth", "summary": {"dataPoints": [{}]}},
    ],
)
def test_all_else_is_counted_and_no_error(metric: dict[str, Any]) -> None:
    """Other metrics, no queue, no value, changes instead of totals, histograms, summaries."""
    assert taken(("metrics+json", _metrics(metric))) == ([], {"metrics_left_out": 1})


def test_what_an_exporter_could_not_send_is_a_loss() -> None:
    """An SDK's own counter where it bears an error, the Collector's as it is; zero is a start."""
    began = NOW_NS - 60_000_000_000

    def counter(name: str, temporality: int, *points: dict[str, Any]) -> dict[str, Any]:
        told = [{**one, "startTimeUnixNano": str(began)} for one in points]
        return {"name": name, "sum": {"dataPoints": told, "aggregationTemporality": temporality}}

    found, counts = taken(
        (
            "metrics+json",
            _metrics(
                counter(
                    "otel.sdk.exporter.log.exported", 2,
                    _point(500), _point(3, error__type="timeout"),
                ),
                counter("otel.sdk.processor.span.processed", 1, _point(2, error__type="full")),
                counter("otelcol_exporter_send_failed_spans", 2, _point(0)),
                counter("otelcol_receiver_accepted_spans", 2, _point(9)),
                _gauge("queue.depth", 5, queue__name="mail"),
                service__name="agent",
                service__instance__id="a-1",
            ),
        )
    )  # fmt: skip
    assert counts == {"metrics_left_out": 2}
    lost = {one["name"]: one for one in found if one["phase"] == "export.failed"}
    assert {name: (one["lost"], one["lost_total"], one["error"]) for name, one in lost.items()} == {
        "otel.sdk.exporter.log.exported": (None, 3.0, "timeout"),
        "otel.sdk.processor.span.processed": (2.0, None, "full"),
        "otelcol_exporter_send_failed_spans": (None, 0.0, None),
    }
    [one] = [one for one in lost.values() if one["lost"]]
    assert (one["from_us"], one["to_us"], one["ts_us"]) == (NOW - 60_000_000, NOW, NOW)
    assert (one["service"], one["instance"], one["kind"]) == ("agent", "a-1", "event")
    assert [one["depth"] for one in found if one["queue"]] == [5.0]


def test_losses_stand_among_samples_in_the_order_of_their_requests() -> None:
    """Two requests in one batch: each signal has its own request's number."""
    body = _metrics(
        _gauge("queue.depth", 1, queue__name="q"),
        _sum("otelcol_exporter_send_failed_spans", 4, 2),
        service__name="c",
    )
    found, _ = taken(("metrics+json", body), ("metrics+json", body))
    assert [(one["seq"] >> 24, one["phase"]) for one in found] == [
        (7, "queue.sampled"), (7, "export.failed"), (8, "queue.sampled"), (8, "export.failed"),
    ]  # fmt: skip
    assert len({one["seq"] for one in found}) == 4
