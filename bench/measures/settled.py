"""All detectors, and late words, with many settled attempts in history.

A data folder with so many settled attempts in segments (`bench/past.py`), opened by the real
store. Hot are as many as in the largest case of the measurement of detectors; *total* and *first*
are as there. Then what could grow with history: looking keys up in it. *Lookup* is that alone, of
a thousand keys that are *unknown*, and of *one* and of a *thousand* that are there, side by side or
*spread* over the whole of a file of half a million. Keys look random, so that no file can be ruled
out by its least and greatest key. *Indexed* is the time that the index took for each row.
*Applied* is from handing a thousand lines to the store until they are in
the relations: of *new* tasks that begin as they should, and of tasks of which the *agent* is heard
first, which have to be looked up. The files were just written, so they are in the system's cache.
"""

from __future__ import annotations

import json
import tempfile
import time
from hashlib import md5
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from bench import population
from bench.measures._evaluated import evaluated
from bench.past import MEMORY, Past
from collector.pipeline import Pipeline
from collector.store.journal import Entry
from collector.store.limits import Limits
from collector.store.store import Store
from model.relations import ATTEMPTS
from model.units import HOUR_US, SECOND_US

if TYPE_CHECKING:
    from bench.results import Cases, Say
    from bench.scale import Scale

GROUP: Final = "eval"
ORDER: Final = 6.5

_TEMPLATE: Final = 50_000
"""Settled attempts that are really folded, of which the rest are made."""

_MANY: Final = 1000
_PATIENCE_S: Final = 900.0


class SettledError(Exception):
    """The store did not do what is to be measured; the message says what."""


def case(settled: int) -> str:
    """Return the name of a case, as tables show it."""
    return f"{settled:,} settled"


def run(scale: Scale, say: Say) -> Cases:
    """Measure each number of settled attempts of *scale*; one history that grows."""
    cases: Cases = {}
    with tempfile.TemporaryDirectory() as folder:
        past = Past(Path(folder))
        now, (opened, closed) = past.now_us, scale.attempts[-1]
        least = max(1, min(_TEMPLATE, scale.settled[0] // 10))
        say(f"settled: building {opened:,} open and {closed:,} closed attempts")
        past.hold(
            population.closed(0, least, now - 3 * HOUR_US),
            chain(
                population.closed(least, closed, now),
                population.opened(least + closed, opened, now),
            ),
        )
        for settled in scale.settled:
            begun, before = time.perf_counter(), past.rows("attempts")
            past.lengthen("attempts", rows=settled)
            took_s, made = time.perf_counter() - begun, past.rows("attempts") - before
            say(f"settled: {made:,} more in {took_s:.0f} s, {past.size / 1e9:.1f} GB in all")
            figures = _one(past, Path(folder), scale.evaluations)
            figures["indexed_us"] = 1e6 * past.indexed_s / made
            figures["index_bytes_per_row"] = past.index_size / past.rows("attempts")
            cases[case(settled)] = figures
            say(
                f"settled: {settled:,}: {figures['total_ms']:.0f} ms, a thousand looked up in"
                f" {figures['lookup_thousand_ms']:,.0f} ms, unknown ones in"
                f" {figures['lookup_unknown_ms']:,.1f} ms"
            )
    return cases


def _one(past: Past, folder: Path, times: int) -> dict[str, float]:
    """Measure the store on *folder*. Its clock stands: no checkpoint comes in between."""
    limits = Limits(memory_bytes=MEMORY, apply_s=0.0, checkpoint_s=1e9, min_free_bytes=0)
    pipeline = Pipeline(namespace="bench", sides={}, rules=())
    history_mb, settled = past.size / 1e6, past.rows("attempts")
    begun = time.perf_counter()
    store = Store(folder, pipeline, lambda: past.now_us, limits)
    try:
        store.start()
        opened_s = time.perf_counter() - begun
        judged = evaluated(store.reader(), past.now_us, times)
        return {
            **{name: judged[name] for name in ("total_ms", "first_ms", "findings")},
            "lookup_unknown_ms": _looked_up(store, _unheard_of(f"x-{settled}"), 0),
            "lookup_one_ms": _looked_up(store, past.tasks(1)),
            "lookup_thousand_ms": _looked_up(store, past.tasks(_MANY)),
            "lookup_spread_ms": _looked_up(store, past.tasks(_MANY, spread=True)),
            "applied_new_ms": _applied(store, past.now_us, "dispatched", f"new-{settled}"),
            "applied_agent_ms": _applied(store, past.now_us, "started", f"agent-{settled}"),
            "opened_s": opened_s,
            "history_mb": history_mb,
        }
    finally:
        store.close()


def _unheard_of(prefix: str) -> list[str]:
    """Return names of tasks like those of history, of none of them."""
    tasks = (md5(f"{prefix}-{number}".encode()).hexdigest() for number in range(_MANY))  # noqa: S324
    return [f"task-{task}" for task in tasks]


def _looked_up(store: Store, tasks: list[str], known: int | None = None) -> float:
    """Return how long it takes to look *tasks* up in history, which has *known* (or all): ms."""
    keys = pa.table({
        "namespace": ["bench"] * len(tasks), "task": tasks,
        "attempt": pa.array([1] * len(tasks), pa.int32()),
    })  # fmt: skip
    begun = time.perf_counter()
    rows = store.history.lookup(ATTEMPTS, keys).num_rows
    took_ms = 1000 * (time.perf_counter() - begun)
    known = len(tasks) if known is None else known
    if rows != known:
        msg = f"history has {known} attempts, and {rows} of them were found"
        raise SettledError(msg)
    return took_ms


def _applied(store: Store, now_us: int, event: str, prefix: str) -> float:
    """Return how long lines of tasks never heard of take to be in the relations: milliseconds."""
    side, service = ("agent", "worker") if event == "started" else ("dispatcher", "control-plane")
    said = {
        "event.name": f"task.{event}", "ts": now_us / SECOND_US, "task.name": "sync_0",
        "zombiewatch.side": side, "service.name": service, "service.instance.id": f"{service}-0",
    }  # fmt: skip
    lines = [json.dumps({**said, "task.id": task}) for task in _unheard_of(prefix)]
    body = "".join(line + "\n" for line in lines).encode()
    begun = time.perf_counter()
    number = store.append(Entry("lines", now_us, body, {"source": "bench"})).result(_PATIENCE_S)
    if not store.wait_applied(number, _PATIENCE_S):
        msg = f"{_MANY} lines were not applied within {_PATIENCE_S:.0f} s"
        raise SettledError(msg)
    return 1000 * (time.perf_counter() - begun)
