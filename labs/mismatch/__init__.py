"""Running becomes failed although the task exited 0: five cases, and what brings them about."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from labs._kit import Command, Expected, Lab
from labs.mismatch.options import BUGS, FIXES
from labs.mismatch.truth import progress, truth

_FAST_S: Final = 5.0
_HOSTS: Final = {"executor-1": "node-1", "executor-2": "node-2"}

_FOUND: Final = {
    "short_limits": frozenset({"timeout_lattice", "verdict_mismatch"}),
    "no_heartbeat": frozenset({"timeout_lattice", "verdict_mismatch"}),
    "callback_drops": frozenset({"lost_report"}),
    "late_logs": frozenset({"collection_lag"}),
    "clock_skew": frozenset({"clock_skew"}),
}
_POSSIBLE: Final = {
    # What is not called back runs into its limit in the end, however wide that is.
    "callback_drops": frozenset({"verdict_mismatch"}),
}


def expected(bugs: frozenset[str]) -> Expected:
    """Return what must, and what may, be found with *bugs* in; nothing at all with none."""
    must: frozenset[str] = frozenset().union(*(_FOUND[bug] for bug in bugs))
    may: frozenset[str] = frozenset().union(*(_POSSIBLE.get(bug, frozenset()) for bug in bugs))
    return Expected(must, may - must)


def processes(
    otlp_url: str, logs: Path, work: Path, bugs: frozenset[str], seconds: float
) -> list[Command]:
    """Return the scheduler, the firewall before it, the executors, and the shipper of their logs.

    Each executor is on a machine of its own, with its own clock.
    """
    common = (
        *("--otlp", otlp_url, "--logs", str(logs), "--work", str(work)),
        *("--bugs", ",".join(sorted(bugs)), "--seconds", str(seconds)),
    )
    python = (sys.executable, "-m")
    fast = {"executor-2": _FAST_S if "clock_skew" in bugs else 0.0}
    return [
        Command("shipper", (*python, "labs.mismatch.shipper", *common)),
        Command("scheduler", (*python, "labs.mismatch.scheduler", *common)),
        Command("gateway", (*python, "labs.mismatch.gateway", "--to", "{scheduler.url}", *common)),
        *(
            Command(
                name,
                (
                    *(*python, "labs.mismatch.machine", host, str(fast.get(name, 0.0))),
                    *("labs.mismatch.executor", "--name", name),
                    *("--scheduler", "{gateway.url}", *common),
                ),
            )
            for name, host in _HOSTS.items()
        ),
    ]


LAB: Final = Lab(
    name="mismatch",
    title="Failed, with exit code 0",
    summary=(
        "A scheduler hands five jobs to two executors, first without limits, then with those that"
        " somebody chose for them. All processes that they start return 0."
    ),
    bugs=BUGS,
    preset=Path(__file__).with_name("preset.yaml"),
    seconds=67.0,
    tail_s=12.0,
    expected=expected,
    processes=processes,
    progress=progress,
    truth=truth,
    story=(
        "Seen with XXL-JOB, Elastic-Job and Airflow: a task's process returned 0, and the scheduler"
        " says that it failed. Five such cases were published, from data cleaning that ran for 180"
        " s under a time-out of 120 s to a report batch that never sent a heartbeat. The causes:"
        " limits shorter than the run, no heartbeat, a callback lost on its way, a state inferred"
        " from logs that come late, and clocks that are apart."
    ),
    fixes=FIXES,
)
