"""Reads what a lab's processes have logged.

Apart from what writes it: whoever reads logs needs no SDK, and in `labs.mismatch` a process's clock
is set before any part of one is loaded.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def lines(logs: Path, instance: str = "*") -> Iterator[dict[str, Any]]:
    """Yield the JSON lines that processes have written into the folder *logs*, file by file."""
    for file in sorted(logs.glob(f"{instance}.jsonl")):
        with file.open(encoding="utf-8") as said:
            yield from map(json.loads, said)
