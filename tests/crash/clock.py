"""The clock stepped by hours, forwards and backwards, while a sidecar runs and between its starts.

The machine's own clock is not touched. Nothing of ours asks it: one clock is handed to the
service, and here that is one which a file puts wrong. The monotonic clock goes on, as it does when
a real clock is stepped; so do the times that the file system gives to files.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from tests.crash._launch import RefusedError, Sidecar
from tests.crash._traffic import LIGHT_PACE, Ledger, Senders, Writer, dice
from tests.crash._verify import check
from tests.crash.kill import read_to_end

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

    from tests.crash._launch import Zygote

_STEPS_S: Final = (-6 * 3600, -3600, -90, -2, 2, 90, 3600, 6 * 3600)
_MOST_S: Final = 10 * 3600
"""Further off than this the clock never is: rates are kept for a day."""


class Steps:
    """A clock that is off by a number of seconds, which the file `path` says."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "clock"
        self.off_s = 0
        self.write()

    def step(self, chance: random.Random) -> int:
        """Step it by chance; return by how much."""
        by = chance.choice([one for one in _STEPS_S if abs(self.off_s + one) <= _MOST_S])
        self.off_s += by
        self.write()
        return by

    def write(self) -> None:
        """Make it true."""
        partial = self.path.with_suffix(".partial")
        partial.write_text(str(self.off_s))
        partial.rename(self.path)


def run(
    zygote: Zygote, folder: Path, *, rounds: int, seed: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Step the clock *rounds* times, with kills in between; return what came of it."""
    ledger, chance = Ledger(), dice("clock", seed)
    folder.mkdir(parents=True, exist_ok=True)
    steps, problems = Steps(folder), []
    writer = Writer(ledger, folder / "logs", dice(chance.random()))
    settings = {"follow": [{"path": writer.pattern, "service": "dispatcher"}]}
    result: dict[str, Any] = {"rounds": 0, "kills": 0, "while_running": 0, "between_starts": 0}
    with Sidecar(zygote, folder, settings, steps.path) as sidecar:
        writer.start()
        try:
            sidecar.start()
            for number in range(rounds):
                by = _one_round(sidecar, steps, ledger, number, chance, result=result)
                result["rounds"] += 1
                say(f"clock: {number + 1} of {rounds} rounds, stepped by {by:+d} s")
            writer.end()
            read_to_end(sidecar, writer)
            sidecar.stop()
            verdict = check(sidecar.data, ledger)
            result |= {"lost": len(verdict.lost), "doubled": len(verdict.doubled)}
            result["wrong"] = len(verdict.wrong) + len(verdict.invented)
            problems += [] if verdict.good else [str(verdict)]
        except RefusedError as error:
            problems.append(str(error))
        finally:
            writer.end()
    sent = {"sent": len(ledger.sent), "acknowledged": len(ledger.acknowledged)}
    return {**result, **sent, "good": not problems, "problems": problems}


def _one_round(
    sidecar: Sidecar,
    steps: Steps,
    ledger: Ledger,
    number: int,
    chance: random.Random,
    *,
    result: dict[str, Any],
) -> int:
    running = chance.random() < 0.5
    with Senders(ledger, sidecar.urls, number, chance):
        time.sleep(chance.uniform(0.0, 0.2))  # the moment is what is tried, not waited for
        if running:
            by = steps.step(chance)
            time.sleep(chance.uniform(0.0, 0.2))  # likewise
            result["while_running"] += 1
        if killed := chance.random() < 0.7:
            sidecar.kill()
            result["kills"] += 1
    if not killed:
        sidecar.stop()
    if not running:
        by = steps.step(chance)
        result["between_starts"] += 1
    sidecar.start()
    return by


def step_back(zygote: Zygote, folder: Path) -> dict[str, Any]:
    """Step the clock back under a sidecar that hears little; see that it still writes it down.

    Checkpoints are due each second: they must not wait until the clock is where it was.
    """
    ledger, chance, problems = Ledger(), dice("back"), []
    folder.mkdir(parents=True, exist_ok=True)
    steps = Steps(folder)
    name = "zombiewatch_checkpoints_total"
    with Sidecar(zygote, folder, clock=steps.path) as sidecar:
        sidecar.start()
        with Senders(ledger, sidecar.urls, 0, chance, pace=LIGHT_PACE, kinds="b"):
            _more_than(sidecar, name, 0)
            steps.off_s -= 3 * 3600
            steps.write()
            if not _more_than(sidecar, name, sidecar.metric(name) + 1):
                problems.append(
                    "stepped back by 3 h, it made no checkpoint for 10 s (one is due each)"
                )
        sidecar.stop()
    verdict = check(sidecar.data, ledger)
    problems += [] if verdict.good else [str(verdict)]
    return {"good": not problems, "problems": problems}


def _more_than(sidecar: Sidecar, name: str, number: float) -> bool:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if sidecar.metric(name) > number:
            return True
        time.sleep(0.05)  # a poll, bounded
    return False
