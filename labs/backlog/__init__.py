"""An offline queue that piles up: five fixed workers, and nobody who holds the input back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from labs._kit import Command, Expected, Heeding, Lab
from labs._redis import redis
from labs.backlog.options import BUGS, FIXES, KEEPER, ORDERS, RETURNS, SHOP
from labs.backlog.truth import progress, truth

_SHOPS: Final = ("shop-1", "shop-2")
_WORKERS: Final = {
    "worker-1": ORDERS,
    "worker-2": ORDERS,
    "worker-3": ORDERS,
    "worker-4": ORDERS,
    "worker-5": RETURNS,
}

_FOUND: Final = {
    "burst": frozenset({"backlog_spike"}),
    "slow_dependency": frozenset({"backlog_spike"}),
    # What waits for the consumer gets too old as well.
    "stuck_consumer": frozenset({"stuck_in_queue", "backlog_spike"}),
    "poison_message": frozenset({"dead_letters"}),
}
_WITH_ANY: Final = frozenset({"overdue_task", "retry_storm"})

# The shops take in no orders while too much waits, and the workers catch up. The detector looks
# each half minute: a lower limit, so that it is sure at its second look even after a slow start.
_HEEDED: Final = {
    "detectors": {"backlog_spike": {"age_limit_s": 3}},
    "degrade": {
        "look_every_s": 1,
        "flags": {"pause_dispatch": "L1"},
        "policies": [
            {
                "service": SHOP,
                "dry_run": False,
                "rungs": [{"level": "L1", "findings": ["backlog_spike"], "of": [KEEPER]}],
                "step_s": 2,
                "dwell_s": 2,
                "hold_off_s": 10,
                "lease_s": 10,
            }
        ],
    },
}


def expected(bugs: frozenset[str]) -> Expected:
    """Return what must, and what may, be found with *bugs* in; nothing at all with none."""
    must: frozenset[str] = frozenset().union(*(_FOUND[bug] for bug in bugs))
    return Expected(must, _WITH_ANY if bugs else frozenset())


def processes(
    otlp_url: str, logs: Path, work: Path, bugs: frozenset[str], seconds: float
) -> list[Command]:
    """Return the broker, the catalog, five workers, the keeper of the queues, and two shops.

    Raises:
        LabProcessError: there is no Redis on this machine.
    """
    common = (
        *("--otlp", otlp_url, "--logs", str(logs), "--work", str(work)),
        *("--bugs", ",".join(sorted(bugs)), "--seconds", str(seconds)),
    )
    python = (sys.executable, "-m")
    broker = ("--broker", "redis://127.0.0.1:{broker.port}")
    catalog = ("--catalog", "{catalog.url}")
    return [
        redis("broker", work),
        Command("catalog", (*python, "labs.backlog.catalog", *common)),
        *(
            Command(
                name,
                (
                    *(*python, "labs.backlog.worker", "--name", name, "--queue", queue),
                    *(*broker, *catalog, *common),
                ),
            )
            for name, queue in _WORKERS.items()
        ),
        Command("keeper", (*python, "labs.backlog.keeper", *broker, *common)),
        *(
            Command(name, (*python, "labs.backlog.shop", "--name", name, *broker, *common))
            for name in _SHOPS
        ),
    ]


LAB: Final = Lab(
    name="backlog",
    title="The queue that piles up",
    summary=(
        "Two shops put orders and returns into Redis; four workers pack the orders, one takes the"
        " returns back, and all of them ask a catalog about each article."
    ),
    bugs=BUGS,
    preset=Path(__file__).with_name("preset.yaml"),
    seconds=70.0,
    tail_s=6.0,
    expected=expected,
    processes=processes,
    progress=progress,
    truth=truth,
    story=(
        "Five fixed workers serve an offline queue, and nobody holds the input back: when it"
        " outruns them the buffer fills, and processor, memory and connection pools go one after"
        " another. What mended it: priorities, a breaker before what is slow, two or three tries"
        " with growing pauses, and a dead-letter queue that keeps a message's ID and the reason."
        " The first question each time was which of those in the chain had become slow."
    ),
    fixes=FIXES,
    # A minute until it is found, one until the orders are packed, half of one until that is seen.
    heeds=Heeding(_HEEDED, seconds=150.0),
)
