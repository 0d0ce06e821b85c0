"""`python -m bench`: measures, shows a table, and writes JSON and the page of it."""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench import report
from bench.machine import ROOT, Others, facts
from bench.measures import Measure, load
from bench.results import FORMAT
from bench.scale import FULL, QUICK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.scale import Scale

_EXAMPLES: Final = """\
examples:
  python -m bench                                  everything, and the page of it (20 minutes)
  python -m bench --quick                          everything, small: is it still in the region?
  python -m bench spans limits                     two measurements, and the ratios between them
  python -m bench ingest eval --quick --json out.json
  python -m bench --from build/bench.json --page docs/performance.md
                                                   the tables and the page of an earlier run
"""


def _parser() -> argparse.ArgumentParser:
    measures = load()
    listed = "\n".join(f"  {one.name:10} {one.group:8} {one.title}" for one in measures)
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measures the sidecar, and the machine beside it. Progress goes to standard"
        f" error.\n\nmeasurements, and the groups they are in:\n{listed}",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "what", nargs="*", metavar="MEASUREMENT|GROUP", help="what to measure; all by default"
    )
    parser.add_argument("--quick", action="store_true", help="smaller numbers: some two minutes")
    parser.add_argument(
        "--size", type=float, default=1.0, help="multiply all numbers, to try the bench itself"
    )
    parser.add_argument(
        "--json", type=Path, default=ROOT / "build" / "bench.json", metavar="FILE",
        help="where the results go (default: build/bench.json)",
    )  # fmt: skip
    parser.add_argument(
        "--page", type=Path, metavar="FILE",
        help="where the page goes (default: docs/performance.md after a whole run, else none)",
    )  # fmt: skip
    parser.add_argument(
        "--from", type=Path, dest="earlier", metavar="FILE",
        help="measure nothing: show the results of an earlier run",
    )  # fmt: skip
    return parser


def _chosen(parser: argparse.ArgumentParser, names: Sequence[str]) -> list[Measure]:
    """Return the measurements that *names* (their own, or their groups') say; all for none."""
    known = {word for one in load() for word in (one.name, one.group)}
    for name in names:
        if name not in known:
            parser.error(f"{name!r} is none of {', '.join(sorted(known))}")
    return [one for one in load() if not names or {one.name, one.group} & set(names)]


def measured(scale: Scale, chosen: Sequence[Measure], file: Path) -> dict[str, Any]:
    """Measure, and return what *file* then holds; it is written anew after each measurement."""
    others, begun = Others(), time.monotonic()
    said: dict[str, Any] = {
        "format": FORMAT,
        "mode": scale.name,
        "size": scale.size,
        "began": datetime.now(UTC).isoformat(timespec="minutes").replace("+00:00", "Z"),
        "machine": facts(),
        "measured": {},
    }

    def say(line: str) -> None:
        print(f"{time.monotonic() - begun:6.1f} s  {line}", file=sys.stderr, flush=True)

    for measure in chosen:
        said["measured"][measure.name] = measure.run(scale, say)
        said["took_s"] = time.monotonic() - begun
        said["others_share"] = others.share()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(said, indent=2) + "\n")
    return said


def main(words: Sequence[str] | None = None) -> int:
    """Follow the command line; return the exit status."""
    parser = _parser()
    asked = parser.parse_args(words)
    if asked.earlier:
        said = json.loads(asked.earlier.read_text())
        page = asked.page
    else:
        scale = (QUICK if asked.quick else FULL).sized(asked.size)
        said = measured(scale, _chosen(parser, asked.what), asked.json)
        whole = not asked.what and scale == FULL
        page = asked.page or (ROOT / "docs" / "performance.md" if whole else None)
    print(report.text(said))
    if page:
        page.write_text(report.page(said), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
