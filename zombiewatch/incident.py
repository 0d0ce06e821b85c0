"""An incident for a terminal: its head, what followed from it in order, and who is suspected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.padding import Padding
from rich.text import Text

from detectors._suspects import WEIGHTS
from model.plain import plain
from model.units import parse_time, span_text
from zombiewatch.explain import COLOURS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rich.console import RenderableType

_STEP: Final = 3
_NAMED: Final = 3
"""So many subjects are named."""

_PARTS: Final = {"figures": "its calls", "errors": "errors logged", "depth": "how deep"}


def render_incident(one: Mapping[str, Any]) -> RenderableType:
    """Return the answer of `/api/v1/incidents/{id}`, drawn: causes first, what to do at the end."""
    severity = str(one.get("severity"))
    title = Text.assemble(
        (f"incident {one['id']}", "bold"),
        (f"  {plain(severity)}", COLOURS.get(severity, "")),
        (f"  since {plain(one.get('since'))}, {_many(one['count'], 'finding')}", "dim"),
    )
    drawn: list[RenderableType] = [title, Padding(_chain(one), (1, 0, 0, 2))]
    if fix := one["head"].get("fix"):
        drawn.append(Padding(Text.assemble(("Do: ", "bold"), plain(fix)), (1, 0, 0, 2)))
    if ranked := one.get("suspects"):
        drawn.append(Padding(Text("\n").join(_suspected(ranked)), (1, 0, 0, 2)))
    return Group(*drawn)


def _chain(one: Mapping[str, Any]) -> RenderableType:
    zero = parse_time(one["since"]) or 0
    return Group(*(part for link in one["chain"] for part in _link(link, zero)))


def _link(link: Mapping[str, Any], zero_us: int) -> Iterator[RenderableType]:
    """Yield what was found and how long after the first sign; below it, of whom."""
    depth = link["depth"]
    after_s = ((parse_time(link["since"]) or zero_us) - zero_us) / 1e6
    name = Text("└► " if depth else "", "dim").append(plain(link["detector"], 40), "bold")
    name.append(f"  {plain(link['service'] or '', 40)}")
    name.append(f"  {span_text(after_s)} later" if after_s > 0 else "", "dim")
    if len(link["causes"]) > 1:  # the arrow shows one of them
        name.append(f"  (from {', '.join(link['causes'])})", "dim")
    yield Padding(name, (0, 0, 0, _STEP * max(0, depth - 1)))
    said = Text(plain(link["summary"])).append("  ")
    said.append(", ".join(plain(subject, 80) for subject in link["subjects"][:_NAMED]), "dim")
    if link["count"] > _NAMED:
        said.append(f" and {link['count'] - _NAMED:,} more", "dim")
    yield Padding(said, (0, 0, 0, _STEP * depth))


def _suspected(ranked: Iterable[Mapping[str, Any]]) -> Iterator[Text]:
    yield Text("Who may have begun it:", "bold")
    for one in ranked:
        sum_ = " + ".join(
            f"{WEIGHTS[part]:.0%} x {one['parts'][part]:.2f} ({name})"
            for part, name in _PARTS.items()
        )
        line = Text.assemble((f"  {one['score']:.2f}  {plain(one['name'], 60)}", "bold"))
        yield line.append(f"  {plain(one['why'])}\n        = {sum_}", "dim")


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
