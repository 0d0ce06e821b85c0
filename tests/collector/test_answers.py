"""What exporters are answered, and gzip that is unpacked within bounds."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from collector.ingest import BusyError
from collector.receivers._answers import JSON, PROTOBUF, Taken, come_again, success
from collector.receivers._bounds import Budget, Share
from collector.receivers._gzip import TooLargeError, gunzip

MIB = 1 << 20
RESPONSES = [
    ("logs", ExportLogsServiceResponse, "rejected_log_records", "rejectedLogRecords"),
    ("traces", ExportTraceServiceResponse, "rejected_spans", "rejectedSpans"),
    ("metrics", ExportMetricsServiceResponse, "rejected_data_points", "rejectedDataPoints"),
]


@pytest.mark.parametrize(("signal", "response", "field", "name"), RESPONSES)
def test_a_partial_success_says_how_many_and_why(
    signal: str, response: Any, field: str, name: str
) -> None:
    """In protobuf as the specification's message, in JSON with its int64 as text."""
    taken = Taken(3, "too many attributes")
    said = response.FromString(success(signal, taken, PROTOBUF)).partial_success
    assert (getattr(said, field), said.error_message) == (3, "too many attributes")
    assert json.loads(success(signal, taken, JSON)) == {
        "partialSuccess": {name: "3", "errorMessage": "too many attributes"}
    }


@pytest.mark.parametrize(("signal", "response", "field", "name"), RESPONSES)
def test_a_whole_success_sets_no_partial_one(
    signal: str, response: Any, field: str, name: str
) -> None:
    """The specification: partial_success must be unset then."""
    del field, name
    whole = response.FromString(success(signal, Taken(), PROTOBUF))
    assert not whole.HasField("partial_success")
    assert success(signal, Taken(), JSON) == b"{}"


def test_a_wait_is_a_second_or_two() -> None:
    """Never more: the Python SDK drops what it is told to hold for longer."""
    assert {1, 2} == {come_again("full").retry_s for _ in range(10)}


def free(_: int) -> None:
    """Let everything grow."""


@given(st.lists(st.binary(max_size=3000), max_size=4))
def test_gzip_of_any_members_is_their_content(members: list[bytes]) -> None:
    """One after the other, empty ones too."""
    packed = b"".join(gzip.compress(one) for one in members)
    assert gunzip(packed, 1 << 20, free) == b"".join(members)


@given(st.binary(min_size=1, max_size=300), st.data())
def test_gzip_that_was_cut_is_an_error(content: bytes, data: st.DataObject) -> None:
    """Wherever it was cut."""
    packed = gzip.compress(content)
    cut = packed[: data.draw(st.integers(1, len(packed) - 1))]
    with pytest.raises(zlib.error):
        gunzip(cut, MIB, free)


@pytest.mark.parametrize("size", [MIB, 20 * MIB])
def test_the_limit_itself_is_not_over_the_limit(size: int) -> None:
    """One byte more is; whether it is held at once or measured before."""
    assert size == len(gunzip(gzip.compress(bytes(size)), size, free))
    with pytest.raises(TooLargeError):
        gunzip(gzip.compress(bytes(size + 1)), size, free)


def test_a_bomb_is_found_out_before_it_is_held() -> None:
    """Of what is too large, no more than a few megabytes are ever kept."""
    kept: list[int] = []
    with pytest.raises(TooLargeError):
        gunzip(gzip.compress(bytes(100 * MIB), 1), 64 * MIB, kept.append)
    assert sum(kept) < 10 * MIB


def test_what_all_hold_is_bounded() -> None:
    """One may have more than there is, the next is told to wait; who is answered makes room."""
    budget = Budget(100)
    with Share(budget) as one, Share(budget) as other:
        one.grow(60)
        other.grow(41)
        with pytest.raises(BusyError):
            one.grow(1)
        other.grow(1000)
        one.grow(-10)
    assert budget.held == 0
    with Share(budget) as one, Share(budget) as other:
        one.grow(90)
        one.grow(-80)
        other.grow(90)
        one.grow(1)  # favoured from here on
        with pytest.raises(BusyError):
            other.grow(1)
    assert budget.held == 0
    with Share(budget) as alone:
        alone.grow(150)
        alone.grow(1)
    assert budget.held == 0


def test_who_finds_no_room_waits_for_it() -> None:
    """Until somebody has left; and no longer than the patience of senders."""

    async def go() -> tuple[bool, int]:
        budget = Budget(100)
        with Share(budget) as first, Share(budget) as favoured, Share(budget) as waits:
            first.grow(100)
            favoured.grow(100)
            room = asyncio.create_task(waits.room(50))
            await asyncio.sleep(0)
            early = room.done()
            with first:
                pass
            with favoured:
                pass
            await room
            return early, waits.size

    assert asyncio.run(go()) == (False, 50)
