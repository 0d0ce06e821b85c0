"""Metrics → samples of queues, and what exporters lost; the rest is counted.

All that one resource says of one queue for one moment is one signal, `queue.sampled`. Points of
several attribute sets (partitions, priorities) are added up; of ages and pauses the greatest is
kept. Changes since the last export (delta temporality) are no totals, and are left out. What says
that records were lost is read beside them (see `losses.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.attributes import Attributes, beside, texts
from collector.batch import Array, Batch, together
from collector.otlp import losses
from collector.otlp.records import attributes, resource_lists
from collector.otlp.values import field, inside, micros
from model.signals import ATTRIBUTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collector.limits import RecordLimits
    from collector.scrub import Scrub

_QUEUE: Final = (
    "queue.name",
    "messaging.destination.name",
    "task.queue",
    "rabbitmq.queue.name",
    "queue_name",
    "queue",
)
"""Attributes of a point, else of its resource, that name a queue; the first wins."""

_STATE: Final = ("state", "message.state")

_COLUMNS: Final = (
    "depth",
    "oldest_age_s",
    "in_flight",
    "consumers",
    "paused",
    "enqueued_total",
    "completed_total",
)

_METRICS: Final[dict[tuple[str, str], str]] = {
    **{(name, ""): column for name, column in ATTRIBUTES.items() if column in _COLUMNS},
    # the Collector's receiver of RabbitMQ
    ("rabbitmq.message.current", "ready"): "depth",
    ("rabbitmq.message.current", "unacknowledged"): "in_flight",
    ("rabbitmq.consumer.count", ""): "consumers",
    ("rabbitmq.message.published", ""): "enqueued_total",
    ("rabbitmq.message.acknowledged", ""): "completed_total",
    # exporters for Prometheus, scraped by a Collector
    ("rabbitmq_queue_messages_ready", ""): "depth",
    ("rabbitmq_queue_messages_unacked", ""): "in_flight",
    ("rabbitmq_queue_messages_unacknowledged", ""): "in_flight",
    ("rabbitmq_queue_consumers", ""): "consumers",
    ("celery_queue_length", ""): "depth",
    ("celery_active_consumer_count", ""): "consumers",
}
"""Metric and state (where it is told apart by one) → column of the sample."""

_STATES: Final = {name for name, state in _METRICS if state}
_GREATEST: Final = {"oldest_age_s", "paused"}
_DELTA: Final = 1
_NO_VALUE: Final = 1  # a bit of a point's flags
_OTHERS: Final = ("histogram", "exponentialHistogram", "summary")


class _Points(NamedTuple):
    metric: NDArray[np.int64]  # which metric each is of
    points: Array


def flatten_metrics(
    decoded: pa.RecordBatch, arrived_us: NDArray[np.int64], scrub: Scrub, limits: RecordLimits
) -> Batch:
    """Return the samples of queues, and the losses, in *decoded* (see `collector.otlp.flatten`).

    Points that are neither are counted as `metrics_left_out`.
    """
    request, resources = inside(np.arange(decoded.num_rows), decoded.column(0))
    of_resource, scopes = inside(np.arange(len(resources)), resources.field(1))
    resource, metrics = inside(of_resource, scopes.field(0))
    batch = Batch(0, {}, lambda _key: None)
    names = pc.fill_null(metrics.field("name"), "")
    concerned = pc.is_in(names, pa.array(sorted({name for name, _ in _METRICS})))
    every, chosen = 0, []
    for kind in ("gauge", "sum"):
        held = metrics.field(kind)
        lists = field(held, "dataPoints")
        every += pc.sum(pc.list_value_length(lists)).as_py() or 0
        some = pc.and_(concerned, pc.is_valid(lists))
        if kind == "sum":
            delta = pc.equal(pc.fill_null(field(held, "aggregationTemporality"), 0), _DELTA)
            some = pc.and_(some, pc.invert(delta))
        rows = np.nonzero(some.to_numpy(zero_copy_only=False))[0]
        if len(rows):
            chosen.append(_Points(*inside(rows, lists.take(pa.array(rows)))))
    for kind in _OTHERS:
        lists = field(metrics.field(kind), "dataPoints")
        every += pc.sum(pc.list_value_length(lists)).as_py() or 0
    shared = attributes(resource_lists(resources), batch.count)
    shared.tidy(scrub, limits, batch.count)
    used = 0
    if chosen:
        metric = np.concatenate([one.metric for one in chosen])
        points = pa.concat_arrays([one.points for one in chosen])
        own = attributes(points.field("attributes"), batch.count)
        own.tidy(scrub, limits, batch.count)
        samples = _samples(names.take(pa.array(metric)), points, resource[metric], own, shared)
        used = _fill(batch, samples, own, shared)
    if not batch.rows:
        batch.columns["request"] = pa.array([], pa.int64())
        batch.columns["arrived_us"] = pa.array([], pa.int64())
    else:
        at = request[samples.resource]
        batch.columns["request"] = pa.array(at)
        batch.columns["arrived_us"] = pa.array(arrived_us[at], pa.int64())
    lost = losses.flatten_losses(
        losses.Metrics(names, metrics.field("sum"), resource, request), arrived_us, shared,
        lambda own: own.tidy(scrub, limits, batch.count),
    )  # fmt: skip
    batch.count("metrics_left_out", every - used - lost.rows)
    return together(batch, lost)


class _Samples(NamedTuple):
    """Samples, and the points that they are made of."""

    resource: NDArray[np.int64]  # of each sample
    queue: Array
    ts_us: NDArray[np.int64]
    first: NDArray[np.int64]  # point
    point: NDArray[np.int64]  # the points that are used
    sample: NDArray[np.int64]  # of each of these
    column: NDArray[np.int64]
    value: NDArray[np.float64]


def _samples(
    names: Array, points: Array, resource: NDArray[np.int64], own: Attributes, shared: Attributes
) -> _Samples:
    queue = _text(own, shared, resource, _QUEUE)
    state = _text(own, shared, resource, _STATE)
    column = _columns(names, state)
    value = pc.coalesce(
        points.field("asDouble"), pc.cast(points.field("asInt"), pa.float64(), safe=False)
    )
    value = pc.fill_null(value, np.nan).to_numpy(zero_copy_only=False)
    flags = pc.fill_null(points.field("flags"), 0).to_numpy(zero_copy_only=False)
    ts_us = micros(points.field("timeUnixNano"))
    good = (column >= 0) & np.isfinite(value) & (flags & _NO_VALUE == 0)
    good &= pc.fill_null(pc.not_equal(queue, ""), False).to_numpy(zero_copy_only=False)
    point = np.nonzero(good)[0]
    coded = pc.dictionary_encode(queue.take(pa.array(point)))
    codes = coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    times, at = np.unique(ts_us[point], return_inverse=True)
    key = (resource[point] * max(len(coded.dictionary), 1) + codes) * max(len(times), 1) + at
    _, first, sample = np.unique(key, return_index=True, return_inverse=True)
    return _Samples(
        resource[point][first],
        coded.dictionary.take(pa.array(codes[first])),
        ts_us[point][first],
        point[first],
        point,
        sample,
        column[point],
        value[point],
    )


def _text(
    own: Attributes, shared: Attributes, resource: NDArray[np.int64], names: tuple[str, ...]
) -> Array:
    spread = pa.array(resource)
    found = [text for name in names if (text := own.text(name)) is not None]
    found += [text.take(spread) for name in names if (text := shared.text(name)) is not None]
    return pc.coalesce(*found) if found else pa.nulls(own.rows, pa.string())


def _columns(names: Array, state: Array) -> NDArray[np.int64]:
    """Return which column each point fills, as a place in `_COLUMNS`; -1 where none."""
    told = pc.if_else(pc.is_in(names, pa.array(sorted(_STATES))), pc.fill_null(state, "?"), "")
    coded = pc.dictionary_encode(pc.binary_join_element_wise(names, told, "\x1f"))
    places = [
        _COLUMNS.index(_METRICS[pair]) if pair in _METRICS else -1
        for one in coded.dictionary.to_pylist()
        for pair in [tuple(one.split("\x1f", 1))]
    ]
    found: NDArray[np.int64] = np.array(places, np.int64)[
        coded.indices.to_numpy(zero_copy_only=False)
    ]
    return found


def _fill(batch: Batch, made: _Samples, own: Attributes, shared: Attributes) -> int:
    """Fill the batch; return how many points were used."""
    batch.rows = rows = len(made.first)
    columns = batch.columns
    spread, first = pa.array(made.resource), pa.array(made.first)
    common, misfits = shared.promoted()
    batch.count("misfit_values", misfits)
    columns.update({name: values.take(spread) for name, values in common.items()})
    keys, values = (text.take(first) for text in own.packed())
    shared_keys, shared_values = (text.take(spread) for text in shared.packed())
    columns["attr_keys"] = beside(shared_keys, keys)
    columns["attr_values"] = beside(shared_values, values)
    columns["ts_us"] = pa.array(made.ts_us, mask=made.ts_us == 0)
    columns["queue"] = made.queue
    for name, said in (("kind", "queue"), ("phase", "queue.sampled"), ("name", "queue.sampled")):
        columns[name] = pa.repeat(said, rows)
    columns["severity"] = pa.repeat(pa.scalar(9, pa.int16()), rows)
    alike = _latest(made, own)
    for place, name in enumerate(_COLUMNS):
        mine = alike & (made.column == place)
        if not mine.any():
            continue
        told = np.full(rows, -np.inf if name in _GREATEST else 0.0)
        add = np.maximum if name in _GREATEST else np.add
        add.at(told, made.sample[mine], made.value[mine])
        absent = ~np.isin(np.arange(rows), made.sample[mine])
        told[absent] = 0.0
        columns[name] = pa.array(told != 0 if name == "paused" else told, mask=absent)

    def attribute(key: str) -> Array | None:
        mine, theirs = own.text(key), shared.text(key)
        found = [
            text.take(at) for text, at in ((mine, first), (theirs, spread)) if text is not None
        ]
        return pc.coalesce(*found) if found else None

    batch.attribute = attribute
    return len(made.point)


def _latest(made: _Samples, own: Attributes) -> NDArray[np.bool_]:
    """Return which points count: of those with the same attributes said twice, the last."""
    keys, values = (pc.fill_null(text, "") for text in own.packed())
    said = pc.binary_join_element_wise(texts(keys), values, "\x1d").take(pa.array(made.point))
    codes = pc.dictionary_encode(said).indices.to_numpy(zero_copy_only=False).astype(np.int64)
    whole = (made.sample * len(_COLUMNS) + made.column) * max(len(codes), 1) + codes
    _, last = np.unique(whole[::-1], return_index=True)
    kept = np.zeros(len(whole), bool)
    kept[len(whole) - 1 - last] = True
    return kept
