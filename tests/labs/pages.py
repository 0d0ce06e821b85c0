"""A page for each incident, made from a recorded run: what was found, when, and what mends it.

    python -m tests.labs.pages

Writes docs/incidents/. `test_recorded.py` fails where a page is not what its recording shows.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from labs._kit import find_labs
from model.units import parse_time
from tests.labs._picture import picture
from tests.labs._recorded import RECORDED, judged
from tests.labs._seen import Run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from detectors._incidents import Incident
    from labs._kit import Lab
    from zombiewatch.replay import Outcome

_LEGEND: Final = (
    "*A bar is from when something had gone wrong to when that was over; the dot is when we were"
    " sure.* Seconds count from the first record."
)
_HEAD: Final = """| finding | how many | first began | first told | what to do, says the first |
|---|---|---|---|---|"""

_NAMED: Final = 3

PAGES: Final = Path(__file__).parents[2] / "docs/incidents"


def page(lab: Lab, run: Run) -> str:
    """Return the page of *lab*, in Markdown, made from a *run* with all bugs in."""
    lab_is = (
        f"The lab `{lab.name}` fails in the same way, as real processes: {_small(lab.summary)}"
        f" `make lab LAB={lab.name}` runs it; what follows is from a recorded run."
    )
    parts = [
        "<!-- Written by `python -m tests.labs.pages` from a recorded run. -->",
        f"# {lab.title}",
        lab.story,
        lab_is,
        "## What was found, and when",
        f"![Timeline: when each finding began, and when it was told]({lab.name}.svg)",
        _LEGEND,
        _table(run),
        "## What follows from what",
        *(_chain(run, one) for one in run.incidents()),
        *_switched(run),
        "## What was wrong, and what mends it",
        _bugs(lab),
        f"With all of that mended (`make lab LAB={lab.name} BUGS=`) nothing is found.",
    ]
    return "\n\n".join(parts) + "\n"


def _small(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _table(run: Run) -> str:
    rows = [_HEAD]
    for detector, found in run.by_detector().items():
        told = min(one.confirmed_us or 0 for one in found)
        first = min(found, key=lambda one: (one.confirmed_us or 0, one.since_us))
        rows.append(
            f"| [{detector}](../runbooks/{detector}.md) | {len(found)}"
            f" | {run.begun(found[0])} | {run.at(told):.1f} s | {_cell(first.fix)} |"
        )
    return "\n".join(rows)


def _cell(text: str) -> str:
    return escape(text, quote=False).replace("|", "\\|")


def _chain(run: Run, one: Incident) -> str:
    lines = []
    for link in one.clusters:
        named = ", ".join(f"`{finding.subject}`" for finding in link.findings[:_NAMED])
        more = len(link.findings) - _NAMED
        of = f" of {link.service}" if link.service else ""
        lines.append(f"{'  ' * link.depth}- **{link.detector}**{of}, {run.begun(link)}: {named}")
        if more > 0:
            lines[-1] += f" and {more} more"
    return "\n".join(lines)


def _switched(run: Run) -> list[str]:
    if not run.switched:
        return []
    head = (
        "The lab has a [degrade policy](../switches.md): levels are raised and lowered one at a"
        " time, by what is found."
    )
    rows = ["| after | service | level | by its rungs' readings |", "|---|---|---|---|"]
    for one in run.switched:
        at_us = parse_time(one["at"]) or 0
        moved = f"{one['action']} to {one['level']}"
        rows.append(f"| {run.at(at_us):.0f} s | {one['service']} | {moved} | {one['reason']} |")
    return ["## What its policy did", head, "\n".join(rows)]


def _bugs(lab: Lab) -> str:
    rows = ["| bug | what is wrong | found with it alone | what mends it |", "|---|---|---|---|"]
    for bug, wrong in lab.bugs.items():
        must = lab.expected(frozenset({bug})).must
        found = ", ".join(f"`{name}`" for name in sorted(must)) or "nothing"
        rows.append(f"| `{bug}` | {_cell(wrong)} | {found} | {_cell(lab.fixes[bug])} |")
    return "\n".join(rows)


def index(labs: Iterable[Lab]) -> str:
    """Return the page that lists them all."""
    rows = ["| incident | lab | what it shows |", "|---|---|---|"]
    for lab in labs:
        must = ", ".join(f"`{one}`" for one in sorted(lab.expected(frozenset(lab.bugs)).must))
        rows.append(f"| [{lab.title}]({lab.name}.md) | `{lab.name}` | {must} |")
    head = (
        "Published incidents, made to happen again by real processes (`zombiewatch lab`),"
        " and what is found in them. Each page is made from a recorded run, and each recording is"
        " judged again by the tests."
    )
    written = "<!-- Written by `python -m tests.labs.pages`. -->"
    return "\n\n".join([written, "# Incidents", head, "\n".join(rows)]) + "\n"


def files(lab: Lab, outcome: Outcome) -> dict[Path, str]:
    """Return what the files of *lab* in docs/incidents hold, by a run with all bugs in."""
    run = Run.of(outcome)
    return {
        PAGES / f"{lab.name}.md": page(lab, run),
        PAGES / f"{lab.name}.svg": picture(f"{lab.title}: what was found, and when", run),
    }


def main() -> None:
    """Write all pages."""
    PAGES.mkdir(exist_ok=True)
    (PAGES / "README.md").write_text(index(find_labs().values()))
    for lab in find_labs().values():
        outcome = judged(lab, RECORDED / lab.name / "all.jsonl.gz")
        for path, text in files(lab, outcome).items():
            path.write_text(text)


if __name__ == "__main__":
    main()
