"""Metrics by which exporters say that records were lost: an SDK's own, and the Collector's.

They are counters: what one has counted by a certain time is one signal, `export.failed`. An SDK
counts all that it exports; what it lost bears an `error.type`. From the conventions for SDKs' own
metrics, and the Collector's documentation of its telemetry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.attributes import Attributes, beside
from collector.batch import Array, Batch
from collector.otlp.records import attributes
from collector.otlp.values import field, inside, micros

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_SDK: Final = tuple(
    f"otel.sdk.{part}.{signal}.{verb}"
    for part, verb in (("exporter", "exported"), ("processor", "processed"))
    for signal in ("log", "span")
)
_COLLECTOR: Final = tuple(
    f"otelcol_{part}_{signal}{end}"
    for part in ("exporter_send_failed", "exporter_enqueue_failed")
    for signal in ("log_records", "spans")
    for end in ("", "_total")
)

_DELTA: Final = 1


class Metrics(NamedTuple):
    """Metrics of some requests: their names, their sums, and what resource and request each is of.

    `resource` is a metric's place among the resources, `request` a resource's among the requests.
    """

    names: Array
    sums: Array
    resource: NDArray[np.int64]
    request: NDArray[np.int64]


def flatten_losses(
    metrics: Metrics,
    arrived_us: NDArray[np.int64],
    shared: Attributes,
    tidy: Callable[[Attributes], None],
) -> Batch:
    """Return what *metrics* say of losses, a row for each point that does.

    *shared* are the attributes of the resources; *tidy* scrubs and cuts those of points.
    """
    batch = Batch(0, {}, lambda _key: None)
    lists = field(metrics.sums, "dataPoints")
    known = pc.is_in(metrics.names, pa.array([*_SDK, *_COLLECTOR]))
    some = pc.and_(known, pc.is_valid(lists)).to_numpy(zero_copy_only=False)
    chosen = np.nonzero(some)[0]
    if not len(chosen):
        return batch
    metric, points = inside(chosen, lists.take(pa.array(chosen)))
    own = attributes(points.field("attributes"), batch.count)
    tidy(own)
    names = metrics.names.take(pa.array(metric))
    error = own.text("error.type")
    error = pa.nulls(len(points), pa.string()) if error is None else error
    value = pc.coalesce(
        points.field("asDouble"), pc.cast(points.field("asInt"), pa.float64(), safe=False)
    )
    value = pc.fill_null(value, np.nan).to_numpy(zero_copy_only=False)
    theirs = pc.is_in(names, pa.array(_COLLECTOR)).to_numpy(zero_copy_only=False)
    failed = pc.fill_null(pc.not_equal(error, ""), False).to_numpy(zero_copy_only=False)
    rows = np.nonzero(np.isfinite(value) & (value >= 0) & (theirs | failed))[0]
    if not len(rows):
        return batch
    batch.rows = len(rows)
    at, value, metric = pa.array(rows), value[rows], metric[rows]
    temporality = pc.fill_null(field(metrics.sums, "aggregationTemporality"), 0)
    delta = temporality.to_numpy(zero_copy_only=False)[metric] == _DELTA
    times = {
        name: micros(points.field(key))[rows]
        for name, key in (("ts_us", "timeUnixNano"), ("from_us", "startTimeUnixNano"))
    }
    columns, spread = batch.columns, pa.array(metrics.resource[metric])
    common, misfits = shared.promoted()
    batch.count("misfit_values", misfits)
    columns.update({name: values.take(spread) for name, values in common.items()})
    for place, name in enumerate(("attr_keys", "attr_values")):
        columns[name] = beside(shared.packed()[place].take(spread), own.packed()[place].take(at))
    columns |= {name: pa.array(said, mask=said == 0) for name, said in times.items()}
    columns["to_us"] = columns["ts_us"]
    columns["name"], columns["error"] = names.take(at), error.take(at)
    columns["lost"] = pa.array(value, mask=~delta)
    columns["lost_total"] = pa.array(value, mask=delta)
    for name, said in (("kind", "event"), ("phase", "export.failed")):
        columns[name] = pa.repeat(said, batch.rows)
    columns["severity"] = pa.repeat(pa.scalar(9, pa.int16()), batch.rows)
    request = metrics.request[metrics.resource[metric]]
    columns["request"] = pa.array(request)
    columns["arrived_us"] = pa.array(arrived_us[request], pa.int64())

    def attribute(key: str) -> Array | None:
        mine, others = own.text(key), shared.text(key)
        found = [
            text.take(where) for text, where in ((mine, at), (others, spread)) if text is not None
        ]
        return pc.coalesce(*found) if found else None

    batch.attribute = attribute
    return batch
