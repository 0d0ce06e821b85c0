"""A replay as people see it: progress while it runs, then what was found and what would change."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console, Group
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from model.plain import plain
from model.units import iso, span_text
from zombiewatch.explain import render_findings
from zombiewatch.replay import Outcome, changes, replay

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rich.console import RenderableType

    from zombiewatch.settings import Settings
    from zombiewatch.switches import ChangeJson

_SHOWN: Final = 20
"""So many of each kind of change are named."""


def replay_shown(
    paths: Sequence[Path],
    settings: Settings,
    changed: Settings | None,
    *,
    every_s: float | None,
    save: Path | None,
    quiet: bool,
) -> Outcome:
    """Return what `replay` does; a terminal on standard error is shown how far it is."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )
    with bar:
        task = bar.add_task("reading", total=1.0)
        return replay(
            paths,
            settings,
            changed,
            every_s=every_s,
            save=save,
            say=lambda said: bar.update(task, description=plain(said, 60)),
            at=lambda share: bar.update(task, description="judging", completed=share),
        )


def render(outcome: Outcome, tried: Mapping[str, object], width: int) -> RenderableType:
    """Return *outcome* for a terminal of *width* columns; *tried* are the thresholds changed."""
    found = outcome.recorded
    length = (found.to_us - found.from_us) / 1e6
    times = length / max(outcome.took_s, 1e-3)
    parts: list[RenderableType] = [
        Text(
            f"{found.signals:,} signals from {iso(found.from_us)} to {iso(found.to_us)}"
            f" ({span_text(length)}), judged {outcome.judged:,} times in"
            f" {span_text(outcome.took_s)}: {times:,.0f} times as fast."
        )
    ]
    parts += [
        Text(f"{name} failed: {plain(why)}", "red") for name, why in sorted(outcome.failed.items())
    ]
    ever = [one for one in outcome.findings if one.confirmed_us is not None]
    totals = Counter(one.verdict for one in outcome.findings)
    payload = {
        "now": iso(found.to_us),
        "findings": [one.as_json() for one in ever],
        "totals": totals,
    }
    parts.append(render_findings(payload, width))
    if outcome.switched:
        parts.append(_switched(outcome.switched))
    if outcome.other is not None:
        parts.append(_changed(changes(outcome.findings, outcome.other), tried))
    return Group(*parts)


def _switched(moves: Sequence[ChangeJson]) -> Text:
    text = Text().append("What the policies would have done:", "bold")
    for one in moves[:_SHOWN]:
        text.append(
            f"\n  {one['at']}  {plain(one['service'], 40)} {one['action']} to {one['level']}"
            f" ({plain(one['reason'], 80)})"
        )
    if len(moves) > _SHOWN:
        text.append(f"\n  … and {len(moves) - _SHOWN} more moves")
    return text


def _changed(said: Mapping[str, list[dict[str, Any]]], tried: Mapping[str, object]) -> Text:
    with_ = ", ".join(f"{name.removeprefix('detectors.')}={value}" for name, value in tried.items())
    text = Text()
    if not any(said.values()):
        return text.append(f"With {with_}: nothing changes.", "bold")
    counts = ", ".join(f"{len(ones)} {kind}" for kind, ones in said.items())
    text.append(f"With {with_}: {counts}.", "bold")
    for kind, ones in said.items():
        for one in ones[:_SHOWN]:
            by = f" by {span_text(one['by_s'])}" if "by_s" in one else ""
            text.append(f"\n  {kind}{by}: {one['detector']} {plain(one['subject'], 80)}")
        if len(ones) > _SHOWN:
            text.append(f"\n  … and {len(ones) - _SHOWN} more that are {kind}")
    return text
