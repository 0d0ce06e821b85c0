"""What every program of a lab is told on its command line."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclass(frozen=True, slots=True)
class Options:
    """Where to send and keep things, which bugs are in, and how long work comes in (seconds)."""

    otlp: str
    logs: Path
    work: Path
    bugs: frozenset[str]
    seconds: float

    @classmethod
    def of(cls, parsed: argparse.Namespace) -> Self:
        """Return what was parsed."""
        return cls(**{field.name: getattr(parsed, field.name) for field in fields(cls)})


def parser(program: str, description: str, bugs: Iterable[str]) -> argparse.ArgumentParser:
    """Return a parser of `Options`; more can be added. *bugs* are those that the lab has."""
    found = argparse.ArgumentParser(prog=f"python -m {program}", description=description)
    add = found.add_argument
    add("--otlp", default="http://127.0.0.1:4318", help="base URL of a collector")
    add("--logs", type=Path, required=True, help="folder for log lines")
    add("--work", type=Path, required=True, help="folder for all else")
    known = ", ".join(bugs)
    add("--bugs", type=_one_of(bugs), default=frozenset(), help=f"any of {known}, comma between")
    add("--seconds", type=float, default=40.0, help="how long new work comes in")
    return found


def _one_of(bugs: Iterable[str]) -> Callable[[str], frozenset[str]]:
    def chosen(text: str) -> frozenset[str]:
        found = frozenset(filter(None, text.split(",")))
        if unknown := sorted(found.difference(bugs)):
            raise argparse.ArgumentTypeError(f"no bug {unknown[0]!r}; there are {', '.join(bugs)}")
        return found

    return chosen
