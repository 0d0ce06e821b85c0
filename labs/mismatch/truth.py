"""What really happened, from the logs of both sides: for tests, not for watchers."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Final

from labs._figures import shown
from labs._logs import lines
from labs.mismatch.options import PROGRESS

if TYPE_CHECKING:
    from pathlib import Path

_SAID: Final = re.compile(
    r"^(?:callback of )?run (\S+) of \S+ (handed|recorded as|ended with exit code|failed for good)"
    r"(?: (\w+))?"
)


def progress(work: Path) -> str:
    """Return how far the lab in *work* is, in one line; empty before it has begun."""
    figures = shown(work / PROGRESS)
    if not figures:
        return ""
    return (
        f"{figures['gone_s']:5.1f} s  {figures['running']} running,"
        f" {figures['success']} recorded as success, {figures['failed']} as failed"
    )


def truth(logs: Path, work: Path) -> dict[str, float | int]:  # noqa: ARG001 - the kit's form
    """Return what became of the runs. All processes must have ended.

    `first_failed_at` is when, in seconds since 1970 and by the scheduler's clock, a run was first
    recorded as failed; 0 for never.
    """
    said: dict[str, dict[str, str]] = {}
    failed_at = []
    for line in lines(logs):
        if found := _SAID.search(line["message"]):
            run, event, word = found.groups()
            said.setdefault(event, {})[run] = word or ""
            if event == "recorded as" and word != "success":
                failed_at.append(datetime.fromisoformat(line["ts"]).timestamp())
    ended = {run for run, code in said.get("ended with exit code", {}).items() if code == "0"}
    recorded = said.get("recorded as", {})
    failed = {run for run, state in recorded.items() if state != "success"}
    return {
        "runs": len(said.get("handed", {})),
        "ended_well": len(ended),
        "recorded_success": len(recorded) - len(failed),
        "recorded_failed": len(failed),
        "mismatched": len(ended & failed),
        "never_recorded": len(ended - recorded.keys()),
        "lost_callbacks": len(said.get("failed for good", {})),
        "first_failed_at": min(failed_at, default=0.0),
    }
