"""The queues in Redis: a stream each, with one consumer group, and what goes round them."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import ResponseError

PROBE: Final = "probe"
"""What a message is called that is there only to see whether anybody takes it."""

_GROUP: Final = "workers"
_DELAYED: Final = "delayed"
_DEAD: Final = "dead-letters"
KEPT_S: Final = 60.0
"""So long who took a message may keep it; then he is given up, and it is anyone's again."""

_ASKS_WITHIN_MS: Final = 5_000
"""A consumer with nothing in hand asks again well within this time; else it is none."""


def retries_of(queue: str) -> str:
    """Return the name of the queue of second and later tries, which is taken from first."""
    return f"{queue}-retry"


@dataclass(frozen=True, slots=True)
class Message:
    """What a queue holds. *quantity* is as somebody typed it."""

    id: str
    kind: str
    queue: str
    sku: str = ""
    quantity: str = ""
    attempt: int = 1

    @classmethod
    def of(cls, said: dict[str, Any]) -> Message:
        """Return the message that an entry says."""
        return cls(**{**said, "attempt": int(said["attempt"])})

    def again(self) -> Message:
        """Return the message as its next try."""
        return replace(self, attempt=self.attempt + 1)


@dataclass(frozen=True, slots=True)
class Taken:
    """A message in hand: it stays the broker's until it is said to be done."""

    message: Message
    stream: str
    entry: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A queue at one moment: messages, seconds, consumers that ask for work or have some."""

    waiting: int
    in_hand: int
    oldest_s: float
    consumers: int
    put: int
    done: int


class Broker:
    """A connection to the queues."""

    def __init__(self, url: str) -> None:
        # redis-py 8, with a time-out of its own, may swallow the cancellation of who waits
        self._redis = Redis.from_url(url, decode_responses=True, socket_timeout=None)

    async def prepare(self, queue: str) -> None:
        """Make *queue*, and that of its retries, unless they are there."""
        for stream in (queue, retries_of(queue)):
            # Whoever comes first makes it; for the others it exists.
            with suppress(ResponseError):
                await self._redis.xgroup_create(stream, _GROUP, id="0", mkstream=True)

    async def put(self, message: Message, stream: str | None = None) -> None:
        """Put *message* at the end of its queue, or of *stream*."""
        told: dict[Any, Any] = asdict(message)
        await self._redis.xadd(stream or message.queue, told)

    async def take(self, queue: str, consumer: str, wait_s: float) -> Taken | None:
        """Return the next message of *queue*, retries first; None where none came in *wait_s*."""
        return await self._read(retries_of(queue), consumer, None) or await self._read(
            queue, consumer, round(wait_s * 1000)
        )

    async def _read(self, stream: str, consumer: str, wait_ms: int | None) -> Taken | None:
        answer: Any = await self._redis.xreadgroup(
            _GROUP, consumer, {stream: ">"}, count=1, block=wait_ms
        )
        for _, entries in _pairs(answer):
            for entry, said in entries:
                return Taken(Message.of(said), stream, entry)
        return None

    async def done(self, taken: Taken) -> None:
        """Give *taken* out of hand for good."""
        async with self._redis.pipeline() as pipe:
            pipe.xack(taken.stream, _GROUP, taken.entry)
            pipe.xdel(taken.stream, taken.entry)
            await pipe.execute()

    async def later(self, message: Message, wait_s: float) -> None:
        """Keep *message* aside for *wait_s*."""
        await self._redis.zadd(_DELAYED, {json.dumps(asdict(message)): time.time() + wait_s})

    async def due(self) -> list[Message]:
        """Return the messages whose time aside is over; they are nobody's then."""
        found: Any = await self._redis.zrangebyscore(_DELAYED, 0, time.time())
        if found:
            await self._redis.zrem(_DELAYED, *found)
        return [Message(**json.loads(one)) for one in found]

    async def take_back(self, queue: str) -> list[Message]:
        """Return the messages that were in hand for too long; they are nobody's then."""
        found = []
        for stream in (queue, retries_of(queue)):
            old: Any = await self._redis.xpending_range(
                stream, _GROUP, "-", "+", count=100, idle=round(KEPT_S * 1000)
            )
            for entry in (one["message_id"] for one in old):
                entries: Any = await self._redis.xrange(stream, entry, entry)
                for _, said in entries:  # none where it was done just now
                    message = Message.of(said)
                    await self.done(Taken(message, stream, entry))
                    found.append(message)
        return found

    async def bury(self, message: Message, reason: str) -> None:
        """Put *message* among the dead letters, with the reason."""
        told: dict[Any, Any] = {**asdict(message), "reason": reason}
        await self._redis.xadd(_DEAD, told)

    async def look(self, queue: str) -> Sample:
        """Return how *queue* is now."""
        async with self._redis.pipeline() as pipe:
            pipe.xinfo_stream(queue)
            pipe.xinfo_groups(queue)
            pipe.xinfo_consumers(queue, _GROUP)
            stream, [group], consumers = await pipe.execute()
        after = f"({group['last-delivered-id']}"
        next_up: Any = await self._redis.xrange(queue, after, count=1)
        put_ms = int(next_up[0][0].partition("-")[0]) if next_up else None
        return Sample(
            waiting=stream["length"] - group["pending"],
            in_hand=group["pending"],
            oldest_s=max(0.0, time.time() - put_ms / 1000) if put_ms else 0.0,
            consumers=sum(one["pending"] > 0 or one["idle"] < _ASKS_WITHIN_MS for one in consumers),
            put=stream["entries-added"],
            done=stream["entries-added"] - stream["length"],
        )

    async def close(self) -> None:
        """Close the connection."""
        await self._redis.aclose()


def _pairs(answer: Any) -> Any:  # noqa: ANN401 - a list in the older protocol, a mapping in the newer
    return answer.items() if isinstance(answer, dict) else answer or ()
