"""Starting with a long history, then idling.

The data folder holds signals and settled attempts in segments that together have so many bytes
(`bench/past.py`), an eighth of it attempts. Texts and values of ten attributes hold random words,
so that they do not pack into nothing. Hot are as many attempts as in the smallest case of the
measurement of detectors, without history too.
*Ready* is as for an empty folder; what was written a moment ago is still in the system's cache.
*First page* is the page's first view, asked for as soon as the sidecar is ready; *page* the median
of several after it.
When idle the sidecar also reads each segment whole, one each second, to find damage early.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench import population
from bench.past import Past
from bench.sidecar import Probe, Sidecar
from model.signals import SEPARATOR
from model.units import HOUR_US
from zombiewatch._direct import opened

if TYPE_CHECKING:
    from bench.results import Cases, Say
    from bench.scale import Scale

GROUP: Final = "start"
ORDER: Final = 7.5

_TEMPLATE: Final = 50_000
"""Settled attempts that are really folded, of which, and of whose signals, the rest is made."""

_BYTES_PER_ATTEMPT: Final = 1000
"""An attempt takes some 125 B, so that an eighth of history is attempts."""

_SETTLE_S: Final = 1.0
_PATIENCE_S: Final = 30.0
_VIEWS: Final = 8

_KEYS: Final = (
    "http.request.method", "http.response.status_code", "url.path", "user_agent.original",
    "server.port", "network.peer.address", "thread.id", "code.function.name", "session.id",
    "db.response.returned_rows",
)  # fmt: skip


class HistoryError(Exception):
    """The sidecar did not take the history for its own; the message says what is missing."""


def case(size: int) -> str:
    """Return the name of a case, as tables show it."""
    return f"{size / 1e9:g} GB of history"


def run(scale: Scale, say: Say) -> Cases:
    """Measure start-ups without history, and with all of it."""
    cases: Cases = {}
    opened, closed = scale.attempts[0]
    least = max(1, min(_TEMPLATE, scale.history_bytes // _BYTES_PER_ATTEMPT // 10))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        past = Past(folder / "data")
        past.hold(
            population.closed(0, least, past.now_us - 3 * HOUR_US),
            chain(
                population.closed(least, closed, past.now_us),
                population.opened(least + closed, opened, past.now_us),
            ),
        )
        for size in (0, scale.history_bytes):
            past.lengthen("attempts", rows=size // _BYTES_PER_ATTEMPT)
            past.lengthen("signals", size=size, more=_told())
            held, files = past.size, len(past.manifest().segments)
            say(f"history: {held / 1e9:.2f} GB in {files} files")
            figures = _started(folder, scale)
            if past.size != held:
                msg = f"of {held} bytes in history, the sidecar kept {past.size}"
                raise HistoryError(msg)
            cases[case(size)] = {"files": files, "signals": past.rows("signals"), **figures}
            say(
                f"history: {case(size)}: ready after {figures['ready_s']:.2f} s,"
                f" {figures['idle_rss_mb']:.0f} MB when idle"
            )
    return cases


def _started(folder: Path, scale: Scale) -> dict[str, float]:
    """Measure start-ups on *folder*, and idle in the last one."""
    ready = []
    for _ in range(scale.starts - 1):
        with Sidecar(folder) as sidecar:
            ready.append(sidecar.ready_s)
    with Sidecar(folder) as sidecar:
        ready.append(sidecar.ready_s)
        first_ms, *later_ms = (_page_ms(sidecar.urls["http"]) for _ in range(_VIEWS))
        time.sleep(min(_SETTLE_S, scale.idle_s))  # what a start sets off is not idling
        begun = time.monotonic()
        with Probe(sidecar.pid) as probe:
            time.sleep(scale.idle_s)  # idling is what is measured
            sidecar.applied()
        idled_s = time.monotonic() - begun
    return {
        "ready_s": statistics.median(ready),
        "first_page_ms": first_ms,
        "page_ms": statistics.median(later_ms),
        "idle_cpu_percent": 100 * probe.cpu_s / idled_s,
        "idle_rss_mb": probe.peak_mb,
    }


def _page_ms(url: str) -> float:
    begun = time.perf_counter()
    with opened(f"{url}/", _PATIENCE_S) as answer:
        answer.read()
    return 1000 * (time.perf_counter() - begun)


def _told() -> dict[str, str]:
    """Return the texts and attributes of signals, as SQL: column → expression."""
    word, number = "substr(md5(CAST(random() AS VARCHAR)), 1, 12)", "CAST(random() * 1e4 AS INT)"
    values = (
        "'POST'", "200 + seq % 5", "'/api/v1/tasks/' || task", "'worker-client/4.2.1 (linux)'",
        "8080", f"'10.0.' || {number} % 256 || '.' || seq % 256", number, "'runner.advance'", word,
        f"{number} % 50",
    )  # fmt: skip
    return {
        "span_id": f"coalesce(span_id, {word})",
        "body": f"'request ' || {word} || ' handled in ' || {number} || ' us by ' || service",
        "attr_keys": f"'{SEPARATOR.join(_KEYS)}'",
        "attr_values": f" || '{SEPARATOR}' || ".join(f"({value})" for value in values),
    }
