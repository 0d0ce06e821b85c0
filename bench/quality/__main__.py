"""`python -m bench.quality`: simulate, compare what was found with what was true, show it."""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.machine import ROOT, facts
from bench.quality import report
from bench.quality.result import FORMAT, wrong
from bench.quality.simulate import simulate

if TYPE_CHECKING:
    from collections.abc import Sequence

_EXAMPLES: Final = """\
examples:
  python -m bench.quality                                 both runs of 100,000 tasks, and the page
  python -m bench.quality --tasks 3000 --run failing      small: is it still right?
  python -m bench.quality --run failing --only agent_down,lost_report
  python -m bench.quality --from build/quality.json --page docs/quality.md
                                                          the page of an earlier run
"""
_FULL: Final = 100_000
_RUNS: Final = ("failing", "healthy")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.quality",
        description="Simulates schedulers with known failures under noise, and says how often the"
        " detectors are right. Exit status 1 where one errs. Progress goes to standard error.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tasks", type=int, default=_FULL, help="tasks in each run")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same runs")
    parser.add_argument("--run", choices=_RUNS, help="only this run; both by default")
    parser.add_argument("--only", default="", help="only these failures, comma-separated")
    parser.add_argument(
        "--json", type=Path, default=ROOT / "build" / "quality.json", metavar="FILE",
        help="where the results go (default: build/quality.json)",
    )  # fmt: skip
    parser.add_argument(
        "--page", type=Path, metavar="FILE",
        help="where the page goes (default: docs/quality.md after both runs in full, else none)",
    )  # fmt: skip
    parser.add_argument(
        "--from", type=Path, dest="earlier", metavar="FILE",
        help="simulate nothing: show the results of an earlier run",
    )  # fmt: skip
    return parser


def _simulated(tasks: int, seed: int, names: Sequence[str], only: frozenset[str]) -> dict[str, Any]:
    """Do the runs *names*, beside each other."""
    began = datetime.now(UTC).isoformat(timespec="minutes").replace("+00:00", "Z")
    with ProcessPoolExecutor(len(names), mp_context=get_context("spawn")) as pool:
        runs = [pool.submit(simulate, tasks, seed, name, only) for name in names]
        done = [one.result() for one in runs]
    return {"format": FORMAT, "began": began, "seed": seed, "version": facts()["zombiewatch"],
            "runs": done}  # fmt: skip


def main(words: Sequence[str] | None = None) -> int:
    """Follow the command line; return the exit status."""
    asked = _parser().parse_args(words)
    page = asked.page
    if asked.earlier:
        said = json.loads(asked.earlier.read_text())
    else:
        names = (asked.run,) if asked.run else _RUNS
        said = _simulated(asked.tasks, asked.seed, names, frozenset(asked.only.split(",")) - {""})
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(json.dumps(said, indent=2) + "\n")
        whole = asked.tasks >= _FULL and not asked.run and not asked.only
        page = page or (ROOT / "docs" / "quality.md" if whole else None)
    print(report.text(said))
    if page:
        page.write_text(report.page(said), encoding="utf-8")
    errs = [line for one in said["runs"] for line in wrong(one)]
    return 1 if errs else 0


if __name__ == "__main__":
    sys.exit(main())
