"""What following a file gives: chunks, positions, statuses."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole lines of one file, and the position that is right once they are stored."""

    path: str
    """Path as matched when the file was first met."""
    file: str
    """Stable key of the file: `device:inode`."""
    mark: str
    """What proves on a restart that it is the same file; grows while the file is short."""
    start: int
    """Byte offset of `data[0]` in the file."""
    end: int
    """Byte offset to go on from; beyond `start + len(data)` where a line was cut."""
    data: bytes
    """Lines, each ended by `\\n`. Empty where there is nothing but a position to store."""
    cut: int
    """Number of lines in `data` that were cut."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where to go on in a file: `(file, mark, end, path)` of its last stored chunk."""

    file: str
    mark: str
    offset: int
    path: str


@dataclass(frozen=True, slots=True)
class FileStatus:
    """How it stands with one file; counts are since this process began."""

    path: str
    """The name that it has now."""
    file: str = ""
    """`device:inode`, or empty where it is not followed."""
    offset: int = 0
    """Bytes, up to where it was delivered."""
    size: int = 0
    """Bytes, when last looked at."""
    behind_bytes: int = 0
    """Bytes not delivered yet, the start of a line that has not ended included."""
    eof_us: int | None = None
    """The clock when it was last read to its end; `None` if never since this process began."""
    error: str | None = None
    """Why it is not read, and how to mend that."""
    cut_lines: int = 0
    """How many lines were too long."""
    lost_bytes: int = 0
    """Bytes that we saw were there and that were gone before we read them."""
    truncations: int = 0
    """How often it was cut short, or became another file in the same inode."""
