"""Bruin's zombie apocalypse: a control plane that commits what its caller has given up on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from labs._kit import Command, Expected, Lab
from labs.bruin.options import BUGS, FIXES
from labs.bruin.truth import progress, truth

_AGENTS: Final = ("agent-1", "agent-2", "agent-3")

_ARISES: Final[tuple[tuple[frozenset[str], frozenset[str], frozenset[str]], ...]] = (
    # bugs that must all be in, what must be found then, what may
    (
        frozenset({"wrong_context"}),
        frozenset({"gave_up_but_committed", "zombie_task"}),
        frozenset(),
    ),
    (
        frozenset({"swallow_errors"}),
        frozenset({"lost_report", "swallowed_error"}),
        frozenset(),
    ),
    (
        frozenset({"missing_index"}),
        frozenset({"slow_report"}),
        # Retries of one report end after 20 s, which are five tries: of 20 tasks, a storm.
        frozenset({"lost_report", "retry_storm"}),
    ),
)
_WITH_ANY: Final = frozenset({"timeout_lattice", "overdue_task"})


def expected(bugs: frozenset[str]) -> Expected:
    """Return what must, and what may, be found with *bugs* in; nothing at all with none."""
    must: frozenset[str] = frozenset()
    may: frozenset[str] = _WITH_ANY if bugs else frozenset()
    for together, sure, possible in _ARISES:
        if together <= bugs:
            must |= sure
            may |= possible
    return Expected(must, may - must)


def processes(
    otlp_url: str, logs: Path, work: Path, bugs: frozenset[str], seconds: float
) -> list[Command]:
    """Return the control plane and its three agents."""
    common = (
        *("--otlp", otlp_url, "--logs", str(logs), "--work", str(work)),
        *("--bugs", ",".join(sorted(bugs)), "--seconds", str(seconds)),
    )
    python = (sys.executable, "-m")
    dispatcher = Command("dispatcher", (*python, "labs.bruin.dispatcher", "--port", "0", *common))
    where = ("--dispatcher", "{dispatcher.url}")
    return [
        dispatcher,
        *(
            Command(name, (*python, "labs.bruin.agent", "--name", name, *where, *common))
            for name in _AGENTS
        ),
    ]


LAB: Final = Lab(
    name="bruin",
    title="The zombie apocalypse",
    summary=(
        "A control plane hands tasks to agents over HTTP, with one writer connection to its"
        " table that a billing job holds for 1.6 s every 5 s: longer than its callers wait."
    ),
    bugs=BUGS,
    preset=Path(__file__).with_name("preset.yaml"),
    seconds=40.0,
    tail_s=12.0,
    expected=expected,
    processes=processes,
    progress=progress,
    truth=truth,
    story=(
        "A data platform's control plane hands tasks to agents in its customers' networks. For"
        " weeks several an hour became zombies: believed to run, and never heard of again. Joined"
        " by request ID, the logs of both ends told two causes. Requests that the agent had given"
        " up on were committed by the server afterwards, for nobody; and results were reported in"
        " vain, for the report's look-up had no index in a table that grew, it timed out, and the"
        " agent ignored the error."
    ),
    fixes=FIXES,
)
