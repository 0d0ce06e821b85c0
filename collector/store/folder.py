"""The data folder: one process holds it, and its format is known before it is touched."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Final

import orjson

if TYPE_CHECKING:
    from pathlib import Path

FORMAT: Final = 1


class DataFolderError(Exception):
    """The data folder cannot be used; the message says why and how to mend it."""


class Folder:
    """A data folder, locked for this process until `close`.

    Raises DataFolderError where it is another sidecar's, a newer version's, or not writable.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            root.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(root / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            msg = f"{root} cannot be used as the data folder: {error.strerror}"
            raise DataFolderError(msg) from None
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._check_format()
        except OSError:
            self.close()
            msg = (
                f"{root} is in use by another zombiewatch; stop that one, or give this one a"
                " data_dir of its own"
            )
            raise DataFolderError(msg) from None
        except DataFolderError:
            self.close()
            raise

    def _check_format(self) -> None:
        path = self.root / "format.json"
        if not path.exists():
            path.write_bytes(orjson.dumps({"format": FORMAT}))
            return
        try:
            said = int(orjson.loads(path.read_bytes())["format"])
        except (ValueError, KeyError, TypeError):
            path.write_bytes(
                orjson.dumps({"format": FORMAT})
            )  # cut by a full disk; the rest decides
            return
        if said > FORMAT:
            msg = (
                f"{self.root} was written by a newer zombiewatch (format {said}; this one reads up"
                f" to {FORMAT}); run that version, or give this one another data_dir"
            )
            raise DataFolderError(msg)

    def alive(self, now_us: int) -> None:
        """Note that we listen now. Not synced: an older note only makes a gap look longer."""
        try:
            (self.root / "alive").write_text(str(now_us))
        except OSError:
            return

    def last_alive_us(self) -> int | None:
        """Return when a sidecar on this folder last listened, or None if none ever did."""
        try:
            return int((self.root / "alive").read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            return 0

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._handle)
