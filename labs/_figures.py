"""What a process shows of itself to those who look on: a small file, always whole."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def show(path: Path, figures: Mapping[str, float]) -> None:
    """Write *figures* into the file at *path*, in place of what it held."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(json.dumps(figures))
    fresh.replace(path)


def shown(path: Path) -> dict[str, float]:
    """Return the figures in the file at *path*; none while there is no such file."""
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return {}
