"""Proves on a restart that a file is the one that it was, although inodes are used again."""

import re
from dataclasses import dataclass

HEAD_BYTES = 1024
"""How much of a file's start is its mark: some lines of any log, the first with its time."""


def _table() -> tuple[int, ...]:
    entries = []
    for entry in range(256):
        crc = entry
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        entries.append(crc)
    return tuple(entries)


_TABLE = _table()


def crc32c(data: bytes, crc: int = 0) -> int:
    """Return the CRC-32C (Castagnoli) of `data`, going on from the `crc` of what came before.

    In plain Python, as it sees each file's first `HEAD_BYTES` once and nothing else.
    """
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Mark:
    """What is known of a file's start, and whether we are inside a line that was cut."""

    length: int = 0
    crc: int = 0
    skipping: bool = False
    """The position is inside a line that was cut: go on behind its newline."""

    def __str__(self) -> str:
        """Return the form that is stored: `length:crc`, with a `+` while skipping."""
        return f"{self.length}:{self.crc:08x}{'+' if self.skipping else ''}"

    @classmethod
    def parse(cls, text: str) -> "Mark":
        """Read the stored form.

        Raises:
            ValueError: it is not one.
        """
        match = re.fullmatch(r"(\d{1,4}):([0-9a-f]{8})(\+?)", text)
        if match is None or int(match[1]) > HEAD_BYTES:
            raise ValueError(
                f"{text!r} is no mark of a followed file: expected length:crc32c, as in"
                f" 1024:1a2b3c4d; remove that position to read the file from its start"
            )
        return cls(int(match[1]), int(match[2], 16), match[3] == "+")

    def fits(self, head: bytes) -> bool:
        """Tell whether a file that starts with `head` may be the one that was marked."""
        return len(head) >= self.length and crc32c(head[: self.length]) == self.crc
