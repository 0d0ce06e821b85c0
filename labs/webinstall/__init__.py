"""Webinstall's 17 minutes: one misspelt word, and a service that dies of being turned away."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from labs._kit import Command, Expected, Lab
from labs.webinstall.options import BUGS, FIXES
from labs.webinstall.truth import progress, truth

_ARISES: Final[tuple[tuple[frozenset[str], frozenset[str]], ...]] = (
    # bugs that must all be in, what must be found then
    (frozenset({"header_typo"}), frozenset({"auth_failure", "rate_limited"})),
    # Who is never turned away has nothing to die of. Each new life is turned away at its first
    # job, if not by the refresh before it: that makes it die sooner, not more often.
    (frozenset({"header_typo", "fatal_rejection"}), frozenset({"crash_loop", "agent_down"})),
)


def expected(bugs: frozenset[str]) -> Expected:
    """Return what must be found with *bugs* in; nothing at all with none."""
    must: frozenset[str] = frozenset()
    for together, sure in _ARISES:
        if together <= bugs:
            must |= sure
    return Expected(must)


def processes(
    otlp_url: str, logs: Path, work: Path, bugs: frozenset[str], seconds: float
) -> list[Command]:
    """Return the upstream, the dispatcher, and the supervisor that runs the service."""
    common = (
        *("--otlp", otlp_url, "--logs", str(logs), "--work", str(work)),
        *("--bugs", ",".join(sorted(bugs)), "--seconds", str(seconds)),
    )
    python = (sys.executable, "-m")
    where = ("--dispatcher", "{dispatcher.url}", "--upstream", "{upstream.url}")
    return [
        Command("upstream", (*python, "labs.webinstall.upstream", *common)),
        Command("dispatcher", (*python, "labs.webinstall.dispatcher", *common)),
        Command("supervisor", (*python, "labs.webinstall.supervisor", *where, *common)),
    ]


LAB: Final = Lab(
    name="webinstall",
    title="Seventeen minutes",
    summary=(
        "A supervised service installs packages, and asks for each at an API that turns anonymous"
        " callers away after a few calls. After some installs a new release is deployed."
    ),
    bugs=BUGS,
    preset=Path(__file__).with_name("preset.yaml"),
    seconds=46.0,
    tail_s=24.0,
    expected=expected,
    processes=processes,
    progress=progress,
    truth=truth,
    story=(
        "A word in an Authorization header was misspelt. It was a word of its own, so nothing and"
        " nobody noticed; but each call was anonymous from then on, and anonymous callers are"
        " limited. Under real traffic the limit was reached, a rejected call that nobody handled"
        " ended the process, its next life asked the same API for packages before it did anything"
        " else, and died again. After a few quick failures the supervisor gave up. It took 17"
        " minutes until the service was back."
    ),
    fixes=FIXES,
)
