"""The two stories of one task or request, side by side, and where they part; for a terminal.

What is shown was written by those who are watched, and by whoever talks to them: nothing of
it may move the cursor, colour the screen or turn the line around.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from rich import box
from rich.console import Group
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from model.findings import SUREST
from model.phases import CALLEE, CALLER, ERROR_SEVERITY, TASK
from model.plain import plain
from model.units import iso, parse_time, span_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.console import RenderableType

_STACKED_BELOW: Final = 76
"""Columns; narrower terminals get one story, each line saying whose it is."""
_WIDE_FROM: Final = 116
_AGED_FROM: Final = 72
"""Columns; narrower terminals get findings without name and service, then without age."""
_NUMBER: Final = re.compile(r"[A-Z]*INT|DOUBLE|FLOAT|DECIMAL")
_TIME_WIDTH: Final = 11
_MOST_ROWS: Final = 500
_FOLD_FROM: Final = 3
"""So many heartbeats in a row become one line."""

_MARKS: Final = {"critical": "!!", "warning": " !", "info": " ·"}
COLOURS: Final = {"critical": "bold red", "warning": "yellow", "info": "cyan"}
_ENDED: Final = ("resolved", "retracted")
_BEGINNINGS: Final = dict.fromkeys(CALLER[1:], CALLER[0]) | dict.fromkeys(CALLEE[1:], CALLEE[0])


def render(timeline: Mapping[str, Any], width: int) -> RenderableType:
    """Return the answer of `/api/v1/tasks/{id}` or `/api/v1/requests/{id}`, drawn.

    *width* is the terminal's, in columns; narrow ones get the stories one below the other.
    """
    kind, value = next(iter((timeline.get("query") or {"task": "?"}).items()))
    what = f"{'request' if kind == 'request_id' else plain(kind)} {plain(value)}"
    findings = timeline.get("findings") or []
    if not timeline.get("entries"):
        return Group(_nothing(what), *_ending(findings))
    rows, left_out = _chosen(_rows(timeline))
    parts = sorted(timeline.get("parts") or [], key=lambda part: part["at_us"])
    zero = min([rows[0].at_us, *(part["at_us"] for part in parts)])
    end = max(row.at_us for row in rows)
    head = Text(what, "bold")
    head.append(f"  from {iso(zero)}, over {span_text((end - zero) / 1e6)}", "dim")
    if left_out:
        head.append(f"\n{left_out:,} records that say less are left out", "dim")
    drawn: list[RenderableType] = [head, Text()]
    stacked = width < _STACKED_BELOW
    if not stacked:
        drawn.append(_columns(width, [_titles(timeline)]))
    for segment, part in _segments(rows, parts):
        if segment:
            drawn.append(_stack(segment, zero) if stacked else _sides(segment, zero, width))
        if part:
            drawn.extend(_parting(part, zero, width))
    return Group(*drawn, *_ending(findings))


def render_findings(payload: Mapping[str, Any], width: int = 120) -> Table:
    """Return the answer of `/api/v1/findings` as a table: what is worst and newest first.

    Where *width*, in columns, is small, name and service are left out, then the age.
    """
    aged = width >= _AGED_FROM
    columns = ["detector", "subject", "name", "service"][: 4 if width >= _WIDE_FROM else 2]
    table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False)
    table.add_column("no.", no_wrap=True, justify="right")
    table.add_column("verdict", no_wrap=True, min_width=12)
    for name in columns:
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    if aged:
        table.add_column("age", no_wrap=True, justify="right")
    table.add_column("what", overflow="fold", min_width=24, ratio=1)
    now = parse_time(payload.get("now"))
    found = payload.get("findings") or []
    for one in sorted(found, key=_urgency):
        cells = [Text(plain(one.get(name), 60)) for name in columns]
        number = Text(str(one.get("id") or ""), "dim")
        what = Text(plain(one.get("summary")))
        if one.get("muted"):
            what.append(f" {plain(one['muted'], 20)}: {plain(one.get('muted_why'), 120)}", "dim")
        ages = [_age(one, now)] if aged else []
        table.add_row(number, _verdict(one), *cells, *ages, what)
    totals = payload.get("totals") or {}
    said = [f"{totals[verdict]:,} {verdict}" for verdict in SUREST if totals.get(verdict)]
    calm = "" if found else "No findings: both sides tell the same story.  "
    table.caption = Text(calm + (f"ever: {' · '.join(said)}" if said else ""), "dim")
    table.caption_justify = "left"
    return table


def render_answer(answer: Mapping[str, Any]) -> Table:
    """Return the answer of `/api/v1/sql` as a table: numbers to the right, long texts folded."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    numbers = [_NUMBER.match(column["type"]) is not None for column in answer["columns"]]
    for column, number in zip(answer["columns"], numbers, strict=True):
        justify: Literal["right", "left"] = "right" if number else "left"
        table.add_column(plain(column["name"], 60), justify=justify, overflow="fold")
    for row in answer["rows"]:
        table.add_row(*(Text("" if cell is None else plain(cell, 500)) for cell in row))
    return table


@dataclass(frozen=True, slots=True)
class _Row:
    at_us: int
    left: bool
    who: str
    lane: str
    title: str
    text: str
    alarming: bool
    telling: bool
    """Whether it is of a phase or an error; others go first where there are too many."""
    folds: bool


def _rows(timeline: Mapping[str, Any]) -> list[_Row]:
    entries: Sequence[Mapping[str, Any]] = timeline["entries"]
    left = _left_lanes(timeline)
    rows = [row for entry in entries for row in _of(entry, left=entry.get("lane") in left)]
    return _folded(sorted(rows, key=lambda row: row.at_us))


def _left_lanes(timeline: Mapping[str, Any]) -> set[str]:
    """Return the lanes of the dispatcher's story; who does not say is judged by what it says."""
    sides = {lane["id"]: lane.get("side") for lane in timeline.get("lanes") or []}
    for entry in timeline["entries"]:
        said = entry.get("side") or TASK.get(entry.get("phase") or "")
        if not sides.get(entry.get("lane")):
            sides[entry.get("lane")] = said
    return {lane for lane, side in sides.items() if side != "agent"}


def _of(entry: Mapping[str, Any], *, left: bool) -> Iterator[_Row]:
    """Yield one row, or for a span that lasted two: where it begins, and where it ends."""
    phase, name = entry.get("phase"), entry.get("name")
    begin, end = entry["at_us"], entry.get("end_us")
    alarming = (entry.get("severity") or 0) >= ERROR_SEVERITY or phase == CALLER[3]
    lane, late = plain(entry.get("lane"), 80), ((entry.get("arrived_us") or 0) - begin) / 1e6
    who = {"dispatcher": "D", "agent": "A"}.get(entry.get("side") or "", "·")
    outcome, attempt = entry.get("outcome"), entry.get("attempt") or 1
    about = [
        name if phase and phase not in (name or "") else "",
        attempt > 1 and f"attempt {attempt}",
    ]
    said = [entry.get("body"), f"→ {outcome}" if outcome else ""]
    title, folds = plain(phase or name or entry.get("kind"), 80), phase == "heartbeat"

    def row(at_us: int, title: str, words: Iterable[object], *, alarming: bool) -> _Row:
        text = "  ".join(plain(word) for word in words if word)
        return _Row(at_us, left, who, lane, title, text, alarming, bool(phase) or alarming, folds)

    if end is None or end <= begin:
        said.append(f"(arrived {span_text(late)} later)" if late > 5 else "")  # noqa: PLR2004
        yield row(begin, title, about + said, alarming=alarming)
        return
    first = _BEGINNINGS.get(phase or "", f"{title} begins")
    yield row(begin, first, about, alarming=False)
    lasted = f"after {span_text((end - begin) / 1e6)}"
    yield row(end, title if phase else f"{title} ends", [lasted, *said], alarming=alarming)


def _folded(rows: Sequence[_Row]) -> list[_Row]:
    """Return *rows* with runs of one lane's heartbeats as one row each."""
    folded: list[_Row] = []
    run: list[_Row] = []
    for row in [*rows, None]:
        if run and (row is None or not row.folds or row.lane != run[0].lane):
            if len(run) >= _FOLD_FROM:
                lasted = span_text((run[-1].at_us - run[0].at_us) / 1e6)
                run = [replace(run[0], text=f"{len(run)} times in {lasted}")]
            folded += run
            run = []
        if row and row.folds:
            run.append(row)
        elif row:
            folded.append(row)
    return folded


def _chosen(rows: Sequence[_Row]) -> tuple[Sequence[_Row], int]:
    """Return the rows that are shown, and how many are not."""
    if len(rows) <= _MOST_ROWS:
        return rows, 0
    telling = [row for row in rows if row.telling] or rows
    half = _MOST_ROWS // 2
    kept = telling if len(telling) <= _MOST_ROWS else [*telling[:half], *telling[-half:]]
    return kept, len(rows) - len(kept)


def _segments(
    rows: Sequence[_Row], parts: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[Sequence[_Row], Mapping[str, Any] | None]]:
    """Yield the rows up to each parting of the stories, then the rest."""
    begun = 0
    for part in parts:
        until = begun
        while until < len(rows) and rows[until].at_us <= part["at_us"]:
            until += 1
        yield rows[begun:until], part
        begun = until
    yield rows[begun:], None


def _titles(timeline: Mapping[str, Any]) -> tuple[Text, Text, Text]:
    left = _left_lanes(timeline)
    heard = [entry.get("lane") in left for entry in timeline["entries"]]
    titles = [Text("seconds", "dim")]
    for name, is_left in (("DISPATCHER", True), ("AGENTS", False)):
        title = Text(name, "bold cyan" if is_left else "bold magenta")
        if is_left not in heard:
            title.append("  nothing heard", "bold red")
        titles.append(title)
    return titles[0], titles[1], titles[2]


def _columns(width: int, rows: Iterable[tuple[Text, Text, Text]]) -> Table:
    each = (width - _TIME_WIDTH - 6) // 2
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    table.add_column(width=_TIME_WIDTH, justify="right", no_wrap=True)
    table.add_column(width=each, overflow="fold")
    table.add_column(width=each, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _sides(rows: Sequence[_Row], zero: int, width: int) -> Table:
    def row(one: _Row) -> tuple[Text, Text, Text]:
        cell = _cell(one)
        at = _relative(one.at_us, zero)
        return (at, cell, Text("│", "dim")) if one.left else (at, Text("│", "dim"), cell)

    return _columns(width, map(row, rows))


def _stack(rows: Sequence[_Row], zero: int) -> Text:
    lines = []
    for row in rows:
        who = (f" {row.who} ", "cyan" if row.left else "magenta")
        lines.append(Text.assemble(_relative(row.at_us, zero), who, _cell(row)))
    return Text("\n", overflow="fold").join(lines)


def _cell(row: _Row) -> Text:
    style = "bold red" if row.alarming else "bold" if row.telling else ""
    cell = Text.assemble((row.title, style), ("  " if row.text else "") + row.text)
    return cell.append(f"  {row.lane}", "dim")


def _relative(at_us: int, zero: int) -> Text:
    return Text(f"{(at_us - zero) / 1e6:+.3f}", "dim")


def _parting(part: Mapping[str, Any], zero: int, width: int) -> Iterator[RenderableType]:
    words = (_relative(part["at_us"], zero).plain, plain(part.get("text")), part.get("finding"))
    text = Text("  ".join(plain(word) for word in words if word), "bold red")
    if text.cell_len <= width - 6:
        yield Rule(text, style="red", characters="━")
        return
    yield Rule(Text("here the stories part", "bold red"), style="red", characters="━")
    yield text
    yield Rule(style="red", characters="━")


def _nothing(what: str) -> Text:
    text = Text(f"Nothing is known of {what}: neither side has said a word of it.\n", "bold")
    return text.append(
        "Is the ID spelled as the scheduler spells it? What is older than the retention is gone.",
        "dim",
    )


def _ending(findings: Iterable[Mapping[str, Any]]) -> Iterator[RenderableType]:
    for one in sorted(findings, key=_urgency):
        head = Text("\n").append_text(_verdict(one))
        head.append(f"  {plain(one.get('detector'), 80)}", "bold")
        head.append(f"  {plain(one.get('subject'), 80)}", "dim")
        yield head
        for label, key in (("", "summary"), ("Why not sure: ", "reason"), ("Do: ", "fix")):
            if one.get(key):
                yield _indented(Text.assemble((label, "bold"), plain(one[key])))
        evidence = one.get("evidence") or {}
        known = ((key, value) for key, value in evidence.items() if value is not None)
        if line := "  ".join(f"{plain(key, 40)}={plain(value, 80)}" for key, value in known):
            yield _indented(Text(line, "dim"))


def _indented(text: Text) -> Padding:
    return Padding(text, (0, 0, 0, 3))


def _verdict(one: Mapping[str, Any]) -> Text:
    severity, verdict = str(one.get("severity")), plain(one.get("verdict"), 20)
    style = "dim" if verdict in _ENDED else COLOURS.get(severity, "")
    return Text(f"{_MARKS.get(severity, '  ')} {verdict}", style)


def _urgency(one: Mapping[str, Any]) -> tuple[int, int, float]:
    verdict, severity = str(one.get("verdict")), str(one.get("severity"))
    return (
        SUREST.index(verdict) if verdict in SUREST else len(SUREST),
        list(_MARKS).index(severity) if severity in _MARKS else len(_MARKS),
        -(parse_time(one.get("since")) or 0),
    )


def _age(one: Mapping[str, Any], now: int | None) -> Text:
    since, ended = parse_time(one.get("since")), parse_time(one.get("ended_at"))
    until = ended or now
    if since is None or until is None:
        return Text("?")
    return Text(span_text((until - since) / 1e6))
