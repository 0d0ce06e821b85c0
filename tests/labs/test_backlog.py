"""The backlog lab: what piles up is found, with the time it takes to drain, and who began it."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import logging
import re
import time
from datetime import datetime
from itertools import combinations
from typing import TYPE_CHECKING, Any, cast

import pytest
from rich.console import Console

from labs._heed import Dispatch
from labs._kit import Runner
from labs._logs import lines
from labs._redis import redis
from labs.backlog import LAB, broker, expected
from labs.backlog.broker import Broker, Message
from labs.backlog.options import ORDERS, RETURNS, SHOP
from labs.backlog.shop import Shop
from labs.backlog.truth import waited
from tests.labs._boards import Boards
from tests.labs._recorded import RECORDED
from tests.labs._words import heard
from tests.needs import need
from zombiewatch.client import AskError, ask
from zombiewatch.session import Session, run_lab

if TYPE_CHECKING:
    from pathlib import Path

    from zombiewatch.child import Sidecar

BUGS = sorted(LAB.bugs)


# What is expected


def test_expectations_of_several_bugs_are_the_union() -> None:
    """Each bug adds its own findings; without any nothing is expected."""
    for size in range(len(BUGS) + 1):
        for chosen in combinations(BUGS, size):
            together = expected(frozenset(chosen))
            alone = [expected(frozenset({bug})) for bug in chosen]
            assert together.must == frozenset().union(*(one.must for one in alone))
            assert together.may == frozenset().union(*(one.may for one in alone))
            assert not together.must & together.may


def test_each_bug_must_be_found() -> None:
    """No switch is without its finding."""
    assert all(expected(frozenset({bug})).must for bug in BUGS)


# What the shops do


class Queues:
    """Queues that keep what is put into them."""

    def __init__(self) -> None:
        self.kept: list[str] = []

    async def put(self, message: Message) -> None:
        self.kept.append(message.kind)


def test_a_shop_whose_dispatch_is_paused_takes_in_no_orders() -> None:
    """What customers send back is taken all the same; and orders again when the pause is over."""

    async def traded() -> list[str]:
        queues, dispatch = Queues(), Dispatch(paused=True)
        into, log = cast("Broker", queues), logging.getLogger("test.shop")
        bugs: frozenset[str] = frozenset()
        shop = Shop("shop-1", into, log, asyncio.Event(), bugs, 1.0, dispatch=dispatch)
        await shop._order("1")
        await shop._send("take_back", RETURNS, "1")
        dispatch.paused = False
        await shop._order("1")
        return queues.kept

    assert asyncio.run(traded()) == ["take_back", "pack_order"]


# What the queues keep


def test_what_is_in_hand_for_too_long_is_handed_out_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever took it: it is anyone's again, once; what is done stays done."""
    need("redis-server", "apt-get install redis-server")

    async def taken(port: int) -> list[list[Message]]:
        queues = Broker(f"redis://127.0.0.1:{port}")
        await queues.prepare(ORDERS)
        for number in ("1", "2"):
            await queues.put(Message(number, "pack_order", ORDERS))
        kept, done = [await queues.take(ORDERS, "worker-1", 1) for _ in range(2)]
        assert kept
        assert done
        await queues.done(done)
        seen = [await queues.take_back(ORDERS)]
        monkeypatch.setattr(broker, "KEPT_S", 0.001)
        while not seen[-1]:
            seen.append(await queues.take_back(ORDERS))
        seen.append(await queues.take_back(ORDERS))
        await queues.close()
        return [one for one in seen if one]

    command = redis("redis", tmp_path)
    with Runner([command], tmp_path):
        [[again]] = asyncio.run(taken(command.port or 0))
    assert again == Message("1", "pack_order", ORDERS)


# What the processes say


_SILENT = re.compile("^(order refused: |look-up of |report of the month )")
"""Messages that need no rule."""

_CALM = {"enqueued", "queue.sampled", "started", "finished", "heartbeat", "instance.stopped"}
"""What is said in every run, whatever the bugs."""


def phases_of(logs: Path) -> set[str]:
    """Return the phases of all lines; each line has one, or is known to need none."""
    return {rule["phase"] for rule in heard(LAB, lines(logs), _SILENT)}


# The whole lab, beside a sidecar


class Watch:
    """What the sidecar told of the backlog, second by second, as (when, finding)."""

    def __init__(self) -> None:
        self.told: list[tuple[float, dict[str, Any]]] = []
        self.suspects: dict[str, list[str]] = {}
        self.switched: list[tuple[str, str]] = []

    def look(self, _gone: float, sidecar: Sidecar) -> None:
        moved = [(one["service"], one["level"]) for one in sidecar.switched()]
        self.switched = moved or self.switched  # none is also said where nobody answers
        for one in sidecar.findings()["findings"]:
            if one["detector"] != "backlog_spike":
                continue
            known = [before["evidence"] for _, before in self.told]
            if one["evidence"] not in known:
                self.told.append((time.time(), one))
            if one["verdict"] == "confirmed":
                self._ask_for_suspects(one, sidecar)

    def _ask_for_suspects(self, one: dict[str, Any], sidecar: Sidecar) -> None:
        try:
            incident = ask(sidecar.urls["http"], f"/api/v1/incidents/{one['id']}")
        except AskError:
            return  # it ended just now
        self.suspects[one["subject"]] = [each["name"] for each in incident["suspects"]]

    def of(self, queue: str) -> list[tuple[float, dict[str, Any]]]:
        return [(at, one["evidence"]) for at, one in self.told if one["subject"] == queue]


def ran(
    bugs: str, kept: Path, *, heed: bool = False, boards: Boards | None = None
) -> tuple[Watch, dict[str, float | int]]:
    """Run the lab with *bugs* beside a sidecar; return what was told meanwhile, and the truth."""
    watch, console = Watch(), Console(file=io.StringIO(), width=160)

    def look(gone: float, sidecar: Sidecar) -> None:
        watch.look(gone, sidecar)
        if boards:
            boards.look(gone, sidecar)

    session = Session(
        lab=LAB.name, bugs=bugs, keep=kept, console=console, each_second=look, heed=heed
    )
    status = run_lab(session)
    assert isinstance(console.file, io.StringIO)
    assert status == 0, console.file.getvalue()
    return watch, LAB.truth(kept / "logs", kept / "work")


@pytest.mark.slow
def test_without_bugs_the_queue_holds_what_the_workers_can_bear(tmp_path: Path) -> None:
    """The rush is there as well, and most of it is told to come back later; nothing is found."""
    watch, truth = ran("none", tmp_path)
    assert not watch.told
    assert phases_of(tmp_path / "logs") >= _CALM
    assert truth["refused"] > 100
    assert (truth["failed_tries"], truth["dead_letters"], truth["slow_look_ups"]) == (0, 0, 0)
    assert truth["done"] > 100
    assert truth["peak"] < 30


@pytest.mark.slow
def test_the_time_to_drain_that_is_told_is_what_it_then_takes(tmp_path: Path) -> None:
    """Within 20%, at each moment at which a time was told."""
    watch, truth = ran("burst", tmp_path)
    emptied_at = truth["emptied_at"]
    assert truth["peak"] > 150
    assert emptied_at > truth["peak_at"]
    told = [(at, one) for at, one in watch.of(ORDERS) if one["drain_s"] is not None]
    assert told
    for at, evidence in told:
        looked_at = sampled_at(tmp_path / "logs", int(evidence["depth"]), at)
        assert evidence["drain_s"] == pytest.approx(emptied_at - looked_at, rel=0.2), evidence


def sampled_at(logs: Path, depth: int, told_at: float) -> float:
    """Return when, last before *told_at*, that many orders were seen to wait."""
    return max(
        at
        for line in lines(logs)
        if line["message"].startswith(f"queue {ORDERS}: {depth} waiting,")
        and (at := datetime.fromisoformat(line["ts"]).timestamp()) < told_at
    )


@pytest.mark.slow
def test_with_all_bugs_each_has_its_finding_and_the_slow_one_is_suspected(tmp_path: Path) -> None:
    """Nothing drains, by what is told and in fact; the catalog stands first among the suspects."""
    watch, truth = ran("all", tmp_path)
    assert truth["emptied_at"] == 0
    assert truth["slow_look_ups"] > 10
    assert truth["dead_letters"] >= 1
    assert truth["returns_left"] > 3
    for queue in (ORDERS, RETURNS):
        assert ("never", None) in [(one["drains"], one["drain_s"]) for _, one in watch.of(queue)]
    assert watch.suspects[ORDERS][0] == "catalog"
    assert phases_of(tmp_path / "logs") == _CALM | {"dead_lettered"}


# Beside shops that heed degrade switches


def test_where_nothing_is_heeded_the_slow_catalog_lets_the_backlog_grow() -> None:
    """As recorded: from the report on the queue is never empty, and ends near its longest."""
    with gzip.open(RECORDED / LAB.name / "slow_dependency.jsonl.gz", "rt") as file:
        said = [json.loads(line) for line in file]
    reported = next(one["ts_us"] for one in said if "report of the month" in one.get("body", ""))
    waiting = [
        one["depth"]
        for one in said
        if one.get("phase") == "queue.sampled" and one["queue"] == ORDERS
        if one["ts_us"] > reported + 10e6
    ]
    assert min(waiting) > 0
    assert waiting[-1] > 0.8 * max(waiting) > 30


@pytest.mark.slow
def test_shops_that_heed_the_switch_let_the_backlog_drain(tmp_path: Path) -> None:
    """The catalog is as slow as before; a policy pauses them until all that waits is packed."""
    with Boards(tmp_path / "boards") as boards:
        watch, truth = ran("slow_dependency", tmp_path, heed=True, boards=boards)
    boards.all_is_shown(LAB.name)
    assert watch.switched[:2] == [(SHOP, "L1"), (SHOP, "L0")]
    assert truth["paused"] > 10
    assert truth["slow_look_ups"] > 10
    reported_at = said_at(tmp_path / "logs", "report of the month ")
    paused_at = said_at(tmp_path / "logs", "order refused: dispatch is paused")
    # How high it gets once they trade again is another story: it ends with the lab.
    depths = waited(list(lines(tmp_path / "logs")), ORDERS)
    packed_at = next(at for at, depth in depths if at > paused_at and depth <= 0)
    peak, peak_at = max((depth, at) for at, depth in depths if at < packed_at)
    assert peak > 20
    assert peak_at > reported_at
    # Who was asked to pause between two questions has put one more in.
    assert peak_at == pytest.approx(paused_at, abs=5)


def said_at(logs: Path, words: str) -> float:
    """Return when a line that begins with *words* was first written."""
    return min(
        datetime.fromisoformat(line["ts"]).timestamp()
        for line in lines(logs)
        if line["message"].startswith(words)
    )
