"""The scheduler's tasks: sales that end by the timetable, and what follows when a group is full."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CLOSE_SALE: Final = "CloseSaleTask"
CHECK_INVENTORY: Final = "InventoryCheckTask"
PAY: Final = "PayTask"

SALE_EVERY_S: Final = 5.0
CLOSING_S: Final = 3.0
CHECKING_S: Final = 1.6
"""How long closing a sale, and checking the stock for a group, take."""


@dataclass(frozen=True, slots=True)
class Task:
    """One task: *due* in seconds since 1970, not to run before *depends_on* has succeeded."""

    id: str
    kind: str
    due: float
    depends_on: str | None = None


def timetable(opened: float, seconds: float) -> list[Task]:
    """Return the sales that end within *seconds* after the shop *opened*: every node knows them."""
    sales = range(1, int(seconds / SALE_EVERY_S) + 1)
    return [Task(f"sale-{n}", CLOSE_SALE, opened + n * SALE_EVERY_S) for n in sales]


def of_group(group: str, now: float) -> list[Task]:
    """Return what is to be done when *group* is full: its stock is checked, then it pays."""
    check = Task(f"inv-{group}", CHECK_INVENTORY, now)
    return [check, Task(f"pay-{group}", PAY, now, depends_on=check.id)]
