"""What all programs of the lab are told on their command lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from labs import _options

if TYPE_CHECKING:
    import argparse

BUGS: Final = {
    "no_lock": (
        "Each node goes by its own timer and its own map of states, without a lease: all of them"
        " fire the same task."
    ),
    "ignore_dependencies": (
        "A node starts a dependent when its timer says so, whether or not what it depends on has"
        " ended: payment begins while the stock is still being checked."
    ),
    "blind_retry": (
        "A payment that timed out is sent again at once, three times, to a callback that is slow"
        " and books each of them."
    ),
    "slow_consumer": (
        "Workers wait for the mail of each order to be sent before they take the next: more comes"
        " in than they confirm, and the Redis queue backs up."
    ),
    "bad_traceparent": (
        "The gateway builds the header traceparent by hand, without its version field: the next"
        " hop starts a new trace."
    ),
}

FIXES: Final = {
    "no_lock": "The first to set the task's lease owns it, and renews it while the task runs.",
    "ignore_dependencies": "A dependent waits until what it depends on has ended well.",
    "blind_retry": (
        "Tries are apart, by 40 ms and more each time, none outlives the request's deadline, and"
        " the callback books each X-Request-ID once."
    ),
    "slow_consumer": "Mails are sent beside the work.",
    "bad_traceparent": "The header is written by the propagator of the SDK.",
}

PROGRESS: Final = "progress.json"
PAYMENTS: Final = "payments.jsonl"
"""Files in the lab's folder: what a person wants to see, and each payment that was booked."""


@dataclass(frozen=True, slots=True)
class Options(_options.Options):
    """Those of every lab, and the port of Redis on loopback."""

    redis: int


def parser(program: str, description: str) -> argparse.ArgumentParser:
    """Return a parser of `Options`; more can be added."""
    found = _options.parser(program, description, BUGS)
    found.add_argument("--redis", type=int, required=True, help="port of Redis on loopback")
    return found
