"""Bar's group-buying, 72 hours before launch: a scheduler of one node that was scaled to four."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from labs._kit import Command, Expected, Lab
from labs._redis import redis
from labs.bar.options import BUGS, FIXES
from labs.bar.truth import progress, truth

_NODES: Final = ("node-1", "node-2", "node-3", "node-4")
_WORKERS: Final = ("worker-1", "worker-2")

_FOUND: Final = {
    "no_lock": "duplicate_run",
    "ignore_dependencies": "illegal_transition",
    "blind_retry": "retry_storm",
    "slow_consumer": "backlog_spike",
    "bad_traceparent": "broken_propagation",
}
_WITH_ANY: Final = frozenset({"verdict_mismatch", "stuck_in_queue", "timeout_lattice"})


def expected(bugs: frozenset[str]) -> Expected:
    """Return what must, and what may, be found with *bugs* in; nothing at all with none."""
    return Expected(
        frozenset(_FOUND[bug] for bug in bugs),
        _WITH_ANY if bugs else frozenset(),
        frozenset({"bar-shop"} if "blind_retry" in bugs else ()),
    )


def processes(
    otlp_url: str, logs: Path, work: Path, bugs: frozenset[str], seconds: float
) -> list[Command]:
    """Return Redis, the shop with its gateway, four nodes, two workers and those around them.

    Raises:
        LabProcessError: there is no Redis on this machine.
    """
    common = (
        *("--otlp", otlp_url, "--logs", str(logs), "--work", str(work)),
        *("--bugs", ",".join(sorted(bugs)), "--seconds", str(seconds), "--redis", "{redis.port}"),
    )

    def program(name: str, module: str, *more: str) -> Command:
        return Command(name, (sys.executable, "-m", f"labs.bar.{module}", *more, *common))

    where = ("--shop", "{shop.url}")
    return [
        redis("redis", work),
        program("shop", "shop"),
        program("exporter", "exporter"),
        *(program(name, "worker", "--name", name) for name in _WORKERS),
        program("gateway", "gateway", *where),
        *(program(name, "node", "--name", name, *where) for name in _NODES),
        program("shoppers", "shoppers", "--gateway", "{gateway.url}"),
    ]


LAB: Final = Lab(
    name="bar",
    title="Bar, 72 hours before launch",
    summary=(
        "Four scheduler nodes close sales by the timetable, and check the stock and take the"
        " payment of each group that is full; orders wait in a Redis queue to be confirmed."
    ),
    bugs=BUGS,
    preset=Path(__file__).with_name("preset.yaml"),
    seconds=45.0,
    tail_s=18.0,
    expected=expected,
    processes=processes,
    progress=progress,
    truth=truth,
    story=(
        "A scheduler of one process, with timers and a map of its own, was scaled to four nodes 72"
        " hours before a group-buying platform was to open. The same task fired on several nodes;"
        " payments ran before the stock that they depend on had been checked; a callback that was"
        " not idempotent got each time-out three times; a Redis queue backed up past 120,000; and"
        " a traceparent without its version field cut every trace at the gateway."
    ),
    fixes=FIXES,
)
