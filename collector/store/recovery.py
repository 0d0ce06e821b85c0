"""Recovery: the newest checkpoint that is whole, or as much of one as there is."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, Final

import duckdb

from collector.store.disk import KEEP, File, Manifest

if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path

    from collector.store.disk import Disk
    from collector.store.fold import Fold

_LOG = logging.getLogger("zombiewatch.store")

_SEGMENT: Final = re.compile(r"([a-z]+)-(?:merged-)?(\d{20})-(\d{20})\.parquet")
_SLICE: Final = 50_000


def recover(disk: Disk, fold: Fold, journal_from: int, settle_us: int) -> list[Manifest]:
    """Load the newest checkpoint that is whole into *fold*; return it, and those before it.

    *journal_from* is the first ID that the journal has. Where it still has all that is past an
    older checkpoint, a newer one with any damage is dropped: replaying makes it anew. Where it
    has not, what is whole is taken, and what is damaged is lost; hot tables are then folded from
    the signals of the last *settle_us* that segments hold. Start-up never refuses.
    """
    found = list(disk.manifests())
    for at, manifest in enumerate(found):
        older = found[at + 1] if at + 1 < len(found) else Manifest(0, 0)
        known = {file.name for file in older.segments}
        damaged = _damaged(disk, manifest, known)
        for file in damaged:
            disk.set_aside(disk.root / file.name)
        new = [file.name for file in damaged if file.name not in known]
        if new and journal_from <= older.applied + 1:
            _LOG.warning("damaged, and made anew: %s", ", ".join(new))
            continue
        manifest.segments = [one for one in manifest.segments if one not in damaged]
        if any(one in damaged for one in manifest.hot) or not _load(disk, fold, manifest):
            manifest.hot = []
            _fold_again(disk, fold, manifest, settle_us)
        return [manifest, *found[at + 1 :]][:KEEP]
    # where the journal has all, what lies there is of a first checkpoint that was cut off
    adopted = _adopted(disk) if journal_from > 1 else None
    if adopted is None:
        return []
    _fold_again(disk, fold, adopted, settle_us)
    return [adopted]


def _damaged(disk: Disk, manifest: Manifest, known: Container[str]) -> list[File]:
    """Return the files of *manifest* that are not as written.

    All are read whole but those that are *known* for longer: they are many, and looked at only.
    """
    return [
        file
        for file in (*manifest.hot, *manifest.segments)
        if not disk.good(file, whole=file.name not in known)
    ]


def _load(disk: Disk, fold: Fold, manifest: Manifest) -> bool:
    """Take the hot tables of *manifest*, all or none; False where one could not be loaded."""
    try:
        with fold.whole():
            for file in manifest.hot:
                fold.take(file.table, disk.sql([file]))
    except duckdb.Error as error:  # as it was written, and yet not to be read
        _LOG.warning("a snapshot could not be loaded: %s", error)
        return False
    return True


def _fold_again(disk: Disk, fold: Fold, manifest: Manifest, settle_us: int) -> None:
    """Fold the signals of the last *settle_us* that segments hold: what was lately is known."""
    signals = [one for one in manifest.segments if one.table == "signals"]
    newest = max((one.to_us for one in signals), default=0)
    recent = [one for one in signals if one.to_us >= newest - settle_us]
    _LOG.warning("no snapshot could be used: folding %d segments again", len(recent))
    for one in sorted(recent, key=lambda one: one.to_us):
        try:
            table = fold.read(disk.sql([one]))
        except duckdb.Error as error:
            _LOG.warning("%s could not be read: %s", one.name, error)
            disk.set_aside(disk.root / one.name)
            manifest.segments.remove(one)
            continue
        for at in range(0, table.num_rows, _SLICE):
            fold.apply(table.slice(at, _SLICE))


def _adopted(disk: Disk) -> Manifest | None:
    """Return a manifest of the segments that are there though none names them; None without any."""
    from pyarrow import parquet  # noqa: PLC0415 - for this alone

    files: dict[str, File] = {}
    merged: set[str] = set()
    applied = made_us = 0
    for path in sorted((disk.root / "segments").glob("*.parquet")):
        named = _SEGMENT.fullmatch(path.name)
        try:
            whole = parquet.read_table(path)
        except (OSError, ValueError):
            whole = None
        if named is None or whole is None:
            disk.set_aside(path)
            continue
        notes = whole.schema.metadata or {}
        merged |= {one for one in notes.get(b"merged", b"").decode().split(",") if one}
        files[path.name] = _file(disk, path, named[1], whole)
        applied, made_us = max(applied, int(named[2])), max(made_us, int(named[3]))
    if not files:
        return None
    kept = [one for name, one in files.items() if name not in merged]
    _LOG.warning("no manifest could be read: %d segments taken over by their names", len(kept))
    return Manifest(applied, made_us, segments=kept)


def _file(disk: Disk, path: Path, table: str, whole: Any) -> File:  # noqa: ANN401 - an Arrow table
    at = whole["arrived_us" if table == "signals" else "last_seen_us"].to_numpy()
    crc, size = disk.measured(path)
    name = f"segments/{path.name}"
    return File(name, table, whole.num_rows, size, crc, int(at.min()), int(at.max()))
