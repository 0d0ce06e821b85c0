"""Kill rounds: a sidecar that is killed at random moments, and started again on what it left."""

from __future__ import annotations

import shutil
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from tests.crash._launch import RefusedError, Sidecar, Zygote
from tests.crash._traffic import BUSY_PACE, LIGHT_PACE, Ledger, Senders, Writer, dice
from tests.crash._verify import check, unnamed

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

    from tests.crash._verify import Verdict

FOLDER_ROUNDS: Final = 25
"""So many rounds are on one data folder; then it is stopped, and all in it is looked at."""

MOMENTS: Final = {
    "sending": 50,
    "starting": 25,
    "checkpoint": 15,
    "stopping": 5,
    "stopped": 5,
}
"""When it ends, and how likely: while records come in, before it is ready, with a checkpoint half
written, told to stop and not yet done, or well stopped, so that what follows that is tried too."""


@dataclass(slots=True)
class Tally:
    """What all rounds came to."""

    rounds: int = 0
    folders: int = 0
    sent: int = 0
    acknowledged: int = 0
    stored: int = 0
    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    refused_to_start: int = 0
    left_half_written: int = 0
    checkpoints: int = 0
    rotations: int = 0
    moments: Counter[str] = field(default_factory=Counter)
    recovered_s: list[float] = field(default_factory=list)
    recovered_cold_s: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    took_s: float = 0.0

    def add(self, verdict: Verdict, ledger: Ledger) -> None:
        """Add what a folder held."""
        self.folders += 1
        self.sent += len(ledger.sent)
        self.acknowledged += len(ledger.acknowledged)
        self.stored += verdict.stored
        self.lost += len(verdict.lost)
        self.doubled += len(verdict.doubled)
        self.wrong += len(verdict.wrong) + len(verdict.invented)

    def figures(self) -> dict[str, Any]:
        """Return it as plain numbers, for JSON; times in seconds."""
        plain = ("rounds", "folders", "sent", "acknowledged", "stored", "lost", "doubled", "wrong")
        more = ("refused_to_start", "left_half_written", "checkpoints", "rotations", "took_s")
        return {
            **{name: getattr(self, name) for name in (*plain, *more)},
            "moments": {name: self.moments[name] for name in MOMENTS},
            "recovered": spread(self.recovered_s),
            "recovered_cold": spread(self.recovered_cold_s),
            "problems": self.problems,
        }


def spread(seconds: list[float]) -> dict[str, float]:
    """Return how many times there are, and their middle, 99th percentile and greatest."""
    if not seconds:
        return {"times": 0}
    at = sorted(seconds)
    high = at[min(len(at) - 1, int(len(at) * 0.99))]
    return {"times": len(at), "median_s": median(at), "p99_s": high, "max_s": at[-1]}


def kill_rounds(
    zygote: Zygote,
    folder: Path,
    *,
    rounds: int,
    seed: int,
    seconds: float = float("inf"),
    say: Callable[[str], None],
) -> Tally:
    """Do *rounds* rounds below *folder*, or what is done of them after *seconds*.

    A folder in which all is well is removed; another is kept, to be looked at.
    """
    tally, begun = Tally(), time.monotonic()
    while tally.rounds < rounds and time.monotonic() - begun < seconds:
        many = min(FOLDER_ROUNDS, rounds - tally.rounds)
        own = folder / f"{seed}-{tally.folders}"
        until = begun + seconds
        try:
            good = _one_folder(zygote, own, many, dice(seed, tally.folders), tally, until=until)
        except RefusedError as error:
            good = False
            tally.folders += 1
            tally.refused_to_start += 1
            tally.problems.append(f"{own}: {error}")
        if good:
            shutil.rmtree(own)
        tally.took_s = time.monotonic() - begun
        say(
            f"{tally.rounds} of {rounds} rounds: {tally.acknowledged:,} acknowledged,"
            f" {tally.lost} lost, {tally.doubled} doubled, {tally.wrong} wrong,"
            f" {tally.refused_to_start} refused to start"
        )
    return tally


def _one_folder(
    zygote: Zygote, folder: Path, rounds: int, chance: random.Random, tally: Tally, *, until: float
) -> bool:
    ledger = Ledger()
    writer = Writer(ledger, folder / "logs", dice(chance.random()))
    settings = {"follow": [{"path": writer.pattern, "service": "dispatcher"}]}
    manifests: set[str] = set()
    with Sidecar(zygote, folder, settings) as sidecar:
        writer.start()
        try:
            for number in range(rounds):
                if time.monotonic() > until:
                    break
                _one_round(sidecar, ledger, number, chance, tally)
                tally.rounds += 1
                tally.left_half_written += bool(unnamed(sidecar.data))
                manifests.update(path.name for path in sidecar.data.glob("snapshots/*.json"))
        finally:
            writer.end()
        tally.recovered_cold_s.append(sidecar.start(cold=True))
        read_to_end(sidecar, writer)
        sidecar.stop()
    tally.checkpoints += len(manifests)
    tally.rotations += writer.rotations
    verdict = check(sidecar.data, ledger)
    tally.add(verdict, ledger)
    if not verdict.good:
        tally.problems.append(f"{folder}: {verdict}")
    return verdict.good


def _one_round(
    sidecar: Sidecar, ledger: Ledger, number: int, chance: random.Random, tally: Tally
) -> None:
    [moment] = chance.choices([*MOMENTS], [*MOMENTS.values()])
    tally.moments[moment] += 1
    sidecar.begin()
    if moment == "starting":
        time.sleep(chance.uniform(0.0, 0.2))  # the moment is what is tried, not waited for
        sidecar.kill()
        return
    tally.recovered_s.append(sidecar.ready())
    light = moment != "checkpoint" and chance.random() < 0.3
    with Senders(ledger, sidecar.urls, number, chance, pace=LIGHT_PACE if light else BUSY_PACE):
        if moment == "checkpoint":
            _begins_to_write(sidecar)
            time.sleep(chance.uniform(0.0, 0.06))  # likewise
        else:
            time.sleep(chance.uniform(0.0, 0.4))  # likewise
        if moment == "stopped":
            sidecar.stop()
            return
        if moment == "stopping":
            sidecar.signal(signal.SIGTERM)
            time.sleep(chance.uniform(0.0, 0.15))  # likewise
        sidecar.kill()


def _begins_to_write(sidecar: Sidecar) -> None:
    """Wait until a checkpoint begins to be written; one is due each second."""
    folder = sidecar.data / "segments"
    before, until = folder.stat().st_mtime_ns, time.monotonic() + 3.0
    while folder.stat().st_mtime_ns == before and time.monotonic() < until:
        time.sleep(0.0005)  # a poll, bounded


def read_to_end(sidecar: Sidecar, writer: Writer) -> None:
    """Wait until the followed files have been taken in."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if (
            sidecar.metric("zombiewatch_follow_behind_bytes") == 0
            and sidecar.heard(writer.last) == 1
        ):
            return
        time.sleep(0.02)  # a poll, bounded; what is missing then is told by number
