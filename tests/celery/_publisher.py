"""Publishes events on a broker in kombu's form, as fast as told: run as a process.

    python -m tests.celery._publisher URL EVENTS_PER_S SECONDS

Says how many it has sent.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

import redis
from kombu.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Publish = Callable[[Iterable[dict[str, Any]]], None]

_KINDS = ("task-sent", "task-received", "task-started", "task-succeeded")
_AT_ONCE = 400
_TOGETHER = 20


def batched(events: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    """Yield *events* in lists of *size* at most."""
    rest = iter(events)
    while batch := list(islice(rest, size)):
        yield batch


def message(event: dict[str, Any]) -> str:
    """Return *event* as kombu would publish it."""
    body = base64.b64encode(json.dumps(event).encode()).decode()
    return json.dumps(
        {
            "body": body,
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"hostname": event["hostname"]},
            "properties": {"delivery_mode": 1, "priority": 0, "body_encoding": "base64"},
        }
    )


def event(number: int) -> dict[str, Any]:
    """Return the event of that *number*: four of each task, eight workers."""
    task, kind = number // 4, _KINDS[number % 4]
    said: dict[str, Any] = {
        "type": kind,
        "uuid": f"storm-{task}",
        "hostname": f"w{task % 8}@host",
        "pid": 100 + task % 8,
        "timestamp": time.time(),
        "utcoffset": 0,
        "clock": number,
    }
    if kind in {"task-sent", "task-received"}:
        said |= {"name": "app.nap", "args": "()", "kwargs": "{}", "retries": 0, "eta": None}
        said |= {"queue": "celery", "root_id": said["uuid"], "parent_id": None}
    return said


@contextmanager
def _on_redis(url: str) -> Iterator[Publish]:
    def publish(events: Iterable[dict[str, Any]]) -> None:
        with client.pipeline(transaction=False) as pipe:
            for said in events:
                pipe.publish(f"/0.celeryev/{said['type'].replace('-', '.')}", message(said))
            pipe.execute()

    with redis.Redis.from_url(url) as client:
        yield publish


def make_exchange(url: str) -> None:
    """Make the exchange of events, as the first worker at a RabbitMQ does."""
    with Connection(url) as one:
        one.channel().exchange_declare("celeryev", "topic", durable=True, auto_delete=False)


@contextmanager
def on_rabbitmq(url: str) -> Iterator[Publish]:
    """Give what publishes events there."""

    def publish(events: Iterable[dict[str, Any]]) -> None:
        # many at once, as workers send them
        for batch in batched(events, _TOGETHER):
            one = channel.prepare_message(json.dumps(batch), 0, "application/json", "utf-8", {}, {})
            channel.basic_publish(one, "celeryev", "task.multi")

    with Connection(url) as connection:
        channel: Any = connection.channel()
        yield publish


def main(url: str, rate: int, seconds: float) -> int:
    """Publish *rate* events a second for so long; return how many."""
    number, begun = 0, time.monotonic()
    with (on_rabbitmq if url.startswith("amqp") else _on_redis)(url) as publish:
        while (passed := time.monotonic() - begun) < seconds:
            upto = min(int(passed * rate), number + _AT_ONCE)
            publish(event(one) for one in range(number, upto))
            number = upto
            time.sleep(0.005)  # the pace of an event loop
    return number


if __name__ == "__main__":
    sys.stdout.write(str(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))
