"""Writes what is derived: the reference of the settings, and a runbook for each detector."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from detectors._kit import Detector, load
from zombiewatch.reference import markdown

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parent.parent
_NOTE: Final = "<!-- Written by `make generate` from detectors/{name}.py: change it there. -->\n"


def runbook(detector: Detector) -> str:
    """Return the runbook of *detector* as Markdown."""
    parts = [_NOTE.format(name=detector.name), f"# {detector.name}\n", f"{detector.summary}\n"]
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


def files() -> Iterator[tuple[Path, str]]:
    """Yield every generated file, its path below the project and its text."""
    yield Path("docs/configuration.md"), markdown()
    index = ["# Runbooks\n", "One for each detector; the alert of the same name links to it.\n"]
    for detector in load():
        yield Path(f"docs/runbooks/{detector.name}.md"), runbook(detector)
        index.append(f"- [{detector.name}]({detector.name}.md): {detector.summary}")
    yield Path("docs/runbooks/README.md"), "\n".join(index) + "\n"


def main() -> None:
    """Write all generated files, and remove runbooks of detectors that are gone."""
    made = dict(files())
    for path, text in made.items():
        target = ROOT / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text.rstrip() + "\n", encoding="utf-8")
    for path in (ROOT / "docs/runbooks").glob("*.md"):
        if path.relative_to(ROOT) not in made:
            path.unlink()
    sys.stdout.write(f"{len(made)} files written\n")


if __name__ == "__main__":
    main()
