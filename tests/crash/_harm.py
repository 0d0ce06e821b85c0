"""Ways in which a file is damaged; each keeps to one file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def cut(path: Path) -> None:
    """Leave half of it, as a file system does that had not written the rest."""
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size // 2)


def emptied(path: Path) -> None:
    """Leave nothing in it."""
    path.write_bytes(b"")


def zeros(path: Path) -> None:
    """Fill it with zeros, of the same length."""
    path.write_bytes(bytes(path.stat().st_size))


def removed(path: Path) -> None:
    """Remove it."""
    path.unlink()


def flipped(share: float) -> Callable[[Path], None]:
    """Return what flips one bit, *share* of the way through."""

    def flip(path: Path) -> None:
        size = path.stat().st_size
        with path.open("rb+") as file:
            at = min(int(size * share), size - 1)
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 0x10]))

    return flip


def page_of_zeros(share: float) -> Callable[[Path], None]:
    """Return what zeroes 4 KiB, *share* of the way through."""

    def zero(path: Path) -> None:
        size = path.stat().st_size
        at = int(size * share) // 4096 * 4096
        with path.open("rb+") as file:
            file.seek(at)
            file.write(bytes(min(4096, size - at)))

    return zero


WAYS: Final[dict[str, Callable[[Path], None]]] = {
    "cut in half": cut,
    "emptied": emptied,
    "a bit flipped": flipped(0.5),
    "zeros": zeros,
    "removed": removed,
}
