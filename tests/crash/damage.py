"""Damage: files of a stopped data folder spoilt, one way at a time; then it must start and serve.

The folder that is spoilt holds four groups of numbered records:

- *old*: in segments, and no longer in the journal;
- *covered*: in the newest segment, and in the journal too, which is trimmed only behind the older
  of two snapshots;
- *fresh*: in the journal alone, since a kill came before any checkpoint;
- *later*: sent after the damage, which must be taken as ever.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import duckdb

from tests.crash._harm import WAYS, emptied, flipped, page_of_zeros, removed
from tests.crash._launch import RefusedError, Sidecar, Zygote
from tests.crash._traffic import LIGHT_PACE, Ledger, Senders, dice
from tests.crash._verify import compare, manifests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SETTINGS: Final = {"store": {"checkpoint_every_s": 3600, "segment_rows": 100_000, "settle_s": 1}}
"""Checkpoints are made by stopping alone, so that who is where is known."""

_OLD_STOPS: Final = 6

_SCRUBBED_S: Final = 40.0
"""Until then all old segments, a few dozen, have been read whole."""


@dataclass(frozen=True, slots=True)
class Case:
    """One damage: what is done to which files below the data folder, and what may be lost."""

    name: str
    harm: Callable[[Path], None]
    files: Callable[[Path], list[Path]]
    spared: frozenset[str] = frozenset({"old", "covered", "fresh"})
    """Groups that are still whole elsewhere; *old* also in all segments that were not harmed."""
    relations: bool = True
    """Whether the relations must be as if nothing had happened."""
    counted: bool = True
    """Whether it is damage that must be seen: what can be done without need not be."""
    settled_log: bool = False
    """Whether SQLite had moved its write-ahead log into the journal before."""


@dataclass(slots=True)
class Base:
    """A data folder to be spoilt, and which tasks are where in it."""

    folder: Path
    groups: dict[str, set[str]] = field(default_factory=dict)
    sent: set[str] = field(default_factory=set)


def build(zygote: Zygote, folder: Path) -> Base:
    """Return a folder with old, covered and fresh records, killed at the end."""
    base, ledger = Base(folder), Ledger()
    with Sidecar(zygote, folder, SETTINGS) as sidecar:
        for number in range(_OLD_STOPS + 2):
            sidecar.start()
            known = set(ledger.acknowledged)
            with Senders(ledger, sidecar.urls, number, dice("damage", number), pace=LIGHT_PACE):
                _until(partial(_has_more, ledger, len(known) + 150))
            group = "old" if number < _OLD_STOPS else "covered"
            if number <= _OLD_STOPS:
                sidecar.stop()
            else:
                group = "fresh"
                sidecar.kill()
            base.groups.setdefault(group, set()).update(ledger.acknowledged - known)
    base.sent = ledger.sent
    shutil.copytree(folder / "data", folder / "settled")
    with closing(sqlite3.connect(folder / "settled" / "journal.sqlite")) as journal:
        journal.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return base


def _has_more(ledger: Ledger, than: int) -> bool:
    return len(ledger.acknowledged) > than


def _has_damage(sidecar: Sidecar) -> bool:
    return sidecar.metric("zombiewatch_damaged_total") > 0


def _until(true: Callable[[], bool], within_s: float = 30.0) -> None:
    until = time.monotonic() + within_s
    while not true() and time.monotonic() < until:
        time.sleep(0.005)  # a poll, bounded


def cases() -> list[Case]:
    """Return all cases."""
    return list(chain(_snapshot_cases(), _segment_cases(), _journal_cases(), _other_cases()))


def _snapshot_cases() -> Iterator[Case]:
    for way, harm in WAYS.items():
        counted = way != "removed"
        yield Case(f"newest manifest, {way}", harm, _manifest(-1), counted=counted)
        yield Case(f"newest snapshot, {way}", harm, _hot("attempts_rows", -1))
    yield Case("newest snapshot's rates, a bit flipped", flipped(0.5), _hot("rates", -1))
    yield Case("newest snapshot, its last byte flipped", flipped(1.0), _hot("attempts_rows", -1))
    yield Case("older manifest, a bit flipped", flipped(0.5), _manifest(0))
    older = _hot("attempts_rows", 0)
    yield Case("older snapshot, a bit flipped", flipped(0.5), older, counted=False)
    for way, harm in WAYS.items():
        counted = way != "removed"
        all_of = _glob("snapshots/*.json")
        yield Case(f"both manifests, {way}", harm, all_of, relations=False, counted=counted)
    both = _glob("snapshots/*-attempts_rows.parquet")
    yield Case("both snapshots, a bit flipped", flipped(0.5), both, relations=False)
    everything = _glob("snapshots/*")
    yield Case("all snapshots, removed", removed, everything, relations=False, counted=False)


def _segment_cases() -> Iterator[Case]:
    for way, harm in WAYS.items():
        yield Case(f"newest segment of signals, {way}", harm, _segment("signals", -1))
        oldest = _segment("signals", 0)
        yield Case(f"oldest segment of signals, {way}", harm, oldest, relations=False)
        settled = _segment("attempts", 0)
        yield Case(f"oldest segment of attempts, {way}", harm, settled, relations=False)
    all_of = _glob("segments/*")
    yield Case("all segments, cut in half", WAYS["cut in half"], all_of, relations=False)


_SHARES: Final = (0.0, 0.0001, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def _journal_cases() -> Iterator[Case]:
    kept = frozenset({"old", "covered"})
    base, wal = _glob("journal.sqlite"), _glob("journal.sqlite-wal")

    def case(name: str, harm: Callable[[Path], None], files: Any, **more: Any) -> Case:
        return Case(name, harm, files, spared=kept, **more)

    for way, harm in WAYS.items():
        # most of its pages are in the log anyway: then nothing is damaged that anybody reads
        yield case(f"journal, {way}", harm, base, counted=False)
        # what SQLite drops of its write-ahead log it cannot tell from a write that was cut off
        yield case(f"journal's write-ahead log, {way}", harm, wal, counted=False)
        yield case(f"journal without a log, {way}", harm, base, settled_log=True, counted=False)
    for share in _SHARES:
        more = {"settled_log": True, "counted": False}
        where = f"at {share:.4g} of it"
        yield case(f"journal without a log, a bit flipped {where}", flipped(share), base, **more)
        zero = page_of_zeros(min(share, 0.99))
        yield case(f"journal without a log, 4 KiB of zeros {where}", zero, base, **more)
    yield case("journal's log, a bit of its header flipped", flipped(0.0), wal, counted=False)
    yield case("journal and its log, a bit flipped", flipped(0.0), _glob("journal.sqlite*"))
    yield case("journal and its log, removed", removed, _glob("journal*"), counted=False)


def _other_cases() -> Iterator[Case]:
    yield Case("findings, a bit of the header flipped", flipped(0.0), _glob("findings.sqlite"))
    for name in ("format.json", "alive"):
        for way, harm in WAYS.items():
            yield Case(f"{name}, {way}", harm, _glob(name), counted=False)


def _glob(pattern: str) -> Callable[[Path], list[Path]]:
    return lambda data: sorted(data.glob(pattern))


def _manifest(at: int) -> Callable[[Path], list[Path]]:
    return lambda data: [sorted(data.glob("snapshots/*.json"))[at]]


def _hot(table: str, at: int) -> Callable[[Path], list[Path]]:
    return lambda data: [sorted(data.glob(f"snapshots/*-{table}.parquet"))[at]]


def _segment(table: str, at: int) -> Callable[[Path], list[Path]]:
    def find(data: Path) -> list[Path]:
        said = manifests(data)[0]["segments"]
        return [data / [one["name"] for one in said if one["table"] == table][at]]

    return find


def attempt(zygote: Zygote, base: Base, folder: Path, case: Case) -> dict[str, Any]:
    """Spoil a copy of *base* in *folder*, start on it; return how it went, as plain values."""
    shutil.copytree(base.folder / ("settled" if case.settled_log else "data"), folder / "data")
    data = folder / "data"
    harmed = case.files(data)
    gone = _only_in(harmed)
    for path in harmed:
        case.harm(path)
    ledger, problems = Ledger(), []
    result: dict[str, Any] = {"name": case.name, "started": True}
    try:
        with Sidecar(zygote, folder, SETTINGS) as sidecar:
            result["ready_s"] = sidecar.start()
            problems += _serves(sidecar, base)
            with Senders(ledger, sidecar.urls, "later", dice(case.name), pace=LIGHT_PACE):
                _until(partial(_has_more, ledger, 20), within_s=10)
            if not ledger.acknowledged:
                problems.append(f"takes nothing more: {dict(ledger.refused)}")
            if case.counted:  # old segments are read whole after the start, one each second
                _until(partial(_has_damage, sidecar), within_s=_SCRUBBED_S)
            result["damaged"] = int(sidecar.metric("zombiewatch_damaged_total"))
            problems += _once_each_in_timeline(sidecar, ledger)
            sidecar.stop()
    except RefusedError as error:
        return {**result, "started": False, "good": False, "problems": [str(error)]}
    result["set_aside"] = sum(1 for _ in (data / "damaged").iterdir())
    try:
        problems += _kept(data, base, case, ledger, gone=gone, result=result)
    except duckdb.Error as error:
        problems.append(f"its history cannot be read: {error}")
    if case.counted and not result["damaged"]:
        problems.append("the damage was not counted")
    if case.counted and case.harm is not removed and not result["set_aside"]:
        problems.append("nothing was set aside")
    return {**result, "good": not problems, "problems": problems}


def _kept(
    data: Path, base: Base, case: Case, ledger: Ledger, *, gone: set[str], result: dict[str, Any]
) -> list[str]:
    """Add to *result* what was lost; return what may not have been. *gone* was in one file."""
    problems = []
    must = set().union(*(base.groups[name] for name in case.spared)) - (
        gone - set().union(*(base.groups[name] for name in case.spared - {"old"}))
    )
    verdict = compare(data, must | ledger.acknowledged, base.sent | ledger.sent)
    whole = compare(data, set().union(*base.groups.values()), base.sent | ledger.sent)
    result["lost"], result["doubled"] = len(verdict.lost), len(verdict.doubled)
    result["gone"] = len(whole.lost)
    # SQLite takes a journal that is not there, or that is empty, for a new one
    silent = case.settled_log and case.harm not in {removed, emptied} and not result["damaged"]
    if whole.lost and silent:
        problems.append(f"{len(whole.lost)} records are gone, and no damage was counted")
    if not case.relations or "fresh" not in case.spared:
        verdict.wrong.clear()
    if not verdict.good:
        problems.append(str(verdict))
    return problems


def _only_in(harmed: list[Path]) -> set[str]:
    """Return the tasks whose signals are in segments among *harmed*."""
    files = [str(path) for path in harmed if path.name.startswith("signals")]
    if not files:
        return set()
    with duckdb.connect() as connection:
        rows = connection.execute("SELECT task FROM read_parquet($files)", {"files": files})
        return {task for (task,) in rows.fetchall()}


def _serves(sidecar: Sidecar, base: Base) -> list[str]:
    """Ask for one task of each group; return what is wrong with the answers."""
    said = []
    for name, tasks in base.groups.items():
        seen = sidecar.heard(min(tasks))
        if seen not in {0, 1}:
            said.append(f"the timeline of a task of the group {name!r} has {seen} entries")
    return said


def _once_each_in_timeline(sidecar: Sidecar, ledger: Ledger) -> list[str]:
    last = max(ledger.acknowledged, default=None)
    if last is None:
        return []
    _until(lambda: sidecar.heard(last) != 0)  # an answer that is an error stays one
    seen = sidecar.heard(last)
    return [] if seen == 1 else [f"a task sent after the damage has {seen} entries in its timeline"]


def run(
    zygote: Zygote, folder: Path, say: Callable[[str], None], wanted: list[Case] | None = None
) -> list[dict[str, Any]]:
    """Try all cases below *folder*; return how each went."""
    chosen = cases() if wanted is None else wanted
    base = build(zygote, folder / "base")
    results = []
    for number, case in enumerate(chosen):
        own = folder / f"{number}"
        own.mkdir()
        results.append(attempt(zygote, base, own, case))
        say(f"{'good' if results[-1]['good'] else 'BAD '}  {case.name}")
        if results[-1]["good"]:
            shutil.rmtree(own)
    return results
