"""Tables and `docs/reliability.md`, made from the JSON file alone: no number is typed by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def text(said: dict[str, Any]) -> str:
    """Return all results as tables for a terminal."""
    blocks = []
    for title, _, rows in _sections(said):
        wide = max(len(name) for name, _ in rows)
        blocks.append("\n".join([title, *(f"  {name:{wide}}  {cell}" for name, cell in rows)]))
    return "\n\n".join([*blocks, *_problems(said)])


def page(said: dict[str, Any]) -> str:
    """Return `docs/reliability.md`."""
    parts = [
        "# Reliability\n\n*Made by `make crash` (tests/crash/report.py); do not edit.*",
        _INTRODUCTION.format(
            began=said["began"],
            minutes=number(said["took_s"] / 60),
            seed=said["seed"],
            others=_others(said),
        ),
        _promise(said),
    ]
    for title, told, rows in _sections(said):
        table = "\n".join(f"| {name} | {cell} |" for name, cell in rows)
        parts.append(f"## {title}\n\n{told}\n\n| | |\n|---|---:|\n{table}")
        if title == _DAMAGE_TITLE:
            parts.append(_damages(said["damage"]))
    problems = _problems(said)
    if problems:
        parts.append("## What did not hold\n\n" + "\n".join(problems))
    machine = said["machine"]
    rows = [(name.replace("_", " "), machine[name]) for name in machine if name != "packages"]
    table = "\n".join(f"| {name} | {cell} |" for name, cell in rows)
    parts += [_LIMITS, f"## The machine\n\n| | |\n|---|---|\n{table}"]
    return "\n\n".join(part.strip() for part in parts) + "\n"


_INTRODUCTION: Final = """\
zombiewatch answers 200 only when what you sent is on disk. This page is what came of trying to
break that promise: {minutes} minutes of it, the last part begun {began}, seed {seed}. The parts may
be of several runs. `make crash` repeats them on your machine; `make test` has short forms.

How it is tried: a real sidecar gets records that each bear a number of their own. Who sends them
never sends one again, and writes down which were answered with 200. In the end the sidecar is
stopped, and its history, which is Parquet that anything can read, is held against that list: each
acknowledged number must be there **exactly once**; another one once or not at all; a line of a
followed file exactly once in any case. What was concluded from them is checked, too: each task has
one attempt, and each run was measured once.

{others}
"""


def _others(said: dict[str, Any]) -> str:
    share = said.get("others_share")
    if share is None:
        return (
            "What else ran on the machine was not measured, and it was not little: **times are too"
            " long.** What is there and what is not does not depend on it."
        )
    busy = ": **times are too long**" if share > 0.1 else ""
    return f"Processes that had nothing to do with it took {share:.1%} of the machine's time{busy}."


def _promise(said: dict[str, Any]) -> str:
    parts = [said[name] for name in ("kill", "disk", "clock") if name in said]
    total = {
        name: sum(one.get(name, 0) for one in parts) for name in ("acknowledged", "lost", "doubled")
    }
    refused = said.get("kill", {}).get("refused_to_start", 0)
    refused += sum(not one["started"] for one in said.get("damage", []))
    rows = (
        ("acknowledged, by kills, full disks and stepped clocks", f"{total['acknowledged']:,}"),
        ("**lost**", f"**{total['lost']:,}**"),
        ("**doubled**", f"**{total['doubled']:,}**"),
        ("**refused to start**, damage included", f"**{refused:,}**"),
        ("**damages that it did not outlive as it must** (below)", f"**{_unlived(said)}**"),
    )
    return "| | |\n|---|---:|\n" + "\n".join(f"| {name} | {cell} |" for name, cell in rows)


def _unlived(said: dict[str, Any]) -> str:
    cases = said.get("damage", [])
    return f"{sum(not one['good'] for one in cases)} of {len(cases)}"


_KILL: Final = """\
The sidecar is ended by SIGKILL at a moment of chance and started again on what it left, {folder}
times on one data folder; then all in it is looked at. Spans, log records and heartbeats come over
four connections, and lines from a file that is rotated all the while. Checkpoints, merges and
trims of the journal are set to come as often as is allowed, so that many kills are in one."""

_DAMAGE_TITLE: Final = "Damaged files"
_DAMAGE: Final = """\
A folder is spoilt in one way at a time, and a sidecar started on it. It must start, answer, count
the damage (`zombiewatch_damaged_total`), move the spoilt file to `damaged/`, take new records, and
still have whatever is whole elsewhere: in other segments, or in the journal. What is in one
spoilt file alone is lost, and only that."""

_DISK: Final = """\
A file system of 32 MiB is filled to the last bytes while records come in, and freed again, with
kills in between and starts while it is full. Senders are told to come again (503); nothing that was
answered with 200 may be lost, and once there is room, records must be taken again by themselves."""

_CLOCK: Final = """\
The sidecar's clock is stepped by up to six hours, forwards and backwards, while it runs and between
its starts, with kills in between. The machine's own clock is not touched: the sidecar has one clock
of its own, and that is put wrong."""

_SOAK: Final = """\
A steady load, with as little history kept as makes the limits reached within minutes
({kept} MB). Memory and files must not grow.

![Memory, history, snapshots, journal and files over time](images/soak.svg)"""

_LIMITS: Final = """\
## What this does not show

- **A kill is not a power cut.** What the system had taken and the disk had not is not lost by a
  kill. Every write that an answer depends on is synced (`fsync`) before the answer, and the cut and
  zeroed files above are what a power cut leaves; a disk that lies about syncing can still lose.
- **One run.** Another seed finds other moments: `make crash SEED=2`.
- **What was not acknowledged may be lost.** An answer of 503, or none, means: send it again.
- Where two copies of the same kind are damaged at once, what only they held is gone."""


def _sections(said: dict[str, Any]) -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    if "kill" in said:
        yield "Kills", _KILL.format(folder=said["folder_rounds"]), _kill_rows(said["kill"])
    if "damage" in said:
        cases = said["damage"]
        rows = [
            ("damages tried", str(len(cases))),
            ("all as it must be", str(sum(one["good"] for one in cases))),
            ("refused to start", str(sum(not one["started"] for one in cases))),
        ]
        yield _DAMAGE_TITLE, _DAMAGE, rows
    if "disk" in said:
        yield "A full disk", _DISK, _plain_rows(said["disk"], "taken_again")
    if "clock" in said:
        yield "A stepped clock", _CLOCK, _plain_rows(said["clock"])
    if "soak" in said:
        one = said["soak"]
        told = _SOAK.format(kept=number(one["kept_mb"]))
        yield "Hours", told, _soak_rows(one)


def _kill_rows(one: dict[str, Any]) -> list[tuple[str, str]]:
    moments = ", ".join(f"{name} {times}" for name, times in one["moments"].items())
    plain = ("rounds", "sent", "acknowledged", "stored", "lost", "doubled", "wrong")
    return [
        *((name, f"{one[name]:,}") for name in plain),
        ("refused to start", f"{one['refused_to_start']:,}"),
        ("when it was ended", moments),
        ("ended with a checkpoint half written", f"{one['left_half_written']:,}"),
        ("rotations of the followed file", f"{one['rotations']:,}"),
        ("to be ready again, without loading Python", _spread(one["recovered"])),
        ("to be ready again, by `zombiewatch run`", _spread(one["recovered_cold"])),
    ]


def _plain_rows(one: dict[str, Any], times: str = "") -> list[tuple[str, str]]:
    rows = [
        (name.replace("_", " "), f"{value:,}")
        for name, value in one.items()
        if isinstance(value, int) and not isinstance(value, bool)
    ]
    return [*rows, (times.replace("_", " "), _spread(one[times]))] if times else rows


def _soak_rows(one: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("minutes", number(one["minutes"])),
        ("records acknowledged", f"{one['records']:,}"),
        ("records a second", number(one["per_s"])),
        ("refused", f"{one['refused']:,}"),
        ("applied", f"{one['applied']:,}"),
        ("left out", f"{one['left_out']:,}"),
    ]
    for name in ("memory_mb", "segments_mb", "snapshots_mb", "journal_mb", "files"):
        early, late = _quarters(one["samples"], name)
        title = name.replace("_mb", " (MB)")
        cells = f"{number(early)} → {number(late)}"
        rows.append((f"{title}, mean of second and last quarter", cells))
    return rows


def _damages(cases: Sequence[dict[str, Any]]) -> str:
    def cell(one: dict[str, Any]) -> str:
        if one["good"]:
            return "as it must be"
        return "**not as it must be**" if one["started"] else "**refused to start**"

    rows = [
        f"| {one['name']} | {one.get('damaged', '')} | {one.get('gone', '')} |"
        f" {one.get('lost', '')} | {cell(one)} |"
        for one in cases
    ]
    head = (
        "| damage | counted | records gone | of these, whole elsewhere | |\n"
        "|---|---:|---:|---:|---|"
    )
    return "\n".join([head, *rows])


def _problems(said: dict[str, Any]) -> list[str]:
    found = [
        (part, problem)
        for part in ("kill", "disk", "clock", "step_back")
        for problem in said.get(part, {}).get("problems", [])
    ]
    found += [
        (f"damage: {one['name']}", problem)
        for one in said.get("damage", [])
        for problem in one["problems"]
    ]
    found += [("soak", problem) for problem in _soak_problems(said.get("soak"))]
    return [f"- {part}: {_short(problem)}" for part, problem in found]


def _soak_problems(one: dict[str, Any] | None) -> list[str]:
    """Return what grew or fell behind in a soak, if there was one."""
    if one is None:
        return []
    problems = []
    if one["applied"] < 0.95 * one["records"]:
        behind = f"{one['applied']:,} of {one['records']:,} records were applied at the end"
        problems.append(f"it fell behind: {behind}")
    for name in ("memory_mb", "journal_mb"):
        early, late = _quarters(one["samples"], name)
        if late > 1.2 * early:
            problems.append(f"{name.removesuffix('_mb')} grew: {number(early)} → {number(late)} MB")
    return problems


def _quarters(samples: Sequence[dict[str, float]], name: str) -> tuple[float, float]:
    """Return the means of the second and of the last quarter: by the first, what fills has."""
    quarter = max(1, len(samples) // 4)
    early = [sample[name] for sample in samples[quarter : 2 * quarter]] or [0.0]
    late = [sample[name] for sample in samples[-quarter:]]
    return sum(early) / len(early), sum(late) / len(late)


def bad(said: dict[str, Any]) -> bool:
    """Tell whether anything did not hold."""
    return bool(_problems(said))


def _short(problem: str) -> str:
    lines = problem.strip().splitlines()
    return lines[0] if len(lines) == 1 else f"{lines[0]} … {lines[-1]}"


def _spread(one: dict[str, float]) -> str:
    if not one["times"]:
        return "none"
    named = (("median", "median_s"), ("p99", "p99_s"), ("max", "max_s"))
    return ", ".join(f"{name} {number(one[key])} s" for name, key in named)


def number(value: float) -> str:
    """Return *value* with three digits that count, and commas."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
