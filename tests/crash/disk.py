"""A disk that is full and free again, with kills in between."""

from __future__ import annotations

import shutil
import subprocess
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from tests.crash._launch import RefusedError, Sidecar, Zygote
from tests.crash._traffic import LIGHT_PACE, Ledger, Senders, dice
from tests.crash._verify import check
from tests.crash.kill import spread

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator
    from pathlib import Path

SIZE_MIB: Final = 32


class CannotMountError(Exception):
    """No file system of our own can be had here; the message says why."""


@contextmanager
def small_disk(path: Path) -> Iterator[Path]:
    """Mount a file system of `SIZE_MIB` in memory at *path*. Raises CannotMountError."""
    path.mkdir(parents=True, exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "zombiewatch-crash", str(path)]
    try:
        done = subprocess.run(words, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        raise CannotMountError("there is no `mount` on PATH") from None
    if done.returncode:
        raise CannotMountError(done.stderr.strip())
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def _fill(path: Path, leave: int) -> None:
    """Leave *leave* bytes free, rounded down to what can be written."""
    with (path / "filler").open("ab", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            with suppress(OSError):
                while shutil.disk_usage(path).free >= leave + size:
                    file.write(b"x" * size)


def run(
    zygote: Zygote, folder: Path, *, rounds: int, seed: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Fill the disk and free it *rounds* times; return what came of it, as plain values.

    In each round the disk fills while records come in; some go on until they are refused; then
    comes a kill or none, a start on the full disk or on one with room again, and with room again
    records must be taken within seconds.
    """
    ledger, chance = Ledger(), dice("disk", seed)
    result: dict[str, Any] = {"rounds": 0, "kills": 0, "starts_on_full": 0}
    freed: list[float] = []
    problems: list[str] = []
    with small_disk(folder / "disk") as disk:
        settings = {"data_dir": str(disk / "data"), "store": {"journal_max_bytes": 8 << 20}}
        with Sidecar(zygote, folder, settings) as sidecar:
            try:
                sidecar.start()
                for number in range(rounds):
                    freed.append(_one_round(sidecar, disk, ledger, number, chance, result=result))
                    result["rounds"] += 1
                    say(f"disk: {number + 1} of {rounds} rounds, {dict(ledger.refused)} refused")
                sidecar.stop()
                verdict = check(sidecar.data, ledger)
                result |= {"lost": len(verdict.lost), "doubled": len(verdict.doubled)}
                result["wrong"] = len(verdict.wrong) + len(verdict.invented)
                problems += [] if verdict.good else [str(verdict)]
            except (RefusedError, TimeoutError) as error:
                problems.append(str(error))
    return {
        **result,
        "sent": len(ledger.sent),
        "acknowledged": len(ledger.acknowledged),
        "refused": sum(ledger.refused.values()),
        "taken_again": spread(freed),
        "good": not problems,
        "problems": problems,
    }


def _one_round(
    sidecar: Sidecar,
    disk: Path,
    ledger: Ledger,
    number: int,
    chance: random.Random,
    *,
    result: dict[str, Any],
) -> float:
    """Return how long it took until records were taken again, once there was room, in seconds."""
    before = sum(ledger.refused.values())
    with Senders(ledger, sidecar.urls, number, chance):
        time.sleep(chance.uniform(0.0, 0.3))  # the moment is what is tried, not waited for
        _fill(disk, chance.choice([0, 0, 4096, 1 << 16, 1 << 19]))
        until = time.monotonic() + chance.uniform(0.2, 2.0)
        while time.monotonic() < until and sum(ledger.refused.values()) == before:
            time.sleep(0.01)  # a poll, bounded
        killed = chance.random() < 0.6
        if killed:
            sidecar.kill()
            result["kills"] += 1
    if killed and chance.random() < 0.5:
        sidecar.start()
        result["starts_on_full"] += 1
    (disk / "filler").unlink()
    if not sidecar.urls or killed:
        sidecar.kill()
        sidecar.start()
    return _taken_again(sidecar, ledger, number, chance)


def _taken_again(sidecar: Sidecar, ledger: Ledger, number: int, chance: random.Random) -> float:
    begun = time.monotonic()
    known = len(ledger.acknowledged)
    with Senders(ledger, sidecar.urls, f"{number}.after", chance, pace=LIGHT_PACE):
        while len(ledger.acknowledged) == known:
            if time.monotonic() > begun + 30:
                raise TimeoutError("with room again, nothing was taken for 30 s")
            time.sleep(0.005)  # a poll, bounded
    return time.monotonic() - begun
