"""A Celery installation, heard and looked at: events, queues and results → the journal.

Two threads: one hears events and does nothing else, so that no slow broker command or result
backend makes it miss any; the other looks at queues and results. What cannot be written down now is
kept and tried again: the broker drops us before it slows a worker. While the stream is away what
was said is lost, and that is told.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from collector.receivers.celery.brokers import NobodySpokeError, broker
from collector.receivers.celery.redis import connect
from collector.receivers.celery.results import Results
from collector.receivers.celery.words import TASKS_MAX, WORKERS, Words
from collector.store.journal import Entry
from model.units import SECOND_US

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future

    import duckdb

    from collector.receivers.celery import Where
    from collector.receivers.celery.words import Asked, Line
    from model.clock import Clock

_LOG: Final = logging.getLogger("zombiewatch.celery")

LISTENER: Final = "celery-events"
"""Service of what is said of the stream itself: it is of neither side, and so of both."""

_WAIT_S: Final = 0.5
_GATHER_S: Final = 0.1
_PAUSES_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0)
_TELL_S: Final = 10.0
"""So soon is told that the stream is away; then every minute."""

_AGAIN_S: Final = 60.0

_TELL_AGAIN_S: Final = (0.0, 2.0, 10.0)
"""So long after a worker has appeared workers are told to send events: it says that it is there
before it takes commands."""

_ENABLE_AGAIN_S: Final = 10.0
_JOIN_S: Final = 20.0

_LOOK_S: Final = 0.5
_NO_EVENTS_S: Final = 60.0
_UNENDED_MAX: Final = 500

_SILENT: Final = (
    "no task event came from Celery in %d s. Workers send them with `celery worker -E` or"
    " `worker_send_task_events = True`, or once told so (celery.enable_events, --enable-events);"
    " senders with `task_send_sent_event = True`. Without them"
    " only queues and workers' heartbeats are seen: no zombie, lost report or duplicate run"
)


@dataclass(slots=True)
class Status:
    """How it stands with the connection."""

    connected: bool = False
    backend: bool | None = None  # whether the result backend answers; None without one
    events: dict[str, int] = field(default_factory=dict)
    unreadable: int = 0
    losses: int = 0
    """How often the stream was lost."""


class Celery:
    """Hears one Celery installation until `stop`. What it hears goes to *append*.

    Raises CelerySetupError for an address that is none.
    """

    def __init__(self, where: Where, append: Callable[[Entry], Future[int]], clock: Clock) -> None:
        self.words = Words(clock, results=where.results is not None, acks_late=where.acks_late)
        self.status = Status()
        self._append = append
        self._clock = clock
        self._where = where
        self._broker = broker(where, self.words)
        self._backend = connect(where.results, "results") if where.results else None
        self._results = (
            Results(self._backend, key_prefix=where.results_key_prefix) if self._backend else None
        )
        self._ended: list[tuple[Asked, float]] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._begun_us = clock()
        self._heard_since_s: float | None = None
        self._warned = False
        self._failing: set[str] = set()
        self._enabled_of = -1  # lives
        self._enable_at_us: list[int] = []
        self._threads = [
            threading.Thread(target=one, name=f"celery-{one.__name__.strip('_')}", daemon=True)
            for one in (self._hear, self._look)
        ]

    def remember(self, reader: duckdb.DuckDBPyConnection, namespace: str) -> None:
        """Be told by *reader* what workers had of *namespace* and have not ended."""
        runs = reader.execute(
            "SELECT task, attempt, instance, boot, name, started_us / 1e6 FROM open_runs"
            " WHERE namespace = ? AND service = ? AND finished_us IS NULL"
            " ORDER BY last_seen_us DESC LIMIT ?",
            [namespace, WORKERS, TASKS_MAX],
        ).fetchall()
        self.words.remember(runs)

    def start(self) -> None:
        """Begin to hear and to look."""
        self._begun_us = self._clock()
        for one in self._threads:
            one.start()

    def stop(self) -> None:
        """End; what was heard is in the journal then."""
        self._stop.set()
        for one in self._threads:
            if one.is_alive():
                one.join(_JOIN_S)  # a broker that has gone while it spoke may hold it for long
        self._broker.close()
        if self._backend is not None:
            self._backend.close()

    # -- events -----------------------------------------------------------------------------

    def _hear(self) -> None:
        tries, away_us, told = 0, 0, False
        while not self._stop.is_set():
            try:
                stream = self._broker.listen()
            except NobodySpokeError:
                # what is said until we listen is of what we have never heard of: no loss
                self._warn_if_silent()
                self._stop.wait(_WAIT_S)
                continue
            except Exception as error:  # noqa: BLE001 - the broker's, the system's: it is tried again
                since_us = away_us or self._begun_us
                away_us = self._away(since_us, _AGAIN_S if told else _TELL_S, error)
                told |= away_us != since_us
                self._stop.wait(_PAUSES_S[min(tries, len(_PAUSES_S) - 1)])
                tries += 1
                continue
            if away_us:
                self._tell_lost(away_us)
                _LOG.warning("Celery's events are heard again")
            tries, away_us, told = 0, 0, False
            self.status.connected = True
            heard_us = self._clock()
            self._heard_since_s = heard_us / SECOND_US
            try:
                while not self._stop.is_set():
                    events = stream.read(_WAIT_S)
                    if not stream.behind:
                        ago_s = time.monotonic() - stream.proven_s
                        heard_us = self._clock() - round(ago_s * SECOND_US)
                    self.status.unreadable += stream.unreadable
                    stream.unreadable = 0
                    if events:
                        self._take(events)
                        self._stop.wait(_GATHER_S)
                    self._enable()
                    self._warn_if_silent()
            except Exception as error:  # noqa: BLE001 - likewise
                self.status.connected, self._heard_since_s = False, None
                self.status.losses += 1
                away_us = heard_us
                _LOG.warning("Celery's events are not heard any more: %s", error)
            finally:
                stream.close()

    def _away(self, since_us: int, after_s: float, error: Exception) -> int:
        """Say after so long that events are lost; return since when that is still to be said."""
        now = self._clock()
        if now - since_us >= after_s * SECOND_US:
            _LOG.warning("the Celery broker cannot be reached: %s", error)
            self._tell_lost(since_us)
            return now
        return since_us

    def _tell_lost(self, since_us: int) -> None:
        now = self._clock()
        self._write(
            [
                {
                    "event.name": "export.failed",
                    "ts": now / SECOND_US,
                    "service.name": LISTENER,
                    "export.from": since_us / SECOND_US,
                    "export.to": now / SECOND_US,
                    "export.lost": 1,
                    "message": "the stream of events was away",
                }
            ]
        )

    def _take(self, events: Iterable[dict[str, Any]]) -> None:
        lines: list[Line] = []
        for event in events:
            try:
                said, ended = self.words.lines(event)
            except ValueError:
                self.status.unreadable += 1
                continue
            if self._results is not None and ended:
                with self._lock:
                    self._ended += [(one, self._clock() / SECOND_US) for one in ended]
            lines += said
        self.status.events = dict(self.words.counts)
        self._write(lines)

    def _enable(self) -> None:
        """Ask for task events, if we are to, of the workers that came since."""
        if not self._where.enable_events:
            return
        now = self._clock()
        if self.words.lives != self._enabled_of:
            self._enabled_of = self.words.lives
            self._enable_at_us = [now + round(one * SECOND_US) for one in _TELL_AGAIN_S]
        if self._enable_at_us and now >= self._enable_at_us[0]:
            del self._enable_at_us[0]
            # what was handed out up to now, they may have taken in silence
            self._heard_since_s = now / SECOND_US
            try:
                heard = self._broker.enable_events()
            except Exception as error:  # noqa: BLE001 - the broker's: it is tried again
                _LOG.warning("workers were not told to send task events: %s", error)
                self._enable_at_us = [now + round(_ENABLE_AGAIN_S * SECOND_US)]
            else:
                _LOG.info("%s workers were told to send task events", heard)

    def _warn_if_silent(self) -> None:
        waited_s = (self._clock() - self._begun_us) / SECOND_US
        if self._warned or waited_s < _NO_EVENTS_S:
            return
        self._warned = True
        if not any(name.startswith("task-") for name in self.status.events):
            _LOG.warning(_SILENT, round(waited_s))

    # -- queues and results -----------------------------------------------------------------

    def _look(self) -> None:
        next_us = self._clock()
        while not self._stop.wait(_LOOK_S):
            now = self._clock()
            if now >= next_us:
                next_us = now + round(self._where.look_every_s * SECOND_US)
                self._try(self._look_at_queues, now / SECOND_US)
                self._try(self._look_for_unheard_ends, now / SECOND_US)
            if self._results is not None:
                self._try(self._look_for_results, now / SECOND_US)

    def _try(self, look: Callable[[float], None], now_s: float) -> None:
        name = look.__name__.strip("_").replace("_", " ")
        try:
            look(now_s)
        except Exception as error:  # noqa: BLE001 - the broker's, the system's: it is tried again
            level = logging.DEBUG if name in self._failing else logging.WARNING
            _LOG.log(level, "cannot %s: %s", name, error)
            self._failing.add(name)
        else:
            if name in self._failing:
                self._failing.discard(name)
                _LOG.warning("can %s again", name)

    def _look_at_queues(self, now_s: float) -> None:
        # while the stream is away nothing counts as heard; nor does what a worker would not tell
        since_s = None if self.words.mute() else self._heard_since_s
        self._write(self._broker.look(now_s, since_s or now_s))

    def _look_for_unheard_ends(self, now_s: float) -> None:
        if self._results is None or not (unended := self.words.unended(_UNENDED_MAX)):
            return
        lines = self._results.unheard(unended, now_s)
        self._write(lines)
        for one in lines:
            self.words.told(one["uuid"])

    def _look_for_results(self, now_s: float) -> None:
        assert self._results is not None  # noqa: S101 - for the type checker
        with self._lock:
            ended, self._ended = self._ended, []
        refused = (self._results.expect(one, at_s) for one, at_s in ended)
        self._write([line for line in refused if line is not None])
        answers = self._results.answers
        try:
            lines = self._results.look(now_s)
        except Exception as error:  # noqa: BLE001 - the backend's, the system's: it is tried again
            if self.status.backend is not False:
                _LOG.warning("the result backend cannot be reached: %s", error)
            self.status.backend = False
            self._results.doubt()
            return
        if self._results.unreadable and "results" not in self._failing:
            self._failing.add("results")
            _LOG.warning("results are not JSON (result_serializer): no result is missed")
        if self._results.answers > answers:
            if self.status.backend is False:
                _LOG.warning("the result backend is reached again")
            self.status.backend = True
        self._write(lines)

    def _write(self, lines: list[Line]) -> None:
        """Return when *lines* are on disk, trying again while there is no room."""
        if not lines:
            return
        body = b"\n".join(orjson.dumps(line) for line in lines)
        while True:
            entry = Entry("events", self._clock(), body, {"source": "celery"})
            try:
                self._append(entry).result()
            except Exception as error:
                _LOG.warning("waiting with Celery's events: %s", error)
                if self._stop.wait(1.0):
                    raise
            else:
                return
