"""Numbered records, and who sent them: what was acknowledged is known number by number."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

from tests.e2e._otlp import Span, log, logs, span, spans

if TYPE_CHECKING:
    from pathlib import Path

ACKNOWLEDGED, BUSY = 200, 503

_PAD: Final = "0123456789abcdef" * 64


def dice(*seed: object) -> random.Random:
    """Return numbers by chance that are the same for the same *seed*."""
    return random.Random("/".join(map(str, seed)))  # noqa: S311 - for choice, not for secrets


@dataclass(slots=True)
class Ledger:
    """Which numbers were sent and which acknowledged, of one data folder.

    A number is a task ID: a letter for its way (span, log, beat, followed line), its sender, and
    how manieth it is of that sender.
    """

    sent: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    refused: Counter[int] = field(default_factory=Counter)

    def take(self, tasks: list[str], status: int) -> None:
        """Note what *tasks* were answered with."""
        if status == ACKNOWLEDGED:
            self.acknowledged.update(tasks)
        else:
            self.refused[status] += 1


@dataclass(frozen=True, slots=True)
class Pace:
    """How much a sender sends: records of a request, and seconds between two, at most."""

    records: int
    pause_s: float


BUSY_PACE: Final = Pace(20, 0.01)
LIGHT_PACE: Final = Pace(5, 0.02)


class Sender(threading.Thread):
    """One connection, without any retry: it sends until it is told to end or cannot any more."""

    def __init__(
        self, ledger: Ledger, urls: dict[str, str], name: str, chance: random.Random, pace: Pace
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._ledger = ledger
        self._urls = urls
        self._chance = chance
        self._pace = pace
        self._done = threading.Event()

    def run(self) -> None:
        """Send."""
        kind = self.name[0]
        to = urlsplit(self._urls["http" if kind == "b" else "otlp"])
        connection = HTTPConnection(to.hostname or "", to.port, timeout=30)
        at = 0
        try:
            while not self._done.is_set():
                many = 1 if kind == "b" else self._chance.randint(1, self._pace.records)
                tasks = [f"{self.name}-{number}" for number in range(at, at + many)]
                at += many
                path, body, said = _request(kind, tasks, self._chance)
                self._ledger.sent.update(tasks)
                connection.request("POST", path, body, {"Content-Type": said})
                answer = connection.getresponse()
                answer.read()
                self._ledger.take(tasks, answer.status)
                pause = 0.1 if answer.status == BUSY else self._pace.pause_s
                self._done.wait(self._chance.uniform(0.0, pause))
        except (OSError, HTTPException):
            return  # killed under us: what was not answered is not acknowledged
        finally:
            connection.close()

    def end(self) -> None:
        """Tell it to end after the request in hand."""
        self._done.set()


def _request(kind: str, tasks: list[str], chance: random.Random) -> tuple[str, bytes, str]:
    pad = _PAD[: chance.randint(0, 300)]
    protobuf = "application/x-protobuf"
    match kind:
        case "s":  # a message that was worked on: its attempt begins and ends
            records = [
                span("work", {"task.id": one, "pad": pad}, kind=Span.SPAN_KIND_CONSUMER)
                for one in tasks
            ]
            return "/v1/traces", spans(records, service__name="agent"), protobuf
        case "l":
            event = chance.choice(["task.dispatched", "task.recorded"])  # which closes it
            told = [
                log({"event.name": event, "task.state": "success", "task.id": one, "pad": pad})
                for one in tasks
            ]
            return "/v1/logs", logs(told, service__name="dispatcher"), protobuf
        case _:
            body = json.dumps({"task_id": tasks[0], "service": "agent", "message": pad})
            return "/api/v1/heartbeat", body.encode(), "application/json"


@dataclass(slots=True)
class Senders:
    """Several connections at once, while entered."""

    ledger: Ledger
    urls: dict[str, str]
    round: object
    chance: random.Random
    pace: Pace = BUSY_PACE
    kinds: str = "sslb"
    _all: list[Sender] = field(init=False, default_factory=list)

    def __enter__(self) -> Self:
        for at, kind in enumerate(self.kinds):
            own = dice(self.chance.random())
            name = f"{kind}{at}.{self.round}"
            self._all.append(Sender(self.ledger, self.urls, name, own, self.pace))
        for one in self._all:
            one.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Tell all to end, and wait for them."""
        for one in self._all:
            one.end()
        for one in self._all:
            one.join()


class Writer(threading.Thread):
    """Writes numbered lines to a file that it rotates, whatever happens to the sidecar."""

    def __init__(self, ledger: Ledger, folder: Path, chance: random.Random) -> None:
        super().__init__(name="lines", daemon=True)
        folder.mkdir(parents=True, exist_ok=True)
        self.last = ""
        self.rotations = 0
        self._ledger = ledger
        self._path = folder / "app.log"
        self._chance = chance
        self._done = threading.Event()

    @property
    def pattern(self) -> str:
        """What the sidecar is to follow: the file, and all that it was rotated to."""
        return f"{self._path}*"

    def run(self) -> None:
        """Write until told to end."""
        number = 0
        while not self._done.is_set():
            with self._path.open("ab", buffering=0) as file:
                for _ in range(self._chance.randint(1, 100)):
                    tasks = [f"f-{number + at}" for at in range(self._chance.randint(1, 8))]
                    number += len(tasks)
                    self._ledger.sent.update(tasks)
                    text = b"".join(map(_line, tasks))
                    cut = self._chance.randrange(len(text))  # in the middle of a line, mostly
                    file.write(text[:cut])
                    time.sleep(0)  # lets the follower read half a line
                    file.write(text[cut:])
                    self._ledger.acknowledged.update(tasks)  # a followed line is never refused
                    self.last = tasks[-1]
                    if self._done.wait(0.01):
                        break
            with suppress(FileNotFoundError):
                self._path.rename(f"{self._path}.{self.rotations}")
            self.rotations += 1

    def end(self) -> None:
        """Tell it to end, and wait."""
        self._done.set()
        self.join()


def _line(task: str) -> bytes:
    said = {"event.name": "task.recorded", "task.state": "success", "task.id": task}
    return json.dumps({**said, "service.name": "dispatcher", "ts": time.time()}).encode() + b"\n"
