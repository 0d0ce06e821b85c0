"""The tables and the page, made from the JSON file alone: no number is typed by hand."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from bench.quality.noise import Noise
from bench.report import markdown, number, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHOWN: Final = 3
"""Errors of each kind of each detector that the page shows."""


def text(said: dict[str, Any], *, errors: int = _SHOWN) -> str:
    """Return the results as tables for a terminal."""
    return "\n".join(_blocks(said, plain, errors))


def page(said: dict[str, Any]) -> str:
    """Return `docs/quality.md`."""
    parts = [
        "# Quality: how often the detectors are right",
        "*Made by `make quality` (bench/quality/report.py); do not edit.*",
        _INTRODUCTION.format(
            began=said["began"], seed=said["seed"], noise=_noise(), zombiewatch=said["version"]
        ),
        *_blocks(said, markdown, _SHOWN),
        _NOTES,
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


_INTRODUCTION: Final = """\
A simulator plays many small schedulers, breaks them on purpose in every way that a detector knows,
and writes down what is then true. What they say goes through noise into a real sidecar: its
pipeline, store and judge are the product's own, only the clock is simulated. Then what was
confirmed is compared with what was true. Zombiewatch {zombiewatch}, run of {began}, seed {seed}.

The noise, in every run:

| what | how much |
|---|---|
{noise}
| restarts | the sidecar is closed and opened again; once for longer than proves nothing lost |
| deployments | in half of the cells all agents are replaced, under new names or the same ones |
| scaling | agents come and go with the load |
"""

_NOTES: Final = """\
## How to read this

- **True** is what the simulator wrote down, with the thresholds of the definitions, by what had
  arrived at the sidecar. **Found** is what was confirmed while it was true. **Also true** are
  findings that an injected failure really has besides (a run that hangs is overdue too); each is
  written down by the failure, none is waved through.
- **Precision** is the share of confirmed findings that were true, **recall** the share of what was
  true that was confirmed. Both are to be 0.99 at least.
- **Delay** is from the moment at which the definition held, thresholds and hold included, to the
  confirmed finding; where silence is the evidence, from when those were heard again whose word is
  missed, as far as they had been within a minute. It is to be two intervals at most; a heavy
  detector's interval is longer than that of the evaluation, and is shown.
- **Blind**: it could not be told, since the sidecar was away, or a side was not heard, or who was
  to speak tells that it lost something just then. *Unknown* is the right answer then, and it counts
  neither as found nor as missed.
- **Lost signals**: where the loss leaves evidence, *unknown* is right and confirmed is wrong: at
  most one in a hundred findings may be so. Where it leaves none, or is told only after a thing had
  to be confirmed (by a process that had nothing to say before), a lost record and a lost signal
  look the same, and nobody can tell them apart.
- A simulated scheduler is regular where real ones are not. That all is found here does not mean
  that all is found at yours; what is missed or false here is surely wrong.
"""

_SAID: Final = {
    "late_share": "records that are late by up to 30 s, out of order: {:.1%}",
    "stall_every_s": "an exporter stalls for up to 30 s: every {:,.0f} s",
    "twice_share": "records that come twice: {:.1%}",
    "skewed_share": "processes whose clock is off by up to 5 min: {:.0%}",
    "near_s": "the other clocks are off by (standard deviation): {:g} s",
    "reused_share": "tasks that bear the ID of an earlier one: {:.1%}",
    "told_loss": "exports (a second of a process) that are lost, which the process tells: {:.1%}",
    "silent_loss": "exports that are lost without a trace: {:.2%}",
    "dark_share": "cells of which one side is not heard for some minutes: {:.0%}",
}


_LOST: Final = ("told_loss", "of_told_loss_unknown", "of_silent_loss")


def _noise() -> str:
    usual = Noise()
    rows = []
    for one in fields(usual):
        if one.name in _SAID:
            what, _, form = _SAID[one.name].rpartition(": ")
            rows.append(f"| {what} | {form.format(getattr(usual, one.name))} |")
    return "\n".join(rows)


def _blocks(said: dict[str, Any], table: Any, errors: int) -> Iterator[str]:  # noqa: ANN401 - a function
    for one in said["runs"]:
        title = "No failure injected" if one["healthy"] else "Every failure injected"
        yield (
            f"## {title}\n\n{one['tasks']:,} tasks of {one['cells']} schedulers in"
            f" {one['simulated_s'] / 60:.0f} simulated minutes, {one['records']:,} records,"
            f" {one['restarts']} restarts of the sidecar; it took {number(one['took_s'])} s.\n"
        )
        yield from _run(one, table, errors)


def _run(one: dict[str, Any], table: Any, errors: int) -> Iterator[str]:  # noqa: ANN401 - likewise
    rows = [_row(name, each) for name, each in one["detectors"].items() if _concerned(each)]
    heads = ("detector", "true", "found", "also true", "false", "missed", "precision", "recall",
             "delay p50 (s)", "p99 (s)", "max (s)", "interval (s)", "blind", "")  # fmt: skip
    if rows:
        yield f"{table(heads, rows)}\n"
    silent = [name for name, each in one["detectors"].items() if not _concerned(each)]
    if silent:
        yield f"Nothing was true of, and nothing found by: {', '.join(silent)}.\n"
    lost = [(name, *(f"{each[key]:,}" for key in _LOST)) for name, each in one["detectors"].items()
            if any(each[key] for key in _LOST)]  # fmt: skip
    if lost:
        columns = ("detector", "confirmed, of a loss that was told", "unknown, likewise",
                 "confirmed, of a silent loss, or before it was told")  # fmt: skip
        yield f"Of signals that were lost (scored apart):\n\n{table(columns, lost)}\n"
    failed = [f"- {name} failed: {why}" for name, why in one["detectors_failed"].items()]
    wrong = [line for name, each in one["detectors"].items()
             for line in _errors(name, each, errors)]  # fmt: skip
    if failed or wrong:
        yield "What was wrong:\n\n" + "\n".join(failed + wrong) + "\n"
    else:
        yield "Nothing was wrong.\n"


def _concerned(one: dict[str, Any]) -> bool:
    return any(one[name] for name in ("true", "explained", "false", "blind", "told_loss"))


def _row(name: str, one: dict[str, Any]) -> tuple[str, ...]:
    share = [f"{one[key]:.4f}" if one[key] is not None else "" for key in ("precision", "recall")]
    delays = [f"{one[key]:.1f}" if one[key] is not None else ""
              for key in ("delay_p50_s", "delay_p99_s", "delay_max_s")]  # fmt: skip
    counts = [f"{one[key]:,}" for key in ("true", "found", "explained", "false", "missed")]
    return (name, *counts, *share, *delays, f"{one['interval_s']:g}", f"{one['blind']:,}",
            "" if one["good"] else "errs")  # fmt: skip


def _errors(name: str, one: dict[str, Any], most: int) -> Iterator[str]:
    for kind, found in one["errors"].items():
        for each in found[:most]:
            yield (f"- {name}, {kind.replace('_', ' ')}: {each['namespace']} {each['subject']} at"
                   f" {each['at_s']:.0f} s: {each['said']}")  # fmt: skip
        if one[kind] > most:
            yield f"- {name}, {kind.replace('_', ' ')}: {one[kind] - most:,} more"
