"""Stores for tests: a real one in a folder, with a clock that the test turns."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from collector.pipeline import Pipeline
from collector.store.journal import Entry
from collector.store.limits import Limits
from collector.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from collector.rules import Rule

START_US = 1_790_000_000_000_000


class Turned:
    """A clock that stands until it is turned."""

    def __init__(self, at_us: int = START_US) -> None:
        self.at_us = at_us

    def __call__(self) -> int:
        """Return the time, in microseconds."""
        return self.at_us

    def on(self, seconds: float) -> None:
        """Turn it on by *seconds*."""
        self.at_us += round(seconds * 1e6)


def store(
    folder: Path, clock: Turned | None = None, *, rules: Sequence[Rule] = (), **limits: Any
) -> Store:
    """Return a started store on *folder*. It makes no checkpoint unless told to."""
    pipeline = Pipeline(
        namespace="test", sides={"oxr": "dispatcher", "agent": "agent"}, rules=rules
    )
    limits.setdefault("checkpoint_s", 1e9)
    limits.setdefault("min_free_bytes", 0)
    limits.setdefault("apply_s", 0)
    made = Store(folder, pipeline, clock or Turned(), Limits(**limits))
    made.start()
    return made


def line(event: str, at_us: int, **said: Any) -> bytes:
    """Return a JSON line in our native form; `_` in names stands for a dot."""
    named = {name.replace("_", ".", 1): value for name, value in said.items()}
    return json.dumps({"event.name": event, "ts": at_us / 1e6, **named}).encode() + b"\n"


def send(into: Store, *lines: bytes, position: tuple[str, str, int, str] | None = None) -> int:
    """Append *lines* as one chunk and wait until it is in the relations; return its ID."""
    entry = Entry("lines", into._clock(), b"".join(lines), {"source": "test.log"}, position)
    number = into.append(entry).result(10)
    assert into.wait_applied(number, 20)
    return number


def ask(of: Store, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of *query* over the hot relations."""
    reader = of.reader()
    try:
        return reader.execute(query).fetchall()
    finally:
        reader.close()


def crash(one: Store) -> None:
    """Let go of the folder as a kill would: nothing is written on the way out."""
    one._ingest.stop()
    one._apply.stop()
    one._checkpoints.close()
    one._db.close()
    one._journal.close()
    one._folder.close()
