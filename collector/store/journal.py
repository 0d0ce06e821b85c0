"""The journal: everything that came in, checked and synced before it is acknowledged.

SQLite in WAL mode with `synchronous=FULL`: a transaction that has returned survives a kill
and a power cut. Each body has its CRC32C beside it, so that a damaged record is found,
counted and skipped instead of being believed.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import google_crc32c
import orjson
import pyarrow as pa

from collector.pipeline import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_READ_BYTES: Final = 16 << 20

_PLAUSIBLE_FORMAT: Final = 1000
_PLAUSIBLE_ID: Final = 1 << 38
"""Beyond these a number in the file is damage: a signal's identity has room for such an ID."""

FORMAT: Final = 2
"""Version of what is below, kept in SQLite's `user_version`. In 1 nothing was packed."""

_PACK: Final = 1024
"""Bytes from which a body is packed. Telemetry says the same again and again: packed it takes an
eighth, and packing costs a tenth of what the disk and SQLite do with the rest."""

_LZ4: Final = pa.Codec("lz4")

_UNPACKED: Final = "unpacked"
"""In the meta of a record whose body is packed: how many bytes it is unpacked."""

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS record (
  id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, arrived_us INTEGER NOT NULL,
  meta BLOB NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS position (
  file TEXT PRIMARY KEY, mark TEXT NOT NULL, offset INTEGER NOT NULL, path TEXT NOT NULL);
"""


class JournalFullError(Exception):
    """The disk, or the journal's own limit, is full: ask the sender to come again."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to be appended. *position* belongs to a chunk of a followed file."""

    kind: str
    arrived_us: int
    body: bytes
    meta: Mapping[str, Any] = field(default_factory=dict)
    position: tuple[str, str, int, str] | None = None  # file, mark, offset, path


class Journal:
    """An append-only, checked, synced list of records. Its calls may come from any thread."""

    def __init__(self, path: Path, *, max_bytes: int = 10 << 30) -> None:
        """Open or make the journal at *path*.

        Raises ValueError if a newer version wrote it, sqlite3.DatabaseError if it is not ours.
        """
        self._path = path
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self.last_id = 0
        self.damaged = 0
        self.broken = False
        self._open()

    def _open(self) -> None:
        # what came in lies here as it came, secrets included; SQLite's log takes the same mode
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        self._db, self._reader = (
            sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
            for _ in range(2)
        )
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        db = self._db
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > FORMAT:
            if version > _PLAUSIBLE_FORMAT:
                msg = f"its header says format {version}"
                raise sqlite3.DatabaseError(msg)
            msg = f"{self._path} has format {version}; this version reads up to {FORMAT}"
            raise ValueError(msg)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA cache_size=-16000")
        db.execute("PRAGMA journal_size_limit=67108864")
        self._renamed = version == FORMAT
        if not version:  # a start writes nothing that is there: the disk may be full
            db.executescript(_TABLES + f"PRAGMA user_version={FORMAT};")
            self._renamed = True
        given = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'record'").fetchone()
        newest = db.execute("SELECT max(id) FROM record").fetchone()
        for row in (given, newest):
            if row and isinstance(row[0], int) and row[0] < _PLAUSIBLE_ID:
                self.last_id = max(self.last_id, row[0])
        self._page = db.execute("PRAGMA page_size").fetchone()[0]
        self._reader.execute("PRAGMA query_only=ON")

    def renew(self, set_aside: Callable[[Path], None]) -> None:
        """Begin a new file after a `broken` one, whose records must all be elsewhere by now."""
        with self._lock, self._reading:
            try:
                positions = self._db.execute("SELECT * FROM position").fetchall()
            except sqlite3.DatabaseError:
                positions = []
            self.close()
            set_aside(self._path)
            self._open()
            self._db.executemany("INSERT INTO position VALUES (?, ?, ?, ?)", positions)
            self.broken = False

    @property
    def first_id(self) -> int:
        """The ID of the oldest record that it still has; the next one's where there is none."""
        try:
            with self._lock:
                found = self._db.execute("SELECT min(id) FROM record").fetchone()[0]
        except sqlite3.DatabaseError:
            self.broken = True
            found = None
        return self.last_id + 1 if found is None else int(found)

    def begin_after(self, last_id: int) -> None:
        """Give no ID up to *last_id* again, not even where an earlier journal was lost."""
        self.last_id = max(self.last_id, last_id)

    def append(self, entries: Sequence[Entry]) -> list[Record]:
        """Append *entries* in one transaction, synced when this returns.

        Raises JournalFullError where there is no room; nothing of *entries* is kept then.
        """
        with self._lock:
            return self._append(entries)

    def _append(self, entries: Sequence[Entry]) -> list[Record]:
        if self.size_bytes() > self._max_bytes:
            msg = f"the journal has reached its limit of {self._max_bytes} bytes"
            raise JournalFullError(msg)
        records, rows = [], []
        for offset, entry in enumerate(entries, self.last_id + 1):
            said, body = dict(entry.meta), entry.body
            if len(body) >= _PACK:
                said[_UNPACKED] = len(body)
                body = _LZ4.compress(body, asbytes=True)
            meta = orjson.dumps(said)
            crc = _crc(entry.kind, entry.arrived_us, meta, body)
            rows.append((offset, entry.kind, entry.arrived_us, meta, crc, body))
            records.append(Record(offset, entry.kind, entry.arrived_us, entry.meta, entry.body))
        positions = [entry.position for entry in entries if entry.position]
        try:
            self._db.execute("BEGIN IMMEDIATE")
            if not self._renamed:  # with the first record that an older version could not read
                self._db.execute(f"PRAGMA user_version={FORMAT}")
            self._db.executemany("INSERT INTO record VALUES (?, ?, ?, ?, ?, ?)", rows)
            self._db.executemany("INSERT OR REPLACE INTO position VALUES (?, ?, ?, ?)", positions)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._note(error)
            msg = f"the journal could not be written: {error}"
            raise JournalFullError(msg) from error
        except BaseException:  # what SQLite cannot take: the next ones it can
            self._db.execute("ROLLBACK")
            raise
        self.last_id += len(rows)
        self._renamed = True
        return records

    def read(self, after: int, *, limit: int = 500) -> tuple[list[Record], int]:
        """Return some records past the ID *after*, at most *limit*, and the last ID looked at.

        That is *after* itself where there are no more. Damaged records are left out and counted
        in `damaged`. Senders need not wait meanwhile: this has a connection of its own.
        """
        records: list[Record] = []
        last, size = after, 0
        with self._reading:
            try:
                for row in self._rows("id > ? ORDER BY id LIMIT ?", after, limit):
                    last = row[0]
                    size += self._check(row, records)
                    if size > _READ_BYTES:
                        break
            except sqlite3.DatabaseError:
                self.broken = True
                # a page that is no page: each ID is asked for alone, and some are found
                last = min(last + limit, self.last_id)
                for number in range(records[-1].id + 1 if records else after + 1, last + 1):
                    try:
                        for row in self._rows("id = ?", number):
                            self._check(row, records)
                    except sqlite3.DatabaseError:
                        self.damaged += 1
        return records, last

    def _note(self, error: sqlite3.Error) -> None:
        """See whether *error* is damage: a full disk, a busy file are operational."""
        damage = isinstance(error, sqlite3.DatabaseError)
        self.broken |= damage and not isinstance(error, sqlite3.OperationalError)

    def _rows(self, where: str, *values: int) -> sqlite3.Cursor:
        return self._reader.execute(
            f"SELECT id, kind, arrived_us, meta, crc, body FROM record WHERE {where}", values
        )

    def _check(self, row: tuple[Any, ...], records: list[Record]) -> int:
        """Add *row* to *records* if it is as it was written; return how large it is."""
        number, kind, arrived_us, meta, crc, body = row
        try:
            if _crc(kind, arrived_us, meta, body) == crc:
                said = orjson.loads(meta)
                size = said.pop(_UNPACKED, None)
                if size is not None:
                    body = _LZ4.decompress(body, size, asbytes=True)
                records.append(Record(number, kind, arrived_us, said, body))
                return len(body)
        except (TypeError, ValueError, AttributeError, OSError):  # not even of the types it had
            pass
        self.damaged += 1
        return 0

    def positions(self) -> list[tuple[str, str, int, str]]:
        """Return how far each followed file has been taken in: file, mark, offset, path."""
        try:
            with self._lock:
                return self._db.execute("SELECT file, mark, offset, path FROM position").fetchall()
        except sqlite3.DatabaseError:
            self.broken = True
            return []

    def trim(self, upto: int) -> None:
        """Drop records up to and including the ID *upto*; their pages are used again.

        Raises JournalFullError where the disk has not even room for that.
        """
        while True:
            try:
                with self._lock:  # a few at a time: senders wait for their sync meanwhile
                    gone = self._db.execute(
                        "DELETE FROM record WHERE id IN"
                        " (SELECT id FROM record WHERE id <= ? ORDER BY id LIMIT 64)",
                        (upto,),
                    ).rowcount
            except sqlite3.Error as error:
                self._note(error)
                msg = f"the journal could not be trimmed: {error}"
                raise JournalFullError(msg) from error
            if not gone:
                return

    def size_bytes(self) -> int:
        """Return the size of what the journal holds (free pages left out)."""
        pages = self._db.execute("PRAGMA page_count").fetchone()[0]
        free = self._db.execute("PRAGMA freelist_count").fetchone()[0]
        return int((pages - free) * self._page)

    def close(self) -> None:
        """Close the file; everything appended is on disk already."""
        self._reader.close()
        self._db.close()


def _crc(kind: str, arrived_us: int, meta: bytes, body: bytes) -> int:
    """Return the CRC32C of all of a record but its ID."""
    crc = google_crc32c.value(f"{kind} {arrived_us} ".encode())
    return int(google_crc32c.extend(google_crc32c.extend(crc, meta), body))
