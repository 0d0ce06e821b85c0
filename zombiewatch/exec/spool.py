"""What could not be told yet: one small file for each run, until somebody has taken its report.

A file is written whole and renamed. Who writes it holds a lock on it for as long as it lives, so
that others deliver only what the dead have left behind.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from zombiewatch.exec.words import Report

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SUFFIX: Final = ".json"
_DAMAGED: Final = ".damaged"
_MOST_FILES: Final = 1_000
_MOST_AGE_S: Final = 7 * 86_400.0


class Spool:
    """The file of the run *name* in *folder*, and a way to those of others."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._path = folder / f"{name}{_SUFFIX}"
        self._guard = threading.Lock()
        self._held: int | None = None
        self._report: Report | None = None

    def put(self, report: Report) -> None:
        """Keep *report* in place of what was kept of this run. Raises OSError."""
        with self._guard:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = self._path.with_suffix(".new")
            file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with os.fdopen(os.dup(file), "wb") as out:
                    out.write(report.as_json().encode())
                    out.flush()
                    os.fsync(file)
                fresh.replace(self._path)
            except BaseException:
                os.close(file)
                with suppress(OSError):
                    fresh.unlink()
                raise
            self._let_go()
            self._held, self._report = file, report

    def taken(self, report: Report) -> None:
        """Forget *report*, if nothing newer is kept."""
        with self._guard:
            if self._report is report:
                self._path.unlink(missing_ok=True)
                self._let_go()
                self._report = None

    def close(self) -> None:
        """Let others deliver what is kept of this run. The end of the process does the same."""
        with self._guard:
            self._let_go()

    def _let_go(self) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def deliver_others(self, deliver: Callable[[Report], bool]) -> None:
        """Give what others have left to *deliver*, oldest first, until it takes one no more.

        What is damaged is set aside, what is too old or too much is dropped.
        """
        with suppress(OSError):
            left = sorted(self._others(), key=lambda found: found[0])
            too_many = len(left) - _MOST_FILES
            for at, (written_s, path) in enumerate(left):
                if at < too_many or written_s < time.time() - _MOST_AGE_S:
                    path.unlink(missing_ok=True)
                elif not _delivered(path, deliver):
                    return

    def _others(self) -> list[tuple[float, Path]]:
        found = []
        for path in self._folder.glob(f"*{_SUFFIX}"):
            with suppress(FileNotFoundError):
                if path != self._path:
                    found.append((path.stat().st_mtime, path))
        return found


def _delivered(path: Path, deliver: Callable[[Report], bool]) -> bool:
    """Deliver the report at *path*; return False if it was not taken."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        report = Report.from_json(path.read_text())
        if not deliver(report):
            return False
        path.unlink(missing_ok=True)
    except (BlockingIOError, FileNotFoundError):
        return True  # its run lives, or somebody else is at it
    except ValueError:
        path.replace(path.with_suffix(_DAMAGED))
    finally:
        os.close(file)
    return True
