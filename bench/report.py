"""Tables and the page, made from the JSON file alone: no number is typed by hand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from bench.aims import AIMS
from bench.measures import load
from bench.ratios import growths, ratios

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.results import Cases

_UNITS: Final = (
    (r"_s_per_million$", " (s per million)"),
    (r"_per_s$", " (/s)"),
    (r"_mb_per_min$", " (MB/min)"),
    (r"_(ms|s|mb)$", r" (\1)"),
    (r"_percent$", " (%)"),
    (r"_", " "),
    (r"\(mb\)", "(MB)"),
    (r"\b(cpu|rss)\b", lambda found: found[0].upper()),
)
_WIDE: Final = 10
"""Figures beyond this are shown one a line, with the cases side by side."""

Row: TypeAlias = "Sequence[str]"


def text(said: dict[str, Any]) -> str:
    """Return all results as tables for a terminal."""
    about = _about(said)
    head = f"{about['began']}, {about['mode']}: {about['took']} s, others took {about['others']}"
    return "\n".join([f"{head} of the machine\n", *_blocks(said, plain)])


def page(said: dict[str, Any]) -> str:
    """Return `docs/performance.md`."""
    parts = [
        "# Performance\n\n*Made by `make bench` (bench/report.py); do not edit.*",
        _INTRODUCTION.format(**_about(said)),
        *_blocks(said, markdown),
        _NOTES.format(**_about(said)),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


_INTRODUCTION: Final = """\
One run, of {began}, in {mode} mode, which took {took} s. The load generator ran on the same cores
as the sidecar. Processes that had nothing to do with it took {others} of the machine's time.{noisy}

| machine | |
|---|---|
{machine}
"""


_NOISE: Final = 0.1
_NOISY: Final = """
**That is too much: these rates are too low and these times too long.** CPU seconds and memory hold;
for the rest, measure again on a machine with nothing else to do."""


def _about(said: dict[str, Any]) -> dict[str, str]:
    machine = dict(said["machine"])
    packages = machine.pop("packages")
    names = {"memory_gib": "memory (GiB)", "file_system": "file system", "sqlite": "SQLite"}
    rows = [(names.get(name, name), str(value)) for name, value in machine.items()]
    rows.append(("packages", ", ".join(f"{name} {number}" for name, number in packages.items())))
    return {
        "began": said["began"],
        "mode": said["mode"] if said["size"] == 1 else f"{said['mode']}, times {said['size']:g}",
        "took": number(said["took_s"]),
        "others": f"{said['others_share']:.1%}",
        "noisy": _NOISY if said["others_share"] > _NOISE else "",
        "machine": "\n".join(f"| {name} | {value} |" for name, value in rows),
    }


_NOTES: Final = """\
## How to read this

- **One run on one machine.** Another run gives other numbers; ratios, of which both sides are of
  one run, hold better. Where others took part of the machine, all of it is slower than alone.
- **Applied is the number that counts.** What is acknowledged is safe on disk; only what is applied
  can be judged. Where *applied* is below *acknowledged*, a backlog grows as long as the load lasts.
- **The traffic is dense.** Most of it concerns tasks and calls, and every task is new. Real traffic
  has more that no relation cares for. It is also regular, so gzip has it easy.
- **Limits are measured alone**, with a core to spare; the sidecar shares all cores between its
  threads and the load generator.
- **Memory** is resident memory, sampled. A growth of a few MB a minute is seen where a case lasts a
  minute; a run of {took} s in all says nothing of hours.
"""


# -- blocks ---------------------------------------------------------------------------------------


def _blocks(said: dict[str, Any], table: Any) -> Iterator[str]:  # noqa: ANN401 - a function
    yield _aims(said, table)
    for measure in load():
        if measure.name in said["measured"]:
            told = f"{measure.told}\n\n" if table is markdown else ""
            yield f"## {measure.title}\n\n{told}{_cases(said['measured'][measure.name], table)}\n"
    rows = [
        (one.path, one.limit, number(one.path_per_s), number(one.limit_per_s), f"{one.ratio:.3f}")
        for one in ratios(said["measured"])
    ]
    if rows:
        heads: Row = ("path", "limit", "path, records/s", "limit, records/s", "ratio")
        yield f"## Ratios: the whole path ÷ what one part could do alone\n\n{table(heads, rows)}\n"
    grown = [
        (heading(one.figure), one.less, one.more, *map(number, one.values), f"{one.ratio:.3f}")
        for one in growths(said["measured"])
    ]
    if grown:
        heads = ("what", "little", "much", "with little", "with much", "much ÷ little")
        yield f"## Growth with history: flat is a ratio of 1\n\n{table(heads, grown)}\n"


def _aims(said: dict[str, Any], table: Any) -> str:  # noqa: ANN401 - likewise
    rows, missed = [], 0
    for aim in AIMS:
        reached = aim.reached(said["measured"])
        if reached is None:
            rows.append((aim.what, aim.told, aim.elsewhere or "not measured", ""))
            continue
        held = aim.held(reached)
        missed += not held
        share = f"{reached / aim.number:.2f}{'' if held else ', missed'}"
        rows.append((aim.what, aim.told, f"{number(reached)}{aim.unit}", share))
    heads = ("what", "aim", "reached", "reached ÷ aim")
    closing = (
        f"{missed} of them are missed. Reaching them is the aim of the next stage; until then they"
        " are aims, and no promise."
        if missed
        else "None that was measured is missed."
    )
    return f"## Aims and what was reached\n\n{table(heads, rows)}\n\n{closing}\n"


def _cases(cases: Cases, table: Any) -> str:  # noqa: ANN401 - likewise
    figures = list(dict.fromkeys(name for figures in cases.values() for name in figures))
    if len(figures) > _WIDE:
        rows = [
            (heading(name), *(_cell(case, name) for case in cases.values())) for name in figures
        ]
        return str(table(("", *cases), rows))
    rows = [(name, *(_cell(case, figure) for figure in figures)) for name, case in cases.items()]
    return str(table(("", *map(heading, figures)), rows))


def _cell(figures: dict[str, float], name: str) -> str:
    return number(figures[name]) if name in figures else ""


def heading(figure: str) -> str:
    """Return a figure's name as a heading: `ack_p50_ms` → `ack p50 (ms)`."""
    for pattern, instead in _UNITS:
        figure = re.sub(pattern, instead, figure)
    return figure


def number(value: float) -> str:
    """Return *value* with three digits that count, and commas."""
    if abs(value) >= 100:  # noqa: PLR2004 - three digits
        return f"{value:,.0f}"
    return f"{value:.3g}"


def markdown(heads: Row, rows: Sequence[Row]) -> str:
    """Return a table as Markdown has it."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plain(heads: Row, rows: Sequence[Row]) -> str:
    """Return a table for a terminal."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in (heads, *rows)
    )
