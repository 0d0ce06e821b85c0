"""Celery's events → JSON lines: what they leave out is added, what is nobody's business is not.

Only `task-sent` and `task-received` say which attempt they are of (`retries`); the others are
those of the run that the worker began last. A worker is another life when its process ID differs,
or when it counts what it has done from the beginning again; that it is online it also says when it
has found its broker again. That it is offline it says when it is told to stop: what it runs then it
ends in silence, however long that takes, and only then it has stopped. Arguments and results are
dropped.

Names of events and fields are those of Celery 5.7 (docs, "Monitoring and Management Guide").
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from model.units import SECOND_US

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from model.clock import Clock

WORKERS: Final = "celery-worker"
"""Service of what workers say."""

SCHEDULER: Final = "celery"
"""Service of what senders, the broker and the result backend say."""

TASKS_MAX: Final = 50_000
_WORKERS_MAX: Final = 10_000
_KINDS_MAX: Final = 100
_QUEUES_MAX: Final = 200
_NAMES_MAX: Final = 10_000
_ALIVE_S: Final = 60.0
_SURE_S: Final = 2.0
"""A worker that says so long after a run began that it runs nothing has ended it."""

_ACKNOWLEDGED_S: Final = 5.0
"""What is acknowledged early is so this long after it began."""

_ASK_S: Final = 60.0
_ASK_DOUBLES: Final = 6

_DRAIN_S: Final = 600.0
"""So often, at the most, a worker that ends its last runs is to be heard of."""

_DROPPED: Final = frozenset(
    {"type", "timestamp", "args", "kwargs", "result", "local_received", "utcoffset", "loadavg"}
)
_ENDS: Final = frozenset(
    (
        *("task-succeeded", "task-failed", "task-retried"),
        *("task-rejected", "task-revoked", "task-cancelled"),
    )
)
_TEXT_MAX: Final = 2_000

Line: TypeAlias = dict[str, Any]


@dataclass(slots=True)
class _Run:
    """One attempt at a worker, as far as it was told."""

    attempt: int
    worker: str = ""
    boot: str = ""
    name: str | None = None
    started_s: float | None = None


@dataclass(slots=True)
class _Task:
    """What is open of one task, when it was sent, and when its result is asked for next."""

    ask_s: float
    runs: list[_Run] = field(default_factory=list)
    sent_s: float | None = None
    attempt: int = 1
    name: str | None = None
    asked: int = 0


@dataclass(slots=True)
class _Worker:
    """One life of a worker."""

    boot: str
    pid: int | None
    processed: int = 0
    at_first: int = 0  # so many it had processed when we first heard of it
    worked: bool = False
    spoke: bool = False  # of a task
    seen_s: float = 0.0
    idle_s: float | None = None
    beats_at_work: bool = False
    freq: float | None = None
    offline: Line | None = None  # what it said when it was told to stop, while it still works
    running: dict[str, _Run] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """An attempt whose result is asked for: what was stored before *since_s* is none of its."""

    task: str
    attempt: int
    name: str | None
    since_s: float = 0.0


class Words:
    """What is known of workers and tasks; its calls may come from any thread.

    Without *results* nobody can say whether they are recorded: each end says so. A worker
    acknowledges a message when it begins with it, unless *acks_late*, or unless the broker was seen
    to wait for one of that name (`held`). What is compared with now is so by *clock*: those of
    senders and workers may be off.
    """

    def __init__(self, clock: Clock, *, results: bool = True, acks_late: bool = False) -> None:
        self._clock = clock
        self._acks_late = acks_late
        self._late: set[str | None] = set()
        self._reports: Line = {} if results else {"reports": False}
        self.counts: dict[str, int] = {}
        """Events by type."""
        self.lives = 0
        """How many lives of workers were heard of."""
        self._lock = threading.Lock()
        self._tasks: OrderedDict[str, _Task] = OrderedDict()
        self._workers: OrderedDict[str, _Worker] = OrderedDict()
        self._queues: dict[str, None] = {}

    def remember(self, runs: Iterable[tuple[str, int, str, str, str | None, float | None]]) -> None:
        """Go on from open *runs*: task, attempt, worker, boot, name, and when it began."""
        with self._lock:
            for task, attempt, worker, boot, name, started_s in runs:
                known = self._task(task)
                run = _Run(attempt, worker, boot, name, started_s)
                known.runs.append(run)
                known.attempt, known.name = max(known.attempt, attempt), name
                life = self._workers.setdefault(worker, _Worker(boot, None))
                if started_s is not None and life.boot == boot:
                    life.running[task] = run
                    life.worked = life.spoke = True

    def lines(self, event: Mapping[str, Any]) -> tuple[list[Line], list[Asked]]:
        """Return what *event* says as lines, and the runs that it ended.

        Raises ValueError for what is no event of Celery's.
        """
        kind, at = event.get("type"), event.get("timestamp")
        if not isinstance(kind, str) or not isinstance(at, int | float):
            msg = "it has no type or no timestamp"
            raise ValueError(msg)  # noqa: TRY004 - what came in is wrong, not our call
        with self._lock:
            # whoever publishes there may call them anything
            counted = kind if kind in self.counts or len(self.counts) < _KINDS_MAX else "other"
            self.counts[counted] = self.counts.get(counted, 0) + 1
            if kind.startswith("worker-"):
                return self._of_worker(kind, float(at), event)
            if kind.startswith("task-") and isinstance(event.get("uuid"), str):
                return self._of_task(kind, float(at), event)
        return [_line(event)], []

    def sent_s(self, task: str) -> float | None:
        """Return when we were told, by our clock, that *task* was sent; None where we were not."""
        with self._lock:
            known = self._tasks.get(task)
            return known.sent_s if known else None

    def queues(self) -> list[str]:
        """Return the queues that something was sent to, 200 at most."""
        with self._lock:
            return list(self._queues)

    def unended(self, most: int) -> list[Asked]:
        """Return tasks that are open for long: their ends may have been said unheard.

        Each after a minute, then half as often each time.
        """
        now_s = self._clock() / SECOND_US
        found: list[Asked] = []
        with self._lock:
            for task, known in self._tasks.items():
                if known.ask_s > now_s:
                    continue
                if len(found) == most:
                    break
                known.asked += 1
                known.ask_s = now_s + _ASK_S * 2 ** min(known.asked, _ASK_DOUBLES)
                starts = [one.started_s for one in known.runs if one.started_s is not None]
                since_s = max(starts, default=known.sent_s)
                if since_s is not None:
                    found.append(Asked(task, known.attempt, known.name, since_s))
        return found

    def told(self, task: str) -> None:
        """Note that the end of *task* is known: it is not asked for again."""
        with self._lock:
            if task in self._tasks:
                self._tasks[task].ask_s = math.inf

    def held(self, task: str, name: str | None) -> bool:
        """Note that the broker waits for the end of *task*; say whether a worker runs it.

        If so, it is acknowledged late, and what else bears that *name* is too.
        """
        sure_s = self._clock() / SECOND_US - _ACKNOWLEDGED_S
        with self._lock:
            known = self._tasks.get(task)
            runs = known.runs if known else []
            late = any(one.started_s is not None and one.started_s < sure_s for one in runs)
            if late and len(self._late) < _NAMES_MAX:
                self._late.add(name)
            return late

    def alive(self) -> list[tuple[str, bool]]:
        """Return each worker that was heard within a minute, and whether it runs nothing.

        One that is silent while it works is there as long as it works.
        """
        now_s = self._clock() / SECOND_US
        with self._lock:
            return [
                (name, one.idle_s is not None)
                for name, one in self._workers.items()
                if one.offline is None
                and (now_s - one.seen_s < _ALIVE_S or (one.running and not one.beats_at_work))
            ]

    def mute(self) -> bool:
        """Say whether some worker works and tells of no task: what it has taken is not known."""
        now_s = self._clock() / SECOND_US
        with self._lock:
            return any(
                one.processed > one.at_first and not one.spoke and now_s - one.seen_s < _ALIVE_S
                for one in self._workers.values()
            )

    @property
    def beaten(self) -> bool:
        """Whether any worker was ever heard to beat."""
        return "worker-heartbeat" in self.counts

    # -- workers ----------------------------------------------------------------------------

    def _of_worker(
        self, kind: str, at_s: float, event: Mapping[str, Any]
    ) -> tuple[list[Line], list[Asked]]:
        name = str(event.get("hostname") or "")
        worker = self._life(name, at_s, event)
        line = _line(event) | _who(name, worker.boot)
        if kind == "worker-offline":
            if worker.running:
                worker.offline = line
                return [line | {"event.name": "worker-drains", "drain_s": _DRAIN_S}], []
            self._workers.pop(name, None)
            return [line], []
        worker.offline = None  # it had only lost its broker
        worker.freq = event.get("freq") or worker.freq
        active = event.get("active")
        if kind != "worker-heartbeat" or not isinstance(active, int):
            return [line], []
        worker.beats_at_work |= active > 0
        # one whose pool is its own thread is silent while it works: only who has been heard at
        # work promises anything
        line["beats_at_work"] = worker.beats_at_work
        if active:
            worker.idle_s = None
            return [line], []
        gone = []
        if worker.idle_s is not None:
            sure = min(worker.idle_s, at_s) - _SURE_S
            gone = [
                (task, run)
                for task, run in worker.running.items()
                if run.started_s is not None and run.started_s < sure
            ]
        worker.idle_s = worker.idle_s or at_s
        lines, ended = [line], []
        for task, run in gone:
            lines.append(
                {"event.name": "run-gone", "ts": at_s, "uuid": task, "name": run.name}
                | {"task.attempt": run.attempt, **self._reports}
                | _who(name, worker.boot)
            )
            ended.append(Asked(task, run.attempt, run.name, run.started_s or 0.0))
            self._forget(task, run)
        return lines, ended

    def _life(self, name: str, at_s: float, event: Mapping[str, Any]) -> _Worker:
        """Return the life of the worker *name* that speaks."""
        pid = event.get("pid") if isinstance(event.get("pid"), int) else None
        processed = event.get("processed")
        counted = processed if isinstance(processed, int) else None
        known = self._workers.get(name)
        if known is not None and known.pid is None and known.boot.partition("-")[0] == str(pid):
            known.pid = pid  # remembered from before we began
        again = known is not None and counted is not None and (
            counted < known.processed or (counted == 0 and known.worked)
        )  # fmt: skip
        if known is None or again or (pid is not None and known.pid != pid):
            boot = f"{pid}-{at_s:.3f}" if again else str(pid)
            known = self._workers[name] = _Worker(boot, pid, at_first=counted or 0)
            self.lives += 1
        if counted is not None:
            known.processed = counted
        known.seen_s = self._clock() / SECOND_US
        self._workers.move_to_end(name)
        while len(self._workers) > _WORKERS_MAX:
            self._workers.popitem(last=False)
        return known

    # -- tasks ------------------------------------------------------------------------------

    def _of_task(
        self, kind: str, at_s: float, event: Mapping[str, Any]
    ) -> tuple[list[Line], list[Asked]]:
        task = str(event["uuid"])
        line = _line(event)
        if kind == "task-sent":
            # whoever sends may live for a moment only: its host stands for it
            sent = self._task(task)
            sent.sent_s = self._clock() / SECOND_US
            sent.ask_s, sent.asked = sent.sent_s + _ASK_S, 0
            sent.attempt, sent.name = _attempt(event)["task.attempt"], _text(event.get("name"))
            queue = _text(event.get("queue"))
            if queue and len(self._queues) < _QUEUES_MAX:
                self._queues[queue] = None
            return [line | _attempt(event) | _sender(event)], []
        worker = str(event.get("hostname") or "")
        life = self._life(worker, at_s, event)
        life.spoke = True
        who = _who(worker, life.boot)
        if kind == "task-received":
            known = self._task(task)
            run = _Run(_attempt(event)["task.attempt"], worker, life.boot, _text(event.get("name")))
            known.runs = [
                one for one in known.runs if (one.attempt, one.worker) != (run.attempt, worker)
            ]
            known.runs.append(run)
            known.attempt, known.name = run.attempt, run.name
            delivered = {"event.name": "message-delivered", "ts": at_s, "uuid": task}
            delivered |= {"name": run.name, "to": worker, "service.name": SCHEDULER}
            more = _attempt(event)
            early = {"acks_early": not (self._acks_late or run.name in self._late)}
            return [delivered | more, line | more | who | early], []
        run = self._run(task, worker, life.boot, kind)
        told = {"task.attempt": run.attempt, "name": event.get("name") or run.name}
        lines = [line | told | who]
        if kind == "task-started":
            run.started_s, run.boot, life.worked = at_s, life.boot, True
            life.running[task] = run
            life.idle_s = None
            return lines, []
        if kind not in _ENDS:
            return lines, []
        self._forget(task, run)
        if kind == "task-retried":
            again = {"event.name": "retry-asked", "ts": at_s, "uuid": task, **told}
            lines.append(again | {"service.name": SCHEDULER})
        if kind in {"task-retried", "task-rejected", "task-cancelled"}:
            return lines + self._stopped(worker, life, at_s), []
        lines[0] |= self._reports
        ended = Asked(task, run.attempt, run.name, run.started_s or 0.0)
        return lines + self._stopped(worker, life, at_s), [ended]

    def _task(self, task: str) -> _Task:
        known = self._tasks.get(task)
        if known is None:
            known = self._tasks[task] = _Task(self._clock() / SECOND_US + _ASK_S)
        self._tasks.move_to_end(task)
        while len(self._tasks) > TASKS_MAX:
            self._tasks.popitem(last=False)
        return known

    def _run(self, task: str, worker: str, boot: str, kind: str) -> _Run:
        """Return the run of *task* at *worker* that an event without a number is of."""
        known = self._task(task)
        here = [one for one in known.runs if one.worker == worker]
        if kind == "task-started":
            fresh = [one for one in here if one.started_s is None]
        else:
            fresh = [one for one in here if one.started_s is not None]
        among = fresh or here
        if not among:  # what it has received was said unheard
            run = _Run(known.attempt, worker, boot, known.name)
            known.runs.append(run)
            return run
        # the next attempt is received, and may have begun, before the word that it is to be
        first = kind in {"task-started", "task-retried"}
        return (min if first else max)(among, key=lambda one: one.attempt)

    def _stopped(self, name: str, worker: _Worker, at_s: float) -> list[Line]:
        """Return the lines that say that *worker* has stopped, if it was told to and has ended."""
        if worker.offline is None or worker.running:
            return []
        self._workers.pop(name, None)
        beat = worker.offline | {"event.name": "worker-heartbeat", "ts": at_s, "freq": worker.freq}
        # its last promise must be that of its kind again: other lives go by it
        return [beat | {"beats_at_work": worker.beats_at_work}, worker.offline | {"ts": at_s}]

    def _forget(self, task: str, run: _Run) -> None:
        worker = self._workers.get(run.worker)
        if worker is not None and worker.running.get(task) is run:
            del worker.running[task]
        known = self._tasks.get(task)
        if known is None:
            return
        # of an earlier attempt at the same worker the end was said unheard
        known.runs = [
            one for one in known.runs if one.worker != run.worker or one.attempt > run.attempt
        ]
        if not known.runs:
            del self._tasks[task]


def _line(event: Mapping[str, Any]) -> Line:
    """Return what of *event* is kept."""
    line: Line = {"event.name": event.get("type"), "ts": event.get("timestamp")}
    for name, value in event.items():
        if name not in _DROPPED and value is not None:
            line[name] = value[:_TEXT_MAX] if isinstance(value, str) else value
    return line


def _who(worker: str, boot: str) -> Line:
    host = worker.partition("@")[2] or worker
    return {
        "service.name": WORKERS,
        "service.instance.id": worker,
        "host.name": host,
        "instance.boot": boot,
    }


def _sender(event: Mapping[str, Any]) -> Line:
    name = str(event.get("hostname") or "")
    return {"service.name": SCHEDULER, "host.name": name.partition("@")[2] or name}


def _attempt(event: Mapping[str, Any]) -> Line:
    retries = event.get("retries")
    return {"task.attempt": (retries if isinstance(retries, int) else 0) + 1}


def _text(value: object) -> str | None:
    return None if value is None else str(value)
