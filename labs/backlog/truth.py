"""What really happened, from what those who were there wrote down: for tests, not for watchers."""

from __future__ import annotations

import re
from datetime import datetime
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from labs._figures import shown
from labs._logs import lines
from labs.backlog.options import ORDERS, PROGRESS, RETURNS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MOVES: Final = re.compile(r"^message (\S+) (?:attempt \d+ )?(put into|taken from) (\w+): ")
_COUNTED: Final = {
    "put": "put into ",
    "refused": "order refused: ",
    "paused": "order refused: dispatch is paused",
    "done": " done in ",
    "failed_tries": " failed in ",
    "dead_letters": " put among the dead letters: ",
    "slow_look_ups": "look-up of ",
}


def progress(work: Path) -> str:
    """Return how much waits in the lab in *work*, in one line; empty before it has begun."""
    waiting = shown(work / PROGRESS)
    if not waiting:
        return ""
    return f"{waiting[ORDERS]} orders and {waiting[RETURNS]} returns wait"


def truth(logs: Path, work: Path) -> dict[str, float | int]:  # noqa: ARG001 - the kit's form
    """Return what became of the messages. All processes must have ended.

    `refused` is how many orders were, for whatever reason; `paused` those by order of a switch.

    `peak` is how many orders waited at most, `peak_at` when, and `emptied_at` the first moment
    after it at which none did (both in seconds since 1970; 0 for never); `drain_s` is the time
    between them (0 where they were never gone).
    """
    said = list(lines(logs))
    counts = {
        name: sum(words in line["message"] for line in said) for name, words in _COUNTED.items()
    }
    depths = waited(said, ORDERS)
    peak_at, peak = max(depths, key=lambda one: one[1], default=(0.0, 0))
    emptied_at = next((at for at, left in depths if at > peak_at and left <= 0), 0.0)
    returns = waited(said, RETURNS)
    return {
        **counts,
        "returns_left": returns[-1][1] if returns else 0,
        "peak": peak,
        "peak_at": peak_at,
        "emptied_at": emptied_at,
        "drain_s": round(max(0.0, emptied_at - peak_at), 3),
    }


def waited(said: Sequence[dict[str, Any]], queue: str) -> list[tuple[float, int]]:
    """Return how many messages of *queue* waited from which moment (in s since 1970) on."""
    moves = sorted(
        (datetime.fromisoformat(line["ts"]).timestamp(), 1 if found[2] == "put into" else -1)
        for line in said
        if (found := _MOVES.search(line["message"])) and found[3] == queue
    )
    depths = accumulate(step for _, step in moves)
    return [(at, depth) for (at, _), depth in zip(moves, depths, strict=True)]
