"""What really happened, from the upstream's count and the logs: for tests, not for watchers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from labs._figures import shown
from labs._logs import lines
from labs.webinstall.options import INSTANCE, PROGRESS, SUPERVISOR_LOG, UPSTREAM

if TYPE_CHECKING:
    from pathlib import Path

_DIED: Final = re.compile(r" exited: \S+ \((?!.*; expected\))")
_SPAWNED: Final = re.compile(r" spawned: ")
_GAVE_UP: Final = re.compile(r" entered FATAL state")


def progress(work: Path) -> str:
    """Return how far the lab in *work* is, in one line; empty before it has begun."""
    figures, calls = shown(work / PROGRESS), shown(work / UPSTREAM)
    if not figures or not calls:
        return ""
    return (
        f"{figures['queued']} jobs queued, {figures['recorded']} done, {figures['waiting']}"
        f" waiting; {calls['account_calls']} calls with a name, {calls['anonymous_calls']} without,"
        f" {calls['turned_away']} turned away"
    )


def truth(logs: Path, work: Path) -> dict[str, float | int]:
    """Return what became of the service and its jobs. All processes must have ended."""
    supervised = (logs / SUPERVISOR_LOG).read_text()
    figures = shown(work / PROGRESS)
    begun = sum(line["message"].endswith(" starts") for line in lines(logs, INSTANCE))
    return {
        "jobs": figures["queued"],
        "done": figures["recorded"],
        **shown(work / UPSTREAM),
        "lives": len(_SPAWNED.findall(supervised)),
        "lives_begun": begun,
        "deaths": len(_DIED.findall(supervised)),
        "given_up": len(_GAVE_UP.findall(supervised)),
    }
