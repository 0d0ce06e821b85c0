"""A soak: a steady, moderate load for as long as one likes, with little history kept.

What must not grow, memory and files, is looked at every few seconds.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import psutil

from tests.crash._launch import ROOT, Sidecar, Zygote
from tests.crash._plot import plot
from tests.crash._traffic import Ledger, Pace, Senders, Writer, dice

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEPT_BYTES: Final = 8 << 20
PICTURE: Final = ROOT / "docs" / "images" / "soak.svg"

_PACE: Final = Pace(100, 0.5)

_SETTINGS: Final = {
    "evaluate_every_s": 5,
    "follow_every_s": 0.25,
    "store": {"checkpoint_every_s": 10, "segment_rows": 50_000, "settle_s": 60},
    "retention": {"max_bytes": KEPT_BYTES},
    "abandon_after_s": 60,
}
"""As in use, but for what would take hours to be full: here it is full within minutes."""

_EVERY_S: Final = 5.0


def run(folder: Path, *, minutes: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Load a sidecar below *folder* for *minutes*; return the samples, and what they come to."""
    ledger, samples = Ledger(), []
    writer = Writer(ledger, folder / "logs", dice("soak"))
    follow = [{"path": writer.pattern, "service": "dispatcher"}]
    with Zygote() as zygote, Sidecar(zygote, folder, {**_SETTINGS, "follow": follow}) as sidecar:
        sidecar.start(cold=True)
        writer.start()
        begun = time.monotonic()
        try:
            with Senders(ledger, sidecar.urls, "soak", dice("soak"), pace=_PACE):
                while time.monotonic() - begun < minutes * 60:
                    time.sleep(_EVERY_S)  # the load is what is waited for
                    samples.append(_sample(sidecar, ledger, time.monotonic() - begun))
                    _forget_files(writer, folder)
                    if len(samples) % 12 == 0:
                        say(_line(samples[-1]))
        finally:
            writer.end()
        left_out = int(sidecar.metric("zombiewatch_records_left_out_total"))
        applied = int(sidecar.metric("zombiewatch_signals_total"))
        sidecar.kill()  # what is looked at has been; how a stop goes is tried elsewhere
    return {
        "minutes": minutes,
        "records": samples[-1]["records"],
        "per_s": samples[-1]["records"] / samples[-1]["at_s"],
        "refused": sum(ledger.refused.values()),
        "left_out": left_out,
        "applied": applied,
        "kept_mb": KEPT_BYTES / 1e6,
        "samples": samples,
    }


def _sample(sidecar: Sidecar, ledger: Ledger, at_s: float) -> dict[str, float]:
    def size(*patterns: str) -> float:
        paths = [path for pattern in patterns for path in sidecar.data.glob(pattern)]
        total = 0
        for path in paths:
            try:
                total += path.stat().st_size
            except FileNotFoundError:
                continue  # swept meanwhile
        return total / 1e6

    return {
        "at_s": round(at_s, 1),
        "records": len(ledger.acknowledged),
        "memory_mb": round(psutil.Process(sidecar.pid).memory_info().rss / 1e6, 1),
        "journal_mb": round(size("journal.sqlite*"), 2),
        "segments_mb": round(size("segments/*"), 2),
        "snapshots_mb": round(size("snapshots/*"), 2),
        "findings_mb": round(size("findings.sqlite*"), 2),
        "files": len(list(sidecar.data.rglob("*"))),
        "threads": psutil.Process(sidecar.pid).num_threads(),
    }


def _forget_files(writer: Writer, folder: Path) -> None:
    """Remove what was rotated long ago, as everybody does who rotates."""
    for path in folder.glob("logs/app.log.*"):
        if int(path.suffix[1:]) < writer.rotations - 20:
            path.unlink()


def _line(sample: dict[str, float]) -> str:
    return f"{sample['at_s'] / 60:.0f} min: " + ", ".join(
        f"{name} {value:g}" for name, value in sample.items() if name != "at_s"
    )


def picture(result: dict[str, Any]) -> str:
    """Return the samples of a soak as an SVG."""
    minutes = [one["at_s"] / 60 for one in result["samples"]]
    names = {
        "memory (MB)": "memory_mb",
        "history (MB)": "segments_mb",
        "snapshots (MB)": "snapshots_mb",
        "journal (MB)": "journal_mb",
        "files": "files",
    }
    series = {title: [one[name] for one in result["samples"]] for title, name in names.items()}
    return plot(minutes, series, "minutes")
