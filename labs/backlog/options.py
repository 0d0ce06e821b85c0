"""What the programs of the lab are told on their command lines, and what they agree on."""

from __future__ import annotations

from typing import Final

BUGS: Final = {
    "burst": (
        "The shops take in whatever comes: when many want something at once, all of it goes into"
        " the queue, faster than the workers can take it out."
    ),
    "stuck_consumer": (
        "Whoever takes the returns does not give the slot back that a probe took: after two"
        " probes it takes nothing any more, and goes on saying that it is alive."
    ),
    "poison_message": (
        "The shops do not look at what they are given: an order whose quantity is no number fails"
        " with each try."
    ),
    "slow_dependency": (
        "A report in the catalog takes nine of the ten connections to the table and keeps them:"
        " look-ups wait in line for the last one."
    ),
}

FIXES: Final = {
    "burst": (
        "Each shop admits so many orders a second as the workers can bear, and tells the others to"
        " come back later."
    ),
    "stuck_consumer": "Whatever a slot took, it is given back: a probe as well.",
    "poison_message": "An order whose quantity is no number is refused at the shop's door.",
    "slow_dependency": "The report has a connection of its own, outside the pool.",
}

SHOP: Final = "shop"
KEEPER: Final = "queue-keeper"
"""Who hands work in, and who tells how much waits: the names of their services."""

ORDERS: Final = "orders"
RETURNS: Final = "returns"
PROGRESS: Final = "progress.json"
