"""What both programs of the lab are told on their command lines."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Final

BUGS: Final = {
    "wrong_context": (
        "The dispatch handler works in the application's context instead of the request's: the"
        " caller gives up, the task is set running all the same."
    ),
    "swallow_errors": (
        "The agent ignores the error that its report call returned: nobody logs it, nobody"
        " tries again."
    ),
    "missing_index": (
        "The report handler looks tasks up by a column without index, in a table that keeps"
        " growing: the same call takes longer every second."
    ),
}

DATABASE: Final = "oxr.db"
PROGRESS: Final = "progress.json"
"""Files of the control plane in its folder."""


@dataclass(frozen=True, slots=True)
class Options:
    """Where to send and keep things, which bugs are in, and how long work comes in (seconds)."""

    otlp: str
    logs: Path
    work: Path
    bugs: frozenset[str]
    seconds: float


def parser(program: str, description: str) -> argparse.ArgumentParser:
    """Return a parser of the options that both programs have; more can be added."""
    found = argparse.ArgumentParser(prog=f"python -m {program}", description=description)
    found.add_argument("--otlp", default="http://127.0.0.1:4318", help="base URL of a collector")
    found.add_argument("--logs", type=Path, required=True, help="folder for JSON log lines")
    found.add_argument("--work", type=Path, required=True, help="folder for the table and others")
    found.add_argument(
        "--bugs", type=_bugs, default=frozenset(), help=f"any of {', '.join(BUGS)}, comma between"
    )
    found.add_argument("--seconds", type=float, default=40.0, help="how long new tasks come in")
    return found


def options(arguments: argparse.Namespace) -> Options:
    """Return the options of both programs from what was parsed."""
    return Options(
        arguments.otlp, arguments.logs, arguments.work, arguments.bugs, arguments.seconds
    )


def _bugs(text: str) -> frozenset[str]:
    chosen = frozenset(filter(None, text.split(",")))
    if unknown := sorted(chosen - frozenset(BUGS)):
        raise argparse.ArgumentTypeError(f"no bug {unknown[0]!r}; there are {', '.join(BUGS)}")
    return chosen
