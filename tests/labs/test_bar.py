"""Bar's incident: each bug does its own damage, and the real sidecar finds that and no more."""

from __future__ import annotations

import asyncio
import io
import logging
import re
import time
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any, cast

import pytest
from opentelemetry import propagate, trace
from opentelemetry.sdk.trace import TracerProvider
from rich.console import Console

from labs._logs import lines
from labs.bar import LAB, expected, ledger
from labs.bar.gateway import by_hand
from labs.bar.options import PAYMENTS
from labs.bar.payments import WHOLE_S, Payments
from labs.bar.tasks import SALE_EVERY_S
from labs.bar.wire import DEADLINE_MS, CallFailedError
from tests.labs._words import heard
from zombiewatch.session import Session, run_lab

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from labs.bar.wire import Caller

BUGS = sorted(LAB.bugs)


def test_without_bugs_nothing_is_expected() -> None:
    """The fixed system is silent."""
    found = expected(frozenset())
    assert (frozenset(), frozenset()) == (found.must, found.may)


def test_expectations_of_several_bugs_are_the_union() -> None:
    """Each bug adds one finding of its own."""
    for size in range(1, len(BUGS) + 1):
        for chosen in combinations(BUGS, size):
            together = expected(frozenset(chosen))
            alone = [expected(frozenset({bug})) for bug in chosen]
            assert together.must == frozenset().union(*(one.must for one in alone))
            assert len(together.must) == size
            assert not together.must & together.may


@pytest.mark.parametrize(("inject", "goes_on"), [(propagate.inject, True), (by_hand, False)])
def test_a_traceparent_without_its_version_begins_a_new_trace(
    inject: Callable[[dict[str, str]], None], *, goes_on: bool
) -> None:
    """The bug is in the header alone: what the next hop reads out of it."""
    headers: dict[str, str] = {}
    with TracerProvider().get_tracer("test").start_as_current_span("hop") as span:
        inject(headers)
    read = trace.get_current_span(propagate.extract(headers)).get_span_context()
    assert (read.trace_id == span.get_span_context().trace_id) is goes_on
    assert read.is_valid is goes_on


# Payments


@dataclass
class Refusing:
    """A callback that refuses each try at once, and keeps what was said and when."""

    tries: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    async def post(self, _path: str, **said: Any) -> None:
        self.tries.append((time.monotonic(), said))
        raise CallFailedError("answered 503")


def tried(*, blind: bool) -> tuple[list[float], list[dict[str, Any]]]:
    """Return the pauses between the tries of a payment that is refused, and what each said."""
    callback = Refusing()
    payments = Payments(cast("Caller", callback), logging.getLogger("test"), blind=blind)
    assert not asyncio.run(payments.book("pay-1"))
    at = [when for when, _ in callback.tries]
    return [after - before for before, after in pairwise(at)], [said for _, said in callback.tries]


def test_retries_have_growing_pauses_and_one_deadline() -> None:
    """The fix: three of them at most, under one ID, each with less time left than before."""
    pauses, said = tried(blind=False)
    assert all(pause > least for pause, least in zip(pauses, (0.039, 0.129, 0.249), strict=True))
    assert len({one["request_id"] for one in said}) == 1
    left_ms = [int(one["headers"][DEADLINE_MS]) for one in said]
    assert left_ms == sorted(left_ms, reverse=True)
    assert left_ms[0] <= WHOLE_S * 1000


def test_a_blind_retry_says_no_deadline() -> None:
    """The bug: four tries, and nobody knows how long they are of use."""
    pauses, said = tried(blind=True)
    assert len(pauses) == 3
    assert not any(one["headers"] for one in said)


@pytest.mark.parametrize(("idempotent", "booked"), [(True, 1), (False, 2)])
def test_a_retry_is_booked_once_if_its_id_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, booked: int, *, idempotent: bool
) -> None:
    """Two requests of one ID, the first of which was given up."""
    monkeypatch.setattr(ledger, "BOOKING_S", 0.01)

    async def scenario() -> None:
        book = ledger.Ledger(tmp_path, logging.getLogger("test"), idempotent=idempotent)
        first = asyncio.ensure_future(book.book("pay-1", "r-1", None))
        await asyncio.sleep(0)
        first.cancel()
        assert await book.book("pay-1", "r-1", None)

    asyncio.run(scenario())
    assert len((tmp_path / PAYMENTS).read_text().splitlines()) == booked


def test_what_nobody_waits_for_is_not_booked(tmp_path: Path) -> None:
    """A payment whose deadline has passed leaves the line."""

    async def scenario() -> None:
        book = ledger.Ledger(tmp_path, logging.getLogger("test"), idempotent=True)
        assert not await book.book("pay-1", "r-1", time.monotonic() - 1)

    asyncio.run(scenario())
    assert not (tmp_path / PAYMENTS).exists()


# The whole lab


_SAID = {
    "enqueued",
    "dispatched",
    "started",
    "finished",
    "recorded",
    "heartbeat",
    "queue.sampled",
    "instance.stopped",
}
"""What is said in every run, whatever the bugs."""

_SILENT = re.compile(
    r"^group \d+ is full$|^task \S+ is another node's$|^order comes in$|^caller for \S+ hung up$"
    r"|^payment of \S+ (not booked: |booked$|dropped)"
)
"""Messages that need no rule."""

_TOLD = re.compile(r"^ *\d+ s  duplicate_run +(.*)$", re.MULTILINE)
"""A finding's sentence, as it is printed when it is found."""


@pytest.mark.slow
@pytest.mark.parametrize("bugs", ["none", "all"])
def test_the_lab_s_findings_are_those_of_the_incident(tmp_path: Path, bugs: str) -> None:
    """Exactly what the incident had is found, for the damage was done; without bugs, neither."""
    printed = io.StringIO()
    console = Console(file=printed, width=160)
    status = run_lab(Session(lab="bar", bugs=bugs, keep=tmp_path, console=console))
    assert status == 0, printed.getvalue()

    truth = LAB.truth(tmp_path / "logs", tmp_path / "work")
    assert truth["slowest_record_s"] < 10
    damage = {
        name: truth[name]
        for name in ("run_by_several", "before_needed", "booked_several_times", "traces_cut")
    }
    if bugs == "none":
        assert set(damage.values()) == {0}
        assert truth["sales"] == LAB.seconds // SALE_EVERY_S
    else:
        assert min(damage.values()) >= 1
        assert truth["oldest_s"] > WHOLE_S
        # each duplicate names both nodes
        told = _TOLD.findall(printed.getvalue())
        assert {len(set(re.findall(r"node-\d", one))) for one in told} == {2}

    said = heard(LAB, lines(tmp_path / "logs"), _SILENT)
    assert {rule["phase"] for rule in said} >= _SAID
