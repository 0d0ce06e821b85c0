"""What really happened, from the logs and the ledger together: for tests, not for watchers."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from labs._figures import shown
from labs._logs import lines
from labs.bar.options import PAYMENTS, PROGRESS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_RUN: Final = re.compile(r"^run of (\S+) (begins|ends)")
_RECORDED: Final = re.compile(r"^task (\S+) Running -> (\w+)$")
_QUEUE: Final = re.compile(r"^queue \S+: (\d+) waiting, oldest ([\d.]+) s")


def progress(work: Path) -> str:
    """Return how far the lab in *work* is, in one line; empty before it has begun."""
    figures = shown(work / PROGRESS)
    if not figures:
        return ""
    return (
        f"{figures['gone_s']:5.1f} s  {figures['taken']} orders, {figures['confirmed']} confirmed,"
        f" {figures['waiting']} waiting, the oldest for {figures['oldest_s']:.1f} s"
    )


def truth(logs: Path, work: Path) -> dict[str, float | int]:
    """Return what became of orders, tasks and payments. All processes must have ended.

    `in_vain` are payments that no try was told of as booked, `traces_cut` requests that the
    gateway and the shop have under two trace IDs; `oldest_s` is the longest time, in seconds, that
    an order was seen to wait, `slowest_record_s` that from a run's end to its being recorded.
    """
    begins: defaultdict[str, list[float]] = defaultdict(list)
    ends: defaultdict[str, list[float]] = defaultdict(list)
    nodes: defaultdict[str, set[str]] = defaultdict(set)
    traces: defaultdict[str, set[str]] = defaultdict(set)
    delays_s = []
    failed, queued, confirmed, most, oldest_s = 0, 0, 0, 0, 0.0
    for line in lines(logs):
        words = line["message"]
        if found := _RUN.search(words):
            (begins if found[2] == "begins" else ends)[found[1]].append(_seconds(line["ts"]))
            nodes[found[1]].add(line["instance"])
        elif found := _RECORDED.search(words):
            # lines of one file are in order: the last end is that of this node's run
            delays_s.append(_seconds(line["ts"]) - ends[found[1]][-1])
            failed += found[1].startswith("pay-") and found[2] == "Failed"
        elif found := _QUEUE.search(words):
            most, oldest_s = max(most, int(found[1])), max(oldest_s, float(found[2]))
        queued += words.startswith("order o-")
        confirmed += words.startswith("confirmed o-")
        if words == "order comes in" or words.startswith("order o-"):
            traces[line["request_id"]].add(line["trace_id"])
    booked = Counter(payment["task"] for payment in _payments(work))
    return {
        "orders": queued,
        "confirmed": confirmed,
        "most_waiting": most,
        "oldest_s": oldest_s,
        "sales": sum(task.startswith("sale-") for task in begins),
        "payments": sum(task.startswith("pay-") for task in begins),
        "run_by_several": sum(len(who) > 1 for who in nodes.values()),
        "before_needed": sum(_too_early(task, begins, ends) for task in begins),
        "slowest_record_s": round(max(delays_s, default=0.0), 3),
        "in_vain": failed,
        "booked_several_times": sum(times > 1 for times in booked.values()),
        "traces_cut": sum(len(ids) > 1 for ids in traces.values()),
    }


def _too_early(task: str, begins: dict[str, list[float]], ends: dict[str, list[float]]) -> bool:
    """Say whether *task* is a payment that began before its stock was checked."""
    kind, _, group = task.partition("-")
    checked = ends.get(f"inv-{group}")
    return kind == "pay" and (not checked or min(begins[task]) < max(checked))


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def _payments(work: Path) -> Iterator[dict[str, Any]]:
    if (work / PAYMENTS).exists():
        yield from map(json.loads, (work / PAYMENTS).read_text().splitlines())
