"""Starting on an empty folder, then idling.

From the command to the address being there (ports open, ready), the median of several. Then CPU
and memory with nothing to do, evaluations at their default interval of 5 s included.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.sidecar import Probe, Sidecar

if TYPE_CHECKING:
    from bench.results import Cases, Say
    from bench.scale import Scale

GROUP: Final = "start"
ORDER: Final = 7

_SETTLE_S: Final = 1.0


def run(scale: Scale, say: Say) -> Cases:
    """Measure start-ups, and idle in the last one."""
    ready = []
    for _ in range(scale.starts - 1):
        with tempfile.TemporaryDirectory() as folder, Sidecar(Path(folder)) as sidecar:
            ready.append(sidecar.ready_s)
    with tempfile.TemporaryDirectory() as folder, Sidecar(Path(folder)) as sidecar:
        ready.append(sidecar.ready_s)
        time.sleep(min(_SETTLE_S, scale.idle_s))  # what a start sets off is not idling
        begun = time.monotonic()
        with Probe(sidecar.pid) as probe:
            time.sleep(scale.idle_s)  # idling is what is measured
            sidecar.applied()
        idled_s = time.monotonic() - begun
    ready_s = statistics.median(ready)
    say(f"start: ready after {ready_s:.2f} s, {probe.peak_mb:.0f} MB when idle")
    return {
        "empty folder": {
            "ready_s": ready_s,
            "idle_cpu_percent": 100 * probe.cpu_s / idled_s,
            "idle_rss_mb": probe.peak_mb,
        }
    }
