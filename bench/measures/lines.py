"""JSON lines followed from a file by the real sidecar.

The file is written beside and then renamed to where the sidecar looks, whole: this is the speed
of catching up, finding the file included, until the relations have it all.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.sidecar import Probe, Sidecar
from bench.traffic import requests

if TYPE_CHECKING:
    from bench.results import Cases, Say
    from bench.scale import Scale

GROUP: Final = "ingest"
ORDER: Final = 3


def run(scale: Scale, say: Say) -> Cases:
    """Measure one file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "logs").mkdir()
        lines = size = 0
        with (folder / "lines").open("wb") as file:
            for one in requests("lines", scale.lines):
                size += file.write(one.body)
                lines += one.records
        follow = json.dumps([{"path": str(folder / "logs" / "*.jsonl")}])
        with Sidecar(folder, {"follow": follow}) as sidecar, Probe(sidecar.pid) as probe:
            began = time.monotonic()
            (folder / "lines").rename(folder / "logs" / "app.jsonl")
            took_s = sidecar.wait_applied(lines) - began
    say(f"lines: {lines / took_s:,.0f}/s applied")
    return {
        "one file": {
            "records": lines,
            "bytes_per_record": size / lines,
            "applied_per_s": lines / took_s,
            "cpu_s_per_million": probe.cpu_s / lines * 1e6,
            "peak_rss_mb": probe.peak_mb,
        }
    }
