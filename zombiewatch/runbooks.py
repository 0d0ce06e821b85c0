"""Runbooks: what each alert means, and what to do. The sidecar serves them, and docs has them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import alerts.rules
from detectors._kit import load

if TYPE_CHECKING:
    from detectors._kit import Detector

_NOTE: Final = "<!-- Written by `make generate` from {source}: change it there. -->\n"
_WRITTEN: Final = Path(alerts.rules.__file__).with_name("runbooks")


def runbooks() -> dict[str, str]:
    """Return every runbook in Markdown, by its name: those of detectors, and of other alerts."""
    written = {
        path.stem: _NOTE.format(source=f"alerts/rules/runbooks/{path.name}") + path.read_text()
        for path in sorted(_WRITTEN.glob("*.md"))
    }
    return {**{one.name: of(one) for one in load()}, **written}


def of(detector: Detector) -> str:
    """Return the runbook of *detector* as Markdown."""
    parts = [
        _NOTE.format(source=f"detectors/{detector.name}.py"),
        f"# {detector.name}\n",
        f"{detector.summary}\n",
    ]
    for heading, text in detector.runbook.items():
        parts.append(f"## {heading}\n\n{text}\n")
    rows = "".join(f"| `{name}` | {value:g} |\n" for name, value in detector.thresholds.items())
    witness = (
        f"Silence is evidence only while the {detector.witness}'s side can be heard; else the"
        " verdict is *unknown*."
        if detector.witness
        else "It rests on what was said, not on silence."
    )
    parts.append(
        f"## Settings\n\nSeverity: {detector.severity}. Holds for {detector.hold_s:g} s before"
        f" it is confirmed. {witness}\n\n| threshold | default |\n|---|---|\n{rows}\n"
        "Set them under `detectors." + detector.name + "` (see the reference of the configuration),"
        " with `overrides` by service, queue or task name.\n"
    )
    cases = "".join(
        f"- {'fires' if case.finds else 'quiet'}: {case.title}\n" for case in detector.cases
    )
    parts.append(f"## Proven by\n\n{cases}")
    return "\n".join(parts)
