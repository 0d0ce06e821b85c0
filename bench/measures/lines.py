"""JSON lines followed from files by the real sidecar.

The files are written beside, then their folder is renamed to where the sidecar looks: this is the
speed of catching up, finding the files included, until the relations have it all. Of many files,
each has as many lines as the others.
"""

from __future__ import annotations

import json
import tempfile
import time
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.sidecar import Probe, Sidecar
from bench.traffic import requests

if TYPE_CHECKING:
    from bench.results import Cases, Say
    from bench.scale import Scale

GROUP: Final = "ingest"
ORDER: Final = 3


def case(files: int) -> str:
    """Return the name of a case, as tables show it."""
    return "one file" if files == 1 else f"{files} files"


def run(scale: Scale, say: Say) -> Cases:
    """Measure as many files as connections elsewhere."""
    cases: Cases = {}
    for files in scale.span_connections:
        cases[case(files)] = _one(scale.lines, files)
        say(f"lines, {case(files)}: {cases[case(files)]['applied_per_s']:,.0f}/s applied")
    return cases


def _one(least: int, files: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "made").mkdir()
        lines = size = 0
        with ExitStack() as stack:
            made = [
                stack.enter_context((folder / "made" / f"{number}.jsonl").open("wb"))
                for number in range(files)
            ]
            for file, one in zip(cycle(made), requests("lines", least), strict=False):
                size += file.write(one.body)
                lines += one.records
        follow = json.dumps([{"path": str(folder / "logs" / "*.jsonl")}])
        with Sidecar(folder, {"follow": follow}) as sidecar, Probe(sidecar.pid) as probe:
            began = time.monotonic()
            (folder / "made").rename(folder / "logs")
            took_s = sidecar.wait_applied(lines) - began
    return {
        "records": lines,
        "bytes_per_record": size / lines,
        "applied_per_s": lines / took_s,
        "cpu_s_per_million": probe.cpu_s / lines * 1e6,
        "peak_rss_mb": probe.peak_mb,
    }
