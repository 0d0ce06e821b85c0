"""Says when each declared job is due, as `schedule.expected` signals, and pairs its pings.

What is said goes the way of all that comes in: it is on disk before it counts, and a start after a
kill goes on where it ended. A due time is said when it comes, not before: a finding can tell from
it that we were awake. Of those that passed while we were away only the last is said, late, which
proves nothing.
"""

from __future__ import annotations

import logging
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from collector.ingest import BusyError
from collector.store.journal import Entry, JournalFullError
from model.units import HOUR_US, MINUTE_US, SECOND_US, iso, us

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from concurrent.futures import Future

    import duckdb

    from collector.schedule import Schedule
    from model.clock import Clock

_LOG: Final = logging.getLogger("zombiewatch.schedules")

EARLY_US: Final = 30 * SECOND_US
"""A sign so long before a due time is one of it: the job's clock is not ours."""

_AWAY_US: Final = MINUTE_US
"""Who comes so late to a due time was away when it came."""

_OUTSTANDING: Final = 20
"""So many due times in a row are said of a job that gives no sign: more would tell nothing new."""

_AGAIN_US: Final = 6 * HOUR_US
"""So often what is declared is said again, so that a job that runs once a month stays known."""

_OPEN_MAX: Final = 10_000
"""So many runs without an ID are waited for."""

_OURS: Final = re.compile(r".+/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_WAIT_S: Final = 30.0


@dataclass(slots=True)
class Known:
    """What the relations hold of one schedule."""

    fired_us: int | None = None
    due_us: int | None = None
    paused: bool = False
    paused_us: int | None = None
    ours: bool = False
    outstanding: int = 0


def known(reader: duckdb.DuckDBPyConnection, namespace: str) -> dict[str, Known]:
    """Return what is known of each schedule of *namespace*."""
    rows = reader.execute(
        "SELECT s.schedule, s.fired_last_us, s.due_last_us, coalesce(s.paused, FALSE),"
        " s.paused_last_us, coalesce(s.declared_way = 'schedule', FALSE),"
        " (SELECT count(*) FROM open_dues d WHERE d.namespace = s.namespace"
        " AND d.schedule = s.schedule AND d.due_us > coalesce(s.fired_last_us, 0))"
        " FROM schedules s WHERE s.namespace = ?",
        [namespace],
    ).fetchall()
    return {name: Known(*said) for name, *said in rows}


def open_runs(reader: duckdb.DuckDBPyConnection, namespace: str) -> list[tuple[str, str]]:
    """Return the schedule and task of each run without an ID that has begun and not ended."""
    rows = reader.execute(
        "SELECT schedule, run FROM open_fires WHERE namespace = ? AND began_us IS NOT NULL"
        " AND ended_us IS NULL AND starts_with(run, schedule || '/') ORDER BY began_us",
        [namespace],
    ).fetchall()
    return [(name, run) for name, run in rows if _OURS.fullmatch(run)]


@dataclass(slots=True)
class _State:
    """How far the due times of one schedule have been said."""

    since_us: int
    next_us: int
    said_us: int = 0
    answered_us: int = 0


@dataclass(slots=True)
class Expected:
    """Due times of *schedules* in one namespace.

    *look* returns what the relations hold (see `known`), *append* is the store's.
    """

    schedules: Iterable[Schedule]
    append: Callable[[Entry], Future[int]]
    look: Callable[[], Mapping[str, Known]]
    clock: Clock
    every_s: float = 1.0
    declared: dict[str, Schedule] = field(init=False)
    _states: dict[str, _State] = field(default_factory=dict, init=False)
    _open: dict[str, str] = field(default_factory=dict, init=False)
    _now_us: int = field(default=0, init=False)
    _declared_us: int | None = field(default=None, init=False)
    _stop: threading.Event = field(default_factory=threading.Event, init=False)
    _thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.declared = {one.name: one for one in self.schedules}
        self._thread = threading.Thread(target=self._run, name="schedules", daemon=True)

    # -- what pings ask -----------------------------------------------------------------------

    def remember(self, runs: Iterable[tuple[str, str]]) -> None:
        """Take up runs without an ID that were open when we ended (see `open_runs`)."""
        for name, run in runs:
            self._open[name] = run

    def begins(self, name: str, now_us: int) -> tuple[str, str | None]:
        """Return the task of a run without an ID that begins, and that of the one it replaces.

        Two such runs cannot be told apart: where one begins, the one before it is over.
        """
        task, before = f"{name}/{iso(now_us)}", self._open.pop(name, None)
        while len(self._open) >= _OPEN_MAX:
            self._open.pop(next(iter(self._open)))
        self._open[name] = task
        return task, before if before != task else None

    def running(self, name: str) -> str | None:
        """Return the task of the run without an ID that is open."""
        return self._open.get(name)

    def ends(self, name: str, now_us: int) -> str:
        """Return the task of a run without an ID that ends: the open one, or one of its own."""
        return self._open.pop(name, None) or f"{name}/{iso(now_us)}"

    def honours(self, name: str, now_us: int) -> int | None:
        """Return the due time that a sign of *name* at this moment answers to, if any."""
        state, one = self._states.get(name), self.declared.get(name)
        if state is None or one is None:
            return None
        if one.every_s is not None:  # its period begins anew
            state.next_us = now_us + us(one.every_s)
        due = state.said_us
        soon = one.cron is not None and now_us < state.next_us <= now_us + EARLY_US
        if soon and due <= state.answered_us:
            due = state.next_us
        state.answered_us = max(state.answered_us, due)
        return due or None

    # -- what comes due -------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to say what comes due; where nothing is declared, only what no longer is."""
        self.tick()
        if self.declared:
            self._thread.start()

    def stop(self) -> None:
        """Say no more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self.every_s):
            self.tick()

    def tick(self) -> None:
        """Say what has come due by now. What cannot be written now is tried again next time."""
        now = self.clock()
        try:
            if self._declared_us is None:
                self._begin(now)
            elif now < self._now_us:
                self._put_back(now)
            elif now - self._declared_us >= _AGAIN_US:
                self._say(now, [_declaration(one, now) for one in self.declared.values()])
                self._declared_us = now
            self._now_us = now
            self._due(now)
        except (BusyError, JournalFullError, TimeoutError, RuntimeError) as error:
            _LOG.warning("due times could not be written down, it is tried again: %s", error)
        except Exception:  # noqa: BLE001 - without this thread no run would be missed any more
            _LOG.exception("due times could not be said; it is tried again")

    def _begin(self, now: int) -> None:
        """Declare what is configured; call off what is no longer, or is another now."""
        found, rows, states = self.look(), [], {}
        for name, had in found.items():
            if had.ours and not had.paused and name not in self.declared:
                rows.append({"schedule": name, "ts_us": now, "paused": True})
        for name, one in self.declared.items():
            had = found.get(name, Known())
            anew = not one.paused and (had.paused or _another(one, had))
            if anew:  # a pause a moment long: nothing that was due before it counts
                rows.append({"schedule": name, "ts_us": now - 1, "paused": True})
            rows.append(_declaration(one, now))
            if not one.paused:
                told = max(had.due_us or 0, had.fired_us or 0, had.paused_us or 0)
                since = min(told, now) if had.ours and told and not anew else now
                said = 0 if anew else had.due_us or 0
                answered = said if said <= (had.fired_us or 0) + EARLY_US else 0
                states[name] = _State(since, since, said, answered)
        self._say(now, rows)
        self._states, self._declared_us = states, now

    def _put_back(self, now: int) -> None:
        """Begin again from *now*: a due time that was said already is the same when said twice."""
        for state in self._states.values():
            state.since_us = min(state.since_us, now)
            state.next_us = state.since_us
            state.said_us = min(state.said_us, now)
        self._declared_us = now

    def _due(self, now: int) -> None:
        coming = [name for name, state in self._states.items() if state.next_us <= now]
        if not coming:
            return
        found = self.look()
        rows: list[dict[str, Any]] = []
        moved: dict[str, _State] = {}
        for name in coming:
            one, had, state = self.declared[name], found.get(name, Known()), self._states[name]
            dues = self._dues(one, had, state, now)
            rows += [{**_declaration(one, now), "due_us": due} for due in dues]
            anchor = _anchor(had, now)
            follows = one.next_after(now, anchor)
            moved[name] = _State(
                now,
                # a period without a sign yet: look again soon
                follows if follows is not None else now + MINUTE_US,
                dues[-1] if dues else state.said_us,
                state.answered_us,
            )
        self._say(now, rows)
        self._states |= moved

    def _dues(self, one: Schedule, had: Known, state: _State, now: int) -> list[int]:
        """Return what is to be said: nothing before a first sign, or of what had its sign."""
        if had.fired_us is None:
            return []
        anchor, since = _anchor(had, now), state.since_us
        if now - since > _AWAY_US:
            late = one.latest(since, now - _AWAY_US, anchor)
            since = now - _AWAY_US
            dues = [late] if late is not None else []
        else:
            dues = []
        due = one.next_after(since, anchor)
        while due is not None and due <= now:
            dues.append(due)
            due = one.next_after(due, anchor)
        early_us = EARLY_US if one.cron is not None else 0
        unanswered = [each for each in dues if each > had.fired_us + early_us]
        return unanswered[: max(0, _OUTSTANDING - had.outstanding)]

    def _say(self, now: int, rows: list[dict[str, Any]]) -> None:
        if rows:
            self.append(Entry("due", now, orjson.dumps(rows))).result(_WAIT_S)


def _declaration(one: Schedule, now_us: int) -> dict[str, Any]:
    return {
        "schedule": one.name,
        "ts_us": now_us,
        "paused": one.paused,
        "queue": one.queue,
        "start_grace_s": one.start_grace_s,
        "run_grace_s": one.run_grace_s,
    }


def _anchor(had: Known, now: int) -> int | None:
    """Return from when a period counts: the last sign, or the end of a pause since."""
    if had.fired_us is None:
        return None
    return min(max(had.fired_us, had.paused_us or 0), now)


def _another(one: Schedule, had: Known) -> bool:
    """Say whether what is outstanding of it was due by another declaration."""
    if had.due_us is None or had.fired_us is None or had.due_us <= had.fired_us:
        return False
    return not one.has(had.due_us, max(had.fired_us, had.paused_us or 0))
