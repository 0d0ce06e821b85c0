"""Celery's queues on a Redis broker: how long they are, what waits, what was handed out.

A queue is a list, and one more for each priority beside 0; `unacked_index` holds when what was
handed out was delivered, `unacked` the messages. Nothing here changes any of it. Names and forms
are those of kombu 5.7 (`kombu.transport.redis`).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from collector.receivers.celery import SEPARATOR
from collector.receivers.celery.brokers import ours_to_see
from collector.receivers.celery.words import SCHEDULER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import redis

    from collector.receivers.celery.words import Line, Words

_PRIORITY_STEPS: Final = (0, 3, 6, 9)
_BINDINGS: Final = "_kombu.binding."
_QUEUES_MAX: Final = 200
_FIND_S: Final = 60.0
_HELD_S: Final = 30.0
"""What is held so long is looked at."""

_HELD_MAX: Final = 100
_TOLD_MAX: Final = 10_000
_STILL: Final = 2
"""So many looks at an unmoved queue beside idle workers, and nobody takes from it."""


@dataclass(slots=True)
class _Head:
    """What is next to be taken from a queue, since when, and how often it was seen there."""

    task: str
    since_s: float
    looks: int = 1


class Queues:
    """Looks at the queues of the broker that *client* is connected to.

    *names* are the queues; without any, all that the broker knows of. Raises `redis.RedisError`.
    """

    def __init__(
        self,
        client: redis.Redis,
        words: Words,
        *,
        names: Sequence[str] = (),
        visibility_s: float,
        key_prefix: str = "",
        separator: str = SEPARATOR,
        priorities: Sequence[int] = (),
    ) -> None:
        self._separator = separator
        self._priorities = [one for one in priorities or _PRIORITY_STEPS if one]
        self._client: Any = client  # its types say that every answer may be a promise
        self._words = words
        self._named = list(names)
        self._visibility_s = visibility_s
        self._prefix = key_prefix
        self._found: tuple[float, list[str]] = (0.0, [])
        self._heads: dict[str, _Head] = {}
        self._told: OrderedDict[bytes, Line | None] = OrderedDict()
        """What was told to be handed out; None where it is known to be acknowledged late."""
        self._next_s = 0.0

    def look(self, now_s: float, heard_since_s: float) -> list[Line]:
        """Return a sample of each queue, and what was handed out long ago, as lines.

        What was handed out before *heard_since_s* is not told: a worker's word of it would have
        been missed.
        """
        names = self._names(now_s)
        alive = self._words.alive()
        held = self._client.zcard(self._key("unacked_index"))
        lines: list[Line] = []
        for name in names:
            line: Line = {
                "event.name": "queue.sampled",
                "ts": now_s,
                "service.name": SCHEDULER,
                "queue.name": name,
                "queue.visibility_timeout_s": self._visibility_s,
            }
            line["queue.depth"], head = self._depth(name)
            if len(names) == 1:
                line["queue.in_flight"] = held
            age_s, looks = self._age(name, head, now_s)
            if age_s is not None:
                line["queue.oldest_age_s"] = age_s
            # where no worker was ever heard to beat, nobody knows whether there is one
            idle = all(idle for _, idle in alive) if alive else self._words.beaten
            if looks > _STILL and idle:
                line["queue.consumers"] = 0
            elif alive and looks == 1:
                line["queue.consumers"] = len(alive)
            lines.append(line)
        return lines + list(self._held(heard_since_s, now_s))

    def _key(self, name: str) -> str:
        return self._prefix + name

    def _names(self, now_s: float) -> list[str]:
        if self._named:
            return self._named
        at_s, known = self._found
        if known and now_s - at_s < _FIND_S:
            return known
        found: set[str] = set()
        for key in self._client.scan_iter(match=f"{self._key(_BINDINGS)}*", count=500):
            exchange = key.decode(errors="replace").removeprefix(self._key(_BINDINGS))
            if ours_to_see(exchange):
                bound = (one.decode(errors="replace") for one in self._client.smembers(key))
                found |= {one.split(self._separator)[-1] for one in bound}
        names = sorted(one for one in found if ours_to_see(one))[:_QUEUES_MAX]
        self._found = (now_s, names)
        return names

    def _depth(self, name: str) -> tuple[int, dict[str, Any] | None]:
        """Return how many wait in the queue, and what is next to be taken from it."""
        key = self._key(name)
        keys = [key, *(f"{key}{self._separator}{one}" for one in self._priorities)]
        with self._client.pipeline(transaction=False) as pipe:
            for one in keys:
                pipe.llen(one)
                pipe.lindex(one, -1)
            answers = pipe.execute()
        depths, heads = answers[::2], answers[1::2]
        first = next((one for one in heads if one is not None), None)
        return sum(depths), _message(first)

    def _age(
        self, name: str, head: dict[str, Any] | None, now_s: float
    ) -> tuple[float | None, int]:
        """Return how old the next one is at least, and how often it was seen as the next one."""
        task = _header(head, "id")
        if head is None or task is None:
            self._heads.pop(name, None)
            return None, 1
        known = self._heads.get(name)
        if known is not None and known.task == task:
            known.looks += 1
        else:
            known = self._heads[name] = _Head(task, now_s)
        since_s = self._words.sent_s(task) or known.since_s
        return max(0.0, now_s - since_s), known.looks

    def _held(self, since_s: float, now_s: float) -> Iterator[Line]:
        """Yield what was handed out since then, and is held for long: once.

        Once more when its run has begun by then: it is acknowledged late.
        """
        index, store = self._key("unacked_index"), self._key("unacked")
        upto_s = now_s - min(_HELD_S, self._visibility_s / 2)
        tags = self._client.zrangebyscore(
            index, max(since_s + 1, self._next_s), upto_s, start=0, num=_HELD_MAX, withscores=True
        )
        # many may be held for their ETA: the next look goes on from here
        self._next_s = tags[-1][1] if len(tags) == _HELD_MAX else 0.0
        new = [(tag, score) for tag, score in tags if tag not in self._told]
        if new:
            messages = self._client.hmget(store, [tag for tag, _ in new])
            for (tag, score), message in zip(new, messages, strict=True):
                line = self._told[tag] = _unacknowledged(message, score)
                if line is not None:
                    yield line
        for tag, _ in tags:
            line = self._told.get(tag)
            if line is not None and self._words.held(line["uuid"], line["name"]):
                self._told[tag] = None
                yield line | {"acks_early": False}
        while len(self._told) > _TOLD_MAX:
            self._told.popitem(last=False)


def _unacknowledged(held: bytes | None, since_s: float) -> Line | None:
    """Return what is said of a message that is *held*; None where it is none of a task's."""
    try:
        message, exchange, routing_key = orjson.loads(held or b"null")
    except (ValueError, TypeError):
        return None
    task = _header(message, "id")
    if task is None or not ours_to_see(str(exchange)):
        return None
    headers = message["headers"]
    retries = headers.get("retries")
    return {
        "event.name": "message-unacknowledged",
        "ts": since_s,
        "service.name": SCHEDULER,
        "uuid": task,
        "name": headers.get("task"),
        "task.attempt": (retries if isinstance(retries, int) else 0) + 1,
        "queue": str(routing_key),
        "eta": headers.get("eta"),
    }


def _message(text: bytes | None) -> dict[str, Any] | None:
    try:
        found = orjson.loads(text or b"null")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _header(message: dict[str, Any] | None, name: str) -> str | None:
    headers = message.get("headers") if isinstance(message, dict) else None
    value = headers.get(name) if isinstance(headers, dict) else None
    return value if isinstance(value, str) else None
