"""Bruin's incident against the real sidecar: what must be found is, and nothing else."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from zombiewatch.session import Session, Sidecar, run_lab

if TYPE_CHECKING:
    from collections.abc import Callable


def found(
    bugs: str, each_second: Callable[[float, Sidecar], None] | None = None
) -> tuple[int, str]:
    """Run the lab with *bugs*; return the exit status and what was printed."""
    console = Console(file=io.StringIO(), width=160)
    session = Session(lab="bruin", bugs=bugs, console=console, each_second=each_second)
    status = run_lab(session)
    assert isinstance(console.file, io.StringIO)
    return status, console.file.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("bugs", ["none", "all"])
def test_the_lab_s_findings_are_those_of_the_incident(bugs: str) -> None:
    """With all bugs and with none; for each alone there is a recording (test_recorded.py)."""
    status, printed = found(bugs)
    assert status == 0, printed


@pytest.mark.slow
def test_a_sidecar_killed_in_the_middle_finds_the_same() -> None:
    """SIGKILL and a restart in mid-incident change nothing of what is found."""
    killed: list[float] = []

    def kill(gone: float, sidecar: Sidecar) -> None:
        if gone > 20 and not killed:
            killed.append(gone)
            sidecar.kill()
            sidecar.start()

    status, printed = found("all", kill)
    assert killed
    assert status == 0, printed
