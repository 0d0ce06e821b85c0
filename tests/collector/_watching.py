"""A process that follows files and stores what it gets, as the tests see it."""

import os
from pathlib import Path
from typing import Any

import pytest

from collector.receivers.follow import Chunk, FileStatus, Follower, Position

SECOND_US = 1_000_000


class Watching:
    """Stores each chunk with its position, and can be killed and started anew."""

    def __init__(
        self,
        *patterns: Path | str,
        chunk_bytes: int = 1 << 20,
        line_bytes: int = 1 << 20,
        max_open: int = 256,
        from_end: bool = False,
    ) -> None:
        self.now_us = 0
        self.positions: dict[str, Position] = {}
        self.chunks: list[Chunk] = []
        self._patterns = [str(pattern) for pattern in patterns]
        self._limits = (chunk_bytes, line_bytes, max_open, from_end)
        self.follower = self._start()

    def _start(self) -> Follower:
        chunk_bytes, line_bytes, max_open, from_end = self._limits
        return Follower(
            self._patterns,
            self.positions.values(),
            now_us=lambda: self.now_us,
            chunk_bytes=chunk_bytes,
            line_bytes=line_bytes,
            max_open=max_open,
            from_end=from_end,
        )

    def lines(self, budget_bytes: int = 16 << 20, *, killed_at: int | None = None) -> list[bytes]:
        """Poll once; return the lines of the chunks that were stored.

        Killed at the chunk of that number, counted from 0: it was given and not stored.
        """
        lines: list[bytes] = []
        for number, chunk in enumerate(self.follower.poll(budget_bytes)):
            if number == killed_at:
                break
            assert chunk.data == b"" or chunk.data.endswith(b"\n")
            self.chunks.append(chunk)
            position = Position(chunk.file, chunk.mark, chunk.end, chunk.path)
            self.positions[chunk.file] = position
            lines += chunk.data.splitlines(keepends=True)
        return lines

    def kill(self) -> None:
        self.follower.close()

    def restart(self) -> None:
        self.kill()
        self.follower = self._start()

    def later(self, seconds: float) -> None:
        self.now_us += int(seconds * SECOND_US)

    def status(self, path: Path) -> FileStatus:
        (status,) = [s for s in self.follower.statuses() if s.path == str(path)]
        return status


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def forbid(monkeypatch: pytest.MonkeyPatch, call: str, path: Path) -> None:
    """Let a call of `os` be refused for one path; file modes do not bind root, who runs CI."""
    real = getattr(os, call)

    def refuse(name: Any, *args: Any) -> Any:
        if os.fspath(name).rstrip("/") == str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return real(name, *args)

    monkeypatch.setattr(os, call, refuse)


def count(monkeypatch: pytest.MonkeyPatch, call: str, calls: list[str]) -> None:
    real = getattr(os, call)

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(call)
        return real(*args, **kwargs)

    monkeypatch.setattr(os, call, counted)


def open_names(folder: Path) -> list[str]:
    """Return which files in a folder this process has open."""
    handles = Path("/proc/self/fd")
    names = [os.readlink(handle) for handle in handles.iterdir() if handle.is_symlink()]
    return sorted(name.rpartition("/")[2] for name in names if name.startswith(f"{folder}/"))
