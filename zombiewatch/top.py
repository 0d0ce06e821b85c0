"""The overview in a terminal, kept up to date: `zombiewatch top`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.columns import Columns
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from model.plain import plain
from model.units import parse_time, span_text
from zombiewatch.client import AskError, ask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import RenderableType

_STATES: Final = {
    "calm": "bold white on dark_green",
    "trouble": "bold white on dark_red",
    "doubt": "bold black on yellow",
    "waiting": "bold white on grey37",
    "blind": "bold black on bright_white",
}
_TILES: Final = {"calm": "", "trouble": "bold red", "doubt": "yellow"}
_SEVERITIES: Final = {"critical": "bold red", "warning": "yellow", "info": "cyan"}
_BARS: Final = " ▁▂▃▄▅▆▇█"
_POINTS: Final = 20
_INCIDENTS: Final = 12
_QUEUES: Final = 8
_SUBJECTS: Final = 3
_LEAST: Final = 12


def run(
    url: str,
    *,
    every_s: float,
    once: bool,
    console: Console | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Show the overview of the sidecar at *url* until Ctrl-C, or *once*.

    A sidecar that stops answering is said to be away, and waited for. Raises AskError where it does
    not answer at first.
    """
    console = console or Console()
    said = _asked(url)
    if once:
        console.print(render(*said))
        return
    with Live(render(*said), console=console, screen=True, auto_refresh=False) as live:
        while True:
            pause(every_s)
            try:
                said = _asked(url)
                live.update(render(*said), refresh=True)
            except AskError as error:
                away = Text(f"{plain(error)}; what is below is of {said[0]['now'][11:19]} UTC")
                live.update(Group(away.append("\n"), render(*said)), refresh=True)


def _asked(url: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    return ask(url, "/api/v1/overview"), list(ask(url, "/api/v1/switches")["switches"])


def render(overview: Mapping[str, Any], switches: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Return *overview* and *switches*, as the API has them, drawn for a terminal."""
    now = overview["now"]
    head = Panel(
        Text(plain(overview["detail"], 400)),
        title=f" {plain(overview['mark'])}  {plain(overview['headline'])} ",
        subtitle=f"{now[:19].replace('T', ' ')} UTC",
        style=_STATES.get(overview["state"], ""),
        box=box.HEAVY,
    )
    parts: list[RenderableType] = [head, Columns(map(_tile, overview["tiles"]), padding=(0, 2))]
    if overview["incidents"]:
        parts.append(_incidents(overview["incidents"][:_INCIDENTS], now))
        if (more := len(overview["incidents"]) - _INCIDENTS) > 0:
            parts.append(Text(f"and {more} more incidents", "dim"))
    if overview["queues"]:
        parts.append(_queues(overview["queues"][:_QUEUES]))
    set_ = [one for one in switches if one["in_force"]]
    if set_:
        parts.append(_switches(set_))
    parts.append(_itself(overview["itself"], now))
    return Group(*parts)


def _tile(one: Mapping[str, Any]) -> Text:
    value = one["value"]
    if value is None:
        shown = str(one["text"])
    elif one["unit"] == "%":
        shown = f"{100 * value:.1f}%"
    else:
        shown = span_text(value) if one["unit"] == "s" else f"{value:,.0f}"
    trend = _spark(one["trend"][-_POINTS:])
    return Text.assemble((shown, _TILES.get(one["state"], "")), f" {one['label']}", (trend, "dim"))


def _spark(points: Sequence[float | None]) -> str:
    known = [one for one in points if one is not None]
    if not known or max(known) <= 0:
        return ""
    top = max(known)
    drawn = (" " if one is None else _BARS[round(one / top * (len(_BARS) - 1))] for one in points)
    return " " + "".join(drawn)


def _incidents(those: Sequence[Mapping[str, Any]], now: str) -> Table:
    table = _table("incident", "of", "since", "findings", "what followed")
    for one in those:
        head = one["head"]
        subjects = ", ".join(_short(each, 16) for each in head["subjects"][:_SUBJECTS])
        table.add_row(
            Text(_short(head["detector"]), _SEVERITIES.get(one["severity"], "")),
            Text(f"{_short(head['service'] or '')} {subjects}"),
            _ago(one["since"], now),
            f"{one['count']:,}",
            Text(" → ".join(_short(link["detector"], 20) for link in one["chain"][1:5]), "dim"),
        )
    return table


def _queues(those: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("queue", "waiting", "lately", "oldest", "in /s", "out /s", "until empty")
    for one in those:
        drains = one["drains"] if one["drains_s"] is None else span_text(one["drains_s"])
        table.add_row(
            Text(_short(one["queue"])),
            _number(one["depth"]),
            _spark(one["depths"][-_POINTS:]),
            "" if one["oldest_age_s"] is None else span_text(one["oldest_age_s"]),
            _number(one["arrivals_per_s"], 2),
            _number(one["completions_per_s"], 2),
            Text(str(drains), "bold red" if drains == "never" else ""),
        )
    return table


def _switches(those: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("switch", "level", "by", "why", "ends in", "hides")
    for one in those:
        table.add_row(
            Text(_short(one["service"])),
            one["level"],
            Text(_short(one["set_by"], 16)),
            Text(_short(one["reason"], 60)),
            span_text(one["remaining_s"]),
            str(len(one["hides"])),
        )
    return table


def _itself(one: Mapping[str, Any], now: str) -> Text:
    said = ["the sidecar can see" if one["can_see"] else "the sidecar cannot see all"]
    if one["evaluated_at"]:
        said.append(f"judged {_ago(one['evaluated_at'], now)} ago")
    said.append(f"{span_text(one['behind_s'])} behind")
    said += [f"{plain(name, 40)} fails" for name in one["failing"]]
    return Text(", ".join(said), "dim" if one["can_see"] else "bold yellow")


def _short(value: object, longest: int = 28) -> str:
    """Return *value* in so many characters: what is cut off is in the page."""
    text = plain(value, 2 * longest)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _ago(moment: str, now: str) -> str:
    return span_text(max(0.0, ((parse_time(now) or 0) - (parse_time(moment) or 0)) / 1e6))


def _number(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True)
    for at, name in enumerate(columns):
        # what something is called is not squeezed by how much is said of it
        least = None if at else _LEAST
        table.add_column(name, overflow="ellipsis", no_wrap=True, min_width=least)
    return table
