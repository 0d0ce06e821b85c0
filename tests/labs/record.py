"""Records the labs: each is run against a sidecar, and what that heard is kept beside the tests.

    python -m tests.labs.record [LAB …]

Of each lab with no bug, with each alone and with all; `test_recorded.py` judges them again.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from collector import recorded
from labs._kit import find_labs
from tests.labs._recorded import RECORDED, pipeline
from zombiewatch.session import Session, run_lab

if TYPE_CHECKING:
    from labs._kit import Lab

TRIES: Final = 2


def main(names: list[str]) -> int:
    """Record the labs *names*, or all; return how many runs did not find what they had to."""
    wrong = 0
    for lab in find_labs().values():
        if not names or lab.name in names:
            wrong += sum(not record(lab, bugs) for bugs in ("none", *lab.bugs, "all"))
    return wrong


def record(lab: Lab, bugs: str) -> bool:
    """Run *lab* with *bugs* and keep what was heard, if it found what it had to."""
    path = RECORDED / lab.name / f"{bugs}.jsonl.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(TRIES):
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as parts:
            kept = Path(folder)
            if run_lab(Session(lab=lab.name, bugs=bugs, keep=kept)) == 0:
                with pipeline(lab) as reading:
                    signals = recorded.read([kept / "data"], reading, Path(parts)).save(path)
                sys.stdout.write(f"{path}: {signals} signals, {path.stat().st_size:,} bytes\n")
                return True
    sys.stdout.write(f"{path}: NOT recorded\n")
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
