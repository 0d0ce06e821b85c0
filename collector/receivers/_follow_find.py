"""Finds the files that patterns match, without listing folders that have not changed."""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from glob import glob, has_magic
from typing import NamedTuple

RESCAN_POLLS = 20
"""Folders are listed anew when their mtime changed, and at every 20th look all the same: a mtime
says nothing of what a symlink leads to, and little on network file systems. It is a count and not
a time so that looking costs the same share however often one looks."""


def _folders(pattern: str) -> Iterator[str]:
    """Yield every folder in which a change may change what the pattern matches."""
    if os.path.basename(pattern) == "**":
        yield from glob(os.path.join(pattern, ""), recursive=True)
    while has_magic(pattern := os.path.dirname(pattern)):
        # The trailing separator lets only folders through.
        yield from glob(os.path.join(pattern, ""), recursive=True)
    yield pattern


def _mtime_ns(folder: str) -> int | None:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return None


class Finder:
    """What the patterns match now."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = [os.path.abspath(pattern) for pattern in patterns]
        self._mtimes: dict[str, int | None] = {}
        self._polls_left = 0
        self._again = False
        self.paths: list[str] = []
        """What matches, sorted. A pattern without wildcards is in it though nothing is there."""
        self.errors: dict[str, str] = {}
        """Folders that cannot be listed, and why."""

    def refresh(self) -> bool:
        """List the folders again if that could show anything new; tell whether they were."""
        changed = not self._mtimes or any(
            _mtime_ns(folder) != mtime for folder, mtime in self._mtimes.items()
        )
        if self._polls_left and not changed and not self._again:
            self._polls_left -= 1
            return False
        # An entry made just after a listing can share its folder's mtime with one made before, as
        # the clock of file systems is coarse: so a change is looked at twice.
        self._again = changed
        self._polls_left = RESCAN_POLLS - 1
        self._scan()
        return True

    def _scan(self) -> None:
        paths: set[str] = set()
        self._mtimes = {}
        self.errors = {}
        for pattern in self._patterns:
            folders = {os.path.normpath(folder) for folder in _folders(pattern)}
            # Before the listing: what comes in between is then seen as a change.
            self._mtimes |= {folder: _mtime_ns(folder) for folder in folders}
            if has_magic(pattern):
                self._check(pattern, folders)
                paths.update(glob(pattern, recursive=True))
            else:
                paths.add(pattern)
        self.paths = sorted(paths)

    def _check(self, pattern: str, folders: set[str]) -> None:
        """Say of folders what `glob` passes over in silence: that they cannot be listed."""
        for folder in folders:
            try:
                os.scandir(folder).close()
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                self.errors[folder] = (
                    f"cannot be listed for {pattern}: {error.strerror};"
                    f" give zombiewatch the right to read this folder"
                )


def same_inode(path: str, inode: int) -> Iterator[str]:
    """Yield the names that an inode has beside `path`, whatever `path` is now.

    Where `path` is a symlink, that is in the folder of the file that it leads to as well.
    """
    for folder in {os.path.dirname(path), os.path.dirname(os.path.realpath(path))}:
        try:
            with os.scandir(folder) as entries:
                names = [entry.path for entry in entries if entry.inode() == inode]
        except OSError:
            continue
        yield from names


def key_of(st: os.stat_result) -> str:
    """Return the key by which a file is known, whatever its names."""
    return f"{st.st_dev}:{st.st_ino}"


def inode_of(file: str) -> int:
    """Return the inode's number from a file's key."""
    return int(file.partition(":")[2])


_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Found(NamedTuple):
    """What is at some paths."""

    files: dict[str, tuple[str, os.stat_result]]
    """Each file that can be followed, once: by key, a path and what it looks like."""
    unreadable: dict[str, str]
    """Paths that cannot be looked at, and why."""
    skipped: dict[str, str]
    """Paths of what cannot be followed, and why."""


def look_at(paths: Sequence[str], known: Mapping[str, str]) -> Found:
    """Look, without opening anything, at what is at some paths.

    Args:
        paths: where to look; those where nothing is, and folders, are left out without a word.
        known: paths by key; a file that has several paths keeps the one that it has here.
    """
    found = Found({}, {}, {})
    for path in paths:
        try:
            st = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            found.unreadable[path] = f"cannot be looked at: {error.strerror}"
            continue
        if not stat.S_ISREG(st.st_mode):
            kind = _KINDS.get(stat.S_IFMT(st.st_mode))
            if kind is not None:
                found.skipped[path] = f"is {kind}, and only files can be followed"
        elif path.lower().endswith(_COMPRESSED):
            found.skipped[path] = (
                "is compressed, and compressed files are not read: leave it out of the patterns,"
                " and let rotation compress only what was rotated a while ago"
            )
        else:
            file = key_of(st)
            if file not in found.files or known.get(file) == path:
                found.files[file] = (path, st)
    return found
