"""When a job is due: by a period, or by cron in a time zone. Nothing here knows what time it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from model.units import DAY_US, HOUR_US, us

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME_MAX: Final = 200
"""Characters in the name of a job, or in the ID of a run."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LOOK_BACK: Final = (HOUR_US, DAY_US, 40 * DAY_US, 400 * DAY_US)
_FIELDS: Final = 5
_WORDS: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


def usable(name: str) -> bool:
    """Say whether *name* can be that of a job, or the ID of a run."""
    return 0 < len(name) <= NAME_MAX and name.isprintable() and name == name.strip()


@dataclass(frozen=True, slots=True)
class Schedule:
    """What is declared of a job: `every_s` after each sign of it, or by `cron` in `time_zone`.

    Due times are microseconds since 1970 UTC. Cron's are those of Debian's cron: what falls into
    an hour that is left out comes right after it, what falls into one that comes twice comes once
    (with `*` in its minute or hour: as often as the clock shows it). A period is counted from an
    *anchor*, when the job was last heard of; without one nothing is due.
    """

    name: str
    every_s: float | None = None
    cron: str | None = None
    time_zone: str = "UTC"
    start_grace_s: float | None = None
    run_grace_s: float | None = None
    paused: bool = False
    service: str | None = None
    queue: str | None = None

    def next_after(self, at_us: int, anchor_us: int | None) -> int | None:
        """Return the first due time after *at_us*; None where there is none."""
        if self.cron is not None:
            return next(self._by_cron(at_us), None)
        if anchor_us is None:
            return None
        period = us(self.every_s or 0)
        return anchor_us + max(1, (at_us - anchor_us) // period + 1) * period

    def latest(self, after_us: int, until_us: int, anchor_us: int | None) -> int | None:
        """Return the last due time after *after_us* and not after *until_us*, if there is one."""
        if self.cron is None:
            if anchor_us is None:
                return None
            due = self.next_after(until_us - us(self.every_s or 0), anchor_us)
            return due if due is not None and after_us < due <= until_us else None
        for back_us in (*_LOOK_BACK, until_us - after_us):
            begin, last = max(after_us, until_us - back_us), None
            for due in self._by_cron(begin):
                if due > until_us:
                    break
                last = due
            if last is not None or begin == after_us:
                return last
        return None

    def has(self, due_us: int, anchor_us: int | None) -> bool:
        """Say whether *due_us* is one of its due times."""
        return self.next_after(due_us - 1, anchor_us) == due_us

    def _by_cron(self, at_us: int) -> Iterator[int]:
        begin = (_EPOCH + timedelta(microseconds=at_us)).astimezone(ZoneInfo(self.time_zone))
        try:
            for due in CronSim(_plain(self.cron or ""), begin):
                due_us = (due.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)
                if due_us > at_us:  # within an hour that comes twice it begins with the first one
                    yield due_us
        except CronSimError:  # from some year on there is none
            return


def refusal_of_cron(text: str) -> str | None:
    """Return what is wrong with a cron expression, None if nothing is."""
    fields = _plain(text).split()
    if len(fields) != _FIELDS:
        words = ", ".join(_WORDS)
        return f"it must have five fields (minute hour day month weekday), or be one of {words}"
    try:
        next(CronSim(" ".join(fields), _EPOCH))
    except (CronSimError, StopIteration) as error:
        return f"cron does not understand it: {error or 'there is no such day'}"
    return None


def _plain(text: str) -> str:
    return _WORDS.get(text.strip().lower(), text)
