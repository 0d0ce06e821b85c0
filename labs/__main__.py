"""Runs a lab by itself: `python -m labs bruin --bugs all`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from labs._kit import LabProcessError, Runner, find_labs

if TYPE_CHECKING:
    from labs._kit import Lab

TRUTH = "truth.json"


def main() -> int:
    """Run the lab that the command line names; return the exit code."""
    found = find_labs()
    parser = argparse.ArgumentParser(prog="python -m labs", description=__doc__)
    commands = parser.add_subparsers(dest="lab", required=True, metavar="lab")
    for lab in found.values():
        _describe(commands.add_parser(lab.name, help=lab.title, description=lab.summary), lab)
    given = parser.parse_args()
    lab = found[given.lab]
    # SIGTERM ends us as Ctrl-C does: in order.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        bugs = lab.choose(given.bugs)
    except ValueError as error:
        parser.error(str(error))
    with ExitStack() as stack:
        work = given.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        logs = given.logs or work / "logs"
        try:
            figures = run(
                lab,
                otlp=given.otlp,
                logs=logs.absolute(),
                work=work.absolute(),
                bugs=bugs,
                seconds=given.seconds,
            )
        except LabProcessError as error:
            sys.stderr.write(f"{error}\n")
            return 1
        except KeyboardInterrupt:
            return 130
        sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    return 0


def _describe(parser: argparse.ArgumentParser, lab: Lab) -> None:
    bugs = "; ".join(f"{name}: {what}" for name, what in lab.bugs.items())
    parser.add_argument("--bugs", default="all", help=f"all, none, or some of: {bugs}")
    parser.add_argument("--otlp", default="http://127.0.0.1:4318", help="base URL of a collector")
    parser.add_argument("--logs", type=Path, help="folder for JSON log lines (work/logs)")
    parser.add_argument("--work", type=Path, help="folder for all else (one that is deleted)")
    parser.add_argument(
        "--seconds", type=float, default=lab.seconds, help="how long new work comes in"
    )


def run(
    lab: Lab, *, otlp: str, logs: Path, work: Path, bugs: frozenset[str], seconds: float
) -> dict[str, float | int]:
    """Run *lab* from start to end, and return what really happened (also in work/truth.json).

    Prints a line each second.

    Raises:
        LabProcessError: one of its processes ended early.
    """
    with Runner(lab.processes(otlp, logs, work, bugs, seconds), work) as runner:
        for _ in runner.watch(seconds + lab.tail_s):
            sys.stdout.write(lab.progress(work) + "\n")
            sys.stdout.flush()
    figures = lab.truth(logs, work)
    (work / TRUTH).write_text(json.dumps(figures, indent=2) + "\n")
    return figures


if __name__ == "__main__":
    sys.exit(main())
