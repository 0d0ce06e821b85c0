"""The columnar decoder says what a plain reading says, of any request, in both encodings."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from collector import otlp
from collector.otlp import protobuf
from model.signals import unpack
from tests.collector import otlp_plainly as plainly

_SIGNALS = ("logs", "traces", "metrics")
_TIMES = 40


def _batch(kind: str, body: bytes) -> Any:
    return otlp.flatten(kind, otlp.decode(kind, [body]), np.zeros(1, np.int64))


def _rows(batch: Any, names: tuple[str, ...]) -> list[dict[str, Any]]:
    columns = [batch.get(name).to_pylist() for name in (*names, "attr_keys", "attr_values")]
    rows = []
    for *told, keys, values in zip(*columns, strict=True):
        rows.append({**dict(zip(names, told, strict=True)), "attributes": unpack(keys, values)})
    return rows


def _same_number(said: str, told: str) -> bool:
    """Whether *told* is the number of a plain reading's `double 1.5`."""
    number = float(re.sub("^double ", "", said))
    return float(told) == number or (number != number and told.lower() == "nan")  # noqa: PLR0124


def _same(said: Any, told: Any) -> bool:
    if isinstance(said, dict):
        return said.keys() == told.keys() and all(
            _same(one, told[key]) for key, one in said.items()
        )
    if isinstance(said, str) and "double " in said and said != told:
        parts, found = said.split(","), told.split(",")
        return len(parts) == len(found) and all(
            _same_number(one, other) if one.startswith("double ") else one == other
            for one, other in zip(parts, found, strict=True)
        )
    return bool(said == told)


@pytest.mark.parametrize("signal", ["logs", "traces"])
@pytest.mark.parametrize("encoding", ["", "+json"])
@settings(max_examples=_TIMES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_records_equal_a_plain_reading(signal: str, encoding: str, data: st.DataObject) -> None:
    """Every record of any valid request: its times, IDs, text and attributes, in order."""
    made = plainly.request(signal, data.draw(plainly.groups(signal)))
    body = plainly.as_json(made) if encoding else made.SerializeToString()
    expected = list({"logs": plainly.logs, "traces": plainly.traces}[signal](made))
    names = tuple(name for name in (expected[0] if expected else {}) if name != "attributes")
    found = _rows(_batch(signal + encoding, body), names)
    assert len(found) == len(expected)
    for one, other in zip(expected, found, strict=True):
        assert _same(one, other), (one, other)


@settings(max_examples=_TIMES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_bodies_are_decoded_in_parts_as_they_are_at_once(data: st.DataObject) -> None:
    """One by one or all together, in their order."""
    made = data.draw(st.lists(plainly.groups("logs"), max_size=4))
    bodies = [plainly.request("logs", one).SerializeToString() for one in made]
    whole = protobuf.decode("logs", bodies)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protobuf, "_AT_ONCE", 1)
        parts = protobuf.decode("logs", bodies)
        assert parts.schema == whole.schema
        assert repr(parts.to_pylist()) == repr(whole.to_pylist())  # no NaN equals itself
    assert whole.num_rows == len(bodies)


@pytest.mark.parametrize("encoding", ["", "+json"])
@settings(max_examples=_TIMES, deadline=None, suppress_health_check=list(HealthCheck))
@given(said=plainly.groups("metrics"))
def test_metrics_equal_a_plain_reading(encoding: str, said: list[Any]) -> None:
    """Which are samples of queues, what they say, and how many points are none."""
    made = plainly.request("metrics", said)
    body = plainly.as_json(made) if encoding else made.SerializeToString()
    expected, left_out = plainly.metrics(made)
    batch = _batch("metrics" + encoding, body)
    assert batch.counts.get("metrics_left_out", 0) == left_out
    names = ("queue", "ts_us", "depth", "oldest_age_s", "in_flight", "paused")
    found = [
        {name: value for name, value in zip(names, row, strict=True) if value is not None}
        for row in zip(*(batch.get(name).to_pylist() for name in names), strict=True)
    ]
    told = [{name: value for name, value in one.items() if value is not None} for one in expected]
    # how a float is written is compared above
    assume(not any("double " in one.get("queue", "") for one in told))

    def order(one: dict[str, Any]) -> str:
        return str(sorted((name, str(value)) for name, value in one.items()))

    assert sorted(map(_near, found), key=order) == sorted(map(_near, told), key=order)
    assert set(batch.get("phase").to_pylist()) <= {"queue.sampled"}
    assert set(batch.get("kind").to_pylist()) <= {"queue"}


def _near(one: dict[str, Any]) -> dict[str, Any]:
    """Sums of floats depend on their order in the last digits."""
    return {key: round(value, 3) if type(value) is float else value for key, value in one.items()}
