"""`python -m tests.crash`: tries to make a sidecar lose something, and tells what came of it."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.machine import Others, facts
from tests.crash import clock, damage, disk, report, soak
from tests.crash._launch import ROOT, Zygote
from tests.crash.kill import FOLDER_ROUNDS, kill_rounds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Say = Callable[[str], None]

PARTS: Final = ("kill", "damage", "disk", "clock")
PAGE: Final = ROOT / "docs" / "reliability.md"

_EXAMPLES: Final = """\
examples:
  python -m tests.crash                           everything, 1,000 kills, and the page of it
  python -m tests.crash kill --rounds 100 --seed 7
  python -m tests.crash damage disk clock
  python -m tests.crash soak --minutes 60         a steady load; picture in docs/images
  python -m tests.crash --from build/crash.json --page docs/reliability.md
                                                  the tables and the page of an earlier run
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.crash",
        description="Kills sidecars, damages their files, fills their disk and steps their clock;"
        " then looks whether all that was acknowledged is there, once.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "what", nargs="*", metavar="PART",
        help=f"of {', '.join(PARTS)}, soak; all but soak by default",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=1000, help="kills (default: 1000)")
    parser.add_argument(
        "--minutes", type=float, default=30.0,
        help="how long the kills, or the soak, may take at most (default: 30)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, help="another one, other moments")
    parser.add_argument(
        "--json", type=Path, default=ROOT / "build" / "crash.json", metavar="FILE",
        help="where the results go, beside what it holds of other parts (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--page", type=Path, metavar="FILE",
        help="where the page goes (default: docs/reliability.md after a whole run, else none)",
    )  # fmt: skip
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER",
        help="where the data folders go; what went wrong is still in it afterwards",
    )  # fmt: skip
    parser.add_argument(
        "--from", type=Path, dest="earlier", metavar="FILE", help="try nothing: show what was found"
    )
    return parser


def _tried(asked: argparse.Namespace, folder: Path, say: Say) -> dict[str, Any]:
    """Do what is asked for below *folder*; return the results."""
    began, parts, others = time.monotonic(), asked.what or PARTS, Others()
    said: dict[str, Any] = {
        "format": 1,
        "began": datetime.now(UTC).isoformat(timespec="minutes").replace("+00:00", "Z"),
        "seed": asked.seed,
        "folder_rounds": FOLDER_ROUNDS,
        "machine": facts(),
    }
    with Zygote() as zygote:
        for part in parts:
            said |= _part(part, asked, zygote, folder / part, say)
    said["took_s"], said["others_share"] = time.monotonic() - began, others.share()
    return said


def _with_earlier(said: dict[str, Any], file: Path) -> dict[str, Any]:
    """Return *said* with what *file* holds of other parts."""
    earlier = json.loads(file.read_text()) if file.exists() else {}
    both = {**earlier, **said}
    both["took_s"] = earlier.get("took_s", 0.0) + said["took_s"]
    return both


def _part(
    part: str, asked: argparse.Namespace, zygote: Zygote, folder: Path, say: Say
) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    seed = asked.seed
    if part == "kill":
        most_s = asked.minutes * 60
        tally = kill_rounds(zygote, folder, rounds=asked.rounds, seed=seed, seconds=most_s, say=say)
        return {part: tally.figures()}
    if part == "damage":
        return {part: damage.run(zygote, folder, say)}
    if part == "disk":
        try:
            return {part: disk.run(zygote, folder, rounds=20, seed=seed, say=say)}
        except disk.CannotMountError as error:
            say(f"disk: left out, since no file system can be mounted here: {error}")
            return {}
    if part == "clock":
        stepped = clock.run(zygote, folder / "steps", rounds=30, seed=seed, say=say)
        return {part: stepped, "step_back": clock.step_back(zygote, folder / "back")}
    result = soak.run(folder, minutes=asked.minutes, say=say)
    soak.PICTURE.write_text(soak.picture(result))
    return {part: result}


def main(words: Sequence[str] | None = None) -> int:
    """Follow the command line; return 0 where all held, else 1."""
    parser = _parser()
    asked = parser.parse_args(words)
    for name in asked.what:  # argparse's own choices do not allow for none
        if name not in {*PARTS, "soak"}:
            parser.error(f"{name!r} is none of {', '.join(PARTS)}, soak")
    begun = time.monotonic()

    def say(line: str) -> None:
        sys.stderr.write(f"{time.monotonic() - begun:6.1f} s  {line}\n")

    if asked.earlier:
        said = json.loads(asked.earlier.read_text())
    else:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            said = _tried(asked, asked.keep or Path(folder), say)
        if asked.what:
            said = _with_earlier(said, asked.json)
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(json.dumps(said, indent=2) + "\n")
    sys.stdout.write(report.text(said) + "\n")
    page = asked.page or (None if asked.what or asked.earlier else PAGE)
    if page:
        page.write_text(report.page(said), encoding="utf-8")
    return 1 if report.bad(said) else 0


if __name__ == "__main__":
    sys.exit(main())
