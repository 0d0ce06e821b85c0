"""Writes the Grafana dashboards where Grafana finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboards.grafana._files import JSON, files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def write(into: Path, page: str) -> Iterator[Path]:
    """Write all files below the folder *into*, and yield the path of each; raises OSError.

    *page* is where people reach the sidecar. What else is in the folder stays.
    """
    for name, text in files(page, str((into / JSON).resolve())):
        path = into / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        yield path
