"""Celery's results in Redis: was what has ended stored, and as what? Asked, and never changed.

Of `celery-task-meta-<id>` only the first bytes are read, and where it has to be known when it was
stored, the last: the status comes first, the date near the end, the result between them may be
large (Celery 5.7, `celery.backends.base`).
"""

from __future__ import annotations

import heapq
import itertools
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from collector.receivers.celery.words import SCHEDULER

if TYPE_CHECKING:
    from collections.abc import Sequence

    import redis

    from collector.receivers.celery.words import Asked, Line

_LOOKS_S: Final = (0.5, 2.0, 6.0, 14.0, 24.0)
"""So long after the end it is looked for; the last before `lost_report` would tell."""

_LATER_S: Final = (60.0, 120.0, 300.0, 600.0)
"""So long after, where the backend was away in between."""

MAX: Final = 100_000
"""So many results are looked for at once."""

_AT_ONCE: Final = 2_000
_NAMES_MAX: Final = 10_000
_NEVER: Final = 20
"""After so many results of one name in a row that were not stored, each is looked for once."""
_STATUS: Final = re.compile(rb'"status":\s*"([A-Z]+)"')
_HEAD: Final = 64
_DONE: Final = re.compile(rb'"date_done":\s*"(\d{4}-\d\d-\d\dT[\d:.+-]+)"')
_TAIL: Final = 400
_CLOCKS_S: Final = 5.0
"""So far the clocks of workers and senders may be apart, and a result's date be cut off."""

_FINAL: Final = frozenset({"SUCCESS", "FAILURE", "REVOKED"})
_OURS: Final = {"SUCCESS": "success", "FAILURE": "failure", "REVOKED": "canceled"}


@dataclass(slots=True)
class _Wanted:
    """A result that is looked for."""

    ended: Asked
    at_s: float
    looks: int = 0
    doubtful: bool = False  # the backend was away meanwhile: absence may be loss


class _State(NamedTuple):
    """What a result says: its status ("" where there is none, None where it cannot be read)."""

    status: str | None
    dated: bool = False


class Results:
    """Looks for results with *client*. `look` raises `redis.RedisError` where it is away.

    What is not there although the backend answers all the time was not to be stored
    (`ignore_result`), or was taken by whoever waited: only what an outage may have eaten is missed.
    """

    def __init__(self, client: redis.Redis, *, key_prefix: str = "") -> None:
        self.waiting = 0
        self.unreadable = 0
        """Results of which the state cannot be read: `result_serializer` is not JSON."""
        self.answers = 0
        """How often the backend has answered."""
        self._client = client
        self._prefix = f"{key_prefix}celery-task-meta-"
        self._heap: list[tuple[float, int, _Wanted]] = []
        self._number = itertools.count()
        self._ignored: dict[str, int] = {}

    def expect(self, ended: Asked, at_s: float) -> Line | None:
        """Look for the result of what *ended* at *at_s*.

        Where too many are looked for, the line is returned that says that it is not missed.
        """
        wanted = _Wanted(ended, at_s)
        if len(self._heap) >= MAX:
            return _line("result-ignored", wanted, at_s)
        self._push(wanted, at_s + _LOOKS_S[0])
        return None

    def doubt(self) -> None:
        """Note that the backend is away: what is looked for now, and not found, may be lost."""
        for _, _, one in self._heap:
            one.doubtful = True

    def look(self, now_s: float) -> list[Line]:
        """Return what is known of those that it is time to look for, as lines."""
        due: list[_Wanted] = []
        while self._heap and self._heap[0][0] <= now_s and len(due) < _AT_ONCE:
            due.append(heapq.heappop(self._heap)[2])
        if not due:
            return []
        try:
            states = self._states([one.ended for one in due])
        except BaseException:
            for one in due:
                one.doubtful = True
                self._push(one, now_s + 1.0)
            raise
        told = (self._told(one, state, now_s) for one, state in zip(due, states, strict=True))
        lines = [line for line in told if line is not None]
        self.waiting = len(self._heap)
        return lines

    def unheard(self, open_: Sequence[Asked], now_s: float) -> list[Line]:
        """Return which of those are stored as ended, since they can have been, as lines.

        A result of an ID that was used before is not taken for that of now.
        """
        return [
            _line("result-stored", _Wanted(one, now_s), now_s) | {"status": _OURS[state.status]}
            for one, state in zip(open_, self._states(open_), strict=True)
            if state.status in _FINAL and state.dated
        ]

    def _states(self, asked: Sequence[Asked]) -> list[_State]:
        """Return how it stands with the results of *asked*, all at once."""
        with self._client.pipeline(transaction=False) as pipe:
            for one in asked:
                pipe.getrange(self._prefix + one.task, 0, _HEAD)
                pipe.getrange(self._prefix + one.task, -_TAIL, -1)
            answers = pipe.execute()
        self.answers += 1
        texts = zip(asked, answers[::2], answers[1::2], strict=True)
        return [_state(head, tail, one.since_s) for one, head, tail in texts]

    def _told(self, one: _Wanted, state: _State, now_s: float) -> Line | None:
        """Return what is known of *one*, whose result is so; or look again, later."""
        name, status = one.ended.name or "", state.status
        if status is None:
            self.unreadable += 1
            return _line("result-ignored", one, now_s)
        if status in _FINAL:
            self._ignored.pop(name, None)
            return _line("result-stored", one, now_s) | {"status": _OURS[status]}
        never = self._ignored.get(name, 0) >= _NEVER and not (one.doubtful or status)
        if (not never and self._again(one, now_s)) or one.doubtful or status:
            return None
        if len(self._ignored) < _NAMES_MAX:
            self._ignored[name] = self._ignored.get(name, 0) + 1
        return _line("result-ignored", one, now_s)

    def _again(self, one: _Wanted, now_s: float) -> bool:
        """Look for it once more, later; False if it was looked for often enough."""
        steps = _LOOKS_S + _LATER_S if one.doubtful else _LOOKS_S
        one.looks += 1
        while one.looks < len(steps):
            at_s = one.at_s + steps[one.looks]
            if at_s > now_s:
                self._push(one, at_s)
                return True
            one.looks += 1
        return False

    def _push(self, one: _Wanted, at_s: float) -> None:
        heapq.heappush(self._heap, (at_s, next(self._number), one))
        self.waiting = len(self._heap)


def _state(head: bytes | None, tail: bytes | None, since_s: float) -> _State:
    """Return the state of a result that begins and ends so; of one from before then, none."""
    if not head:
        return _State("")
    found, done_s = _STATUS.search(head), _done_s(tail)
    if not found:
        return _State(None)
    if done_s and done_s < since_s - _CLOCKS_S:
        return _State("")  # that of an earlier use of its ID
    return _State(found[1].decode(), bool(done_s))


def _done_s(tail: bytes | None) -> float:
    """Return when a result was stored, by the end of its text; 0 where that does not say so."""
    dates = _DONE.findall(tail or b"")
    try:
        done = datetime.fromisoformat(dates[-1].decode())
    except (IndexError, ValueError):
        return 0.0
    return done.replace(tzinfo=done.tzinfo or UTC).timestamp()


def _line(event: str, one: _Wanted, now_s: float) -> Line:
    return {
        "event.name": event,
        "ts": now_s,
        "service.name": SCHEDULER,
        "uuid": one.ended.task,
        "name": one.ended.name,
        "task.attempt": one.ended.attempt,
    }
