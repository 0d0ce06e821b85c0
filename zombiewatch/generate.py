"""Writes what is derived: the settings' reference, runbooks, rules and their tests, dashboards."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from alerts.rules.links import Links
from alerts.rules.write import OBJECTIVE, TARGETS, rules, tests
from dashboards.grafana import _files as boards
from detectors._kit import load
from zombiewatch.reference import markdown
from zombiewatch.runbooks import runbooks

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parent.parent
_RULES: Final = Path("alerts/prometheus")
_BOARDS: Final = Path("dashboards/grafana")


def files() -> Iterator[tuple[Path, str]]:
    """Yield every generated file, its path below the project and its text."""
    yield Path("docs/configuration.md"), markdown()
    detectors, pages = load(), runbooks()
    for name, text in pages.items():
        yield Path(f"docs/runbooks/{name}.md"), text
    index = ["# Runbooks\n", "One for each detector; the alert of the same name links to it.\n"]
    index += [f"- [{one.name}]({one.name}.md): {one.summary}" for one in detectors]
    index.append("\nThose of other alerts:\n")
    others = pages.keys() - {one.name for one in detectors}
    index += [f"- [{name}]({name}.md): {_title(pages[name])}" for name in sorted(others)]
    yield Path("docs/runbooks/README.md"), "\n".join(index) + "\n"
    for target in TARGETS:
        made = rules(detectors, Links(), target, objective=OBJECTIVE)
        yield _RULES / f"{target}.rules.yml", made
    file = "prometheus-2.42.rules.yml"
    for step, made in tests(detectors, Links(), objective=OBJECTIVE, file=file).items():
        yield _RULES / f"tests-{step}.yml", made
    for path, text in boards.files():
        yield _BOARDS / path, text


def _title(page: str) -> str:
    return next(line for line in page.splitlines() if line.startswith("# "))[2:]


def main() -> None:
    """Write all generated files, and remove those that are made no more."""
    made = dict(files())
    for path, text in made.items():
        target = ROOT / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text.rstrip() + "\n", encoding="utf-8")
    kept = ("docs/runbooks/*.md", f"{_RULES}/*.yml", f"{_BOARDS}/{boards.JSON}/*.json")
    for path in (path for pattern in kept for path in ROOT.glob(pattern)):
        if path.relative_to(ROOT) not in made:
            path.unlink()
    sys.stdout.write(f"{len(made)} files written\n")


if __name__ == "__main__":
    main()
