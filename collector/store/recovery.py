"""Recovery: the newest checkpoint that is whole, or as much of one as there is."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import duckdb

from collector.store.disk import KEEP, Manifest

if TYPE_CHECKING:
    from collections.abc import Container

    from collector.store.disk import Disk, File
    from collector.store.fold import Fold

_LOG = logging.getLogger("zombiewatch.store")


def recover(disk: Disk, fold: Fold, journal_from: int) -> list[Manifest]:
    """Load the newest checkpoint that is whole into *fold*; return it, and those before it.

    *journal_from* is the first ID that the journal has. Where it still has all that is past an
    older checkpoint, a newer one with any damage is dropped: replaying makes it anew. Where it
    has not, what is whole is taken, and what is damaged is lost. Start-up never refuses.
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
        manifest.hot = [one for one in manifest.hot if one not in damaged]
        manifest.segments = [one for one in manifest.segments if one not in damaged]
        _load(disk, fold, manifest)
        return [manifest, *found[at + 1 :]][:KEEP]
    disk.set_aside_strays()
    return []


def _damaged(disk: Disk, manifest: Manifest, known: Container[str]) -> list[File]:
    """Return the files of *manifest* that are not as written.

    All are read whole but those that are *known* for longer: they are many, and looked at only.
    """
    return [
        file
        for file in (*manifest.hot, *manifest.segments)
        if not disk.good(file, whole=file.name not in known)
    ]


def _load(disk: Disk, fold: Fold, manifest: Manifest) -> None:
    for file in manifest.hot:
        try:
            fold.take(file.table, disk.sql([file]))
        except duckdb.Error as error:  # whole, and yet not to be read
            _LOG.warning("%s could not be loaded: %s", file.name, error)
            disk.set_aside(disk.root / file.name)
