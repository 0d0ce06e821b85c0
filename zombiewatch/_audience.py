"""Settings of who is told of which findings, and when."""

import re
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from alerts.audience import Which, Window
from zombiewatch._nearest import refuse
from zombiewatch._values import Label, Name, Section, Zone

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


def _time_of_day(text: str) -> str:
    if not _CLOCK.fullmatch(text):
        raise refuse("it must be a time of day like 06:30, in quotes")
    return text


def _minutes(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)


class Selected(Section):
    """Findings that are chosen by patterns of `*`, `?` and `[…]`."""

    detector: Name = Field("*", description="Which detectors.")
    service: Name = Field("*", description="Which services.")
    queue: Name = Field("*", description="Which queues.")
    task_name: Name = Field("*", description="Which task names.")

    def which(self) -> Which:
        """Return the choice."""
        return Which(self.detector, self.service, self.queue, self.task_name)


class Owns(Selected):
    """Whose findings some are: the first entry that fits counts."""

    team: Label = Field(description="The team: the label of its metrics and alerts.")


class Quiet(Selected):
    """A time of day in which findings are judged and shown, but tell nobody."""

    begins: Annotated[str, AfterValidator(_time_of_day)] = Field(description="From when: 22:00.")
    ends: Annotated[str, AfterValidator(_time_of_day)] = Field(
        description="Until when: 06:00. No later than it begins: on the next day."
    )
    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] = Field(
        ("mon", "tue", "wed", "thu", "fri", "sat", "sun"),
        min_length=1,
        description="The days on which it begins.",
    )
    time_zone: Zone = Field("UTC", description="Whose clock it goes by: Europe/Berlin.")
    reason: Name = Field("a quiet window", description="What people read who ask why it is quiet.")

    def window(self) -> Window:
        """Return the window."""
        return Window(
            self.which(),
            _minutes(self.begins),
            _minutes(self.ends),
            frozenset(_DAYS.index(day) for day in self.days),
            ZoneInfo(self.time_zone),
            self.reason,
        )
