"""What is kept of a run: plain numbers, and the first few of what went wrong, as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from bench.quality.score import Score, score

if TYPE_CHECKING:
    from bench.quality.world import Run

FORMAT: Final = 1
"""Version of the JSON file."""
_KEPT: Final = 20
"""So many of each detector's errors are kept whole; all are counted."""


def result(run: Run) -> dict[str, Any]:
    """Return *run* as it goes into the file."""
    return {
        "healthy": run.healthy,
        "tasks": run.tasks,
        "cells": run.size.cells,
        "simulated_s": run.size.lasts_s,
        "records": run.records,
        "took_s": run.took_s,
        "restarts": len(run.gaps),
        "detectors_failed": run.failed,
        "detectors": {name: _one(one, run) for name, one in sorted(score(run).items())},
    }


def _one(one: Score, run: Run) -> dict[str, Any]:
    wrong = {"false": one.false, "missed": one.missed, "late": one.slow, "told_loss": one.of_told}
    return {
        "interval_s": one.interval_s,
        "hold_s": run.hold_s[one.detector],
        "true": one.true,
        "found": one.found,
        "explained": one.explained,
        "precision": one.precision,
        "recall": one.recall,
        "delay_p50_s": one.delay_s(0.5),
        "delay_p99_s": one.delay_s(0.99),
        "delay_max_s": one.delay_s(1.0),
        "blind": one.blind,
        "blind_confirmed": one.blind_confirmed,
        "of_told_loss_unknown": one.unknown_of_told,
        "of_silent_loss": one.of_silent,
        "good": one.good and not (run.healthy and one.false),
        **{name: len(found) for name, found in wrong.items()},
        "errors": {name: [asdict(each) for each in found[:_KEPT]] for name, found in wrong.items()},
    }


def wrong(said: dict[str, Any]) -> list[str]:
    """Return a line for each detector of a run that errs, and each that failed while it ran."""
    lines = []
    for name, one in said["detectors"].items():
        if not one["good"]:
            lines.append(
                f"{name}: {one['false']} false, {one['missed']} missed of {one['true']},"
                f" {one['late']} late,"
                f" {one['told_loss']} confirmed of a loss that was told"
            )
    return lines + [f"{name} failed: {why}" for name, why in said["detectors_failed"].items()]
