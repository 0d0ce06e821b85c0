"""Label values within a number: a metric's cardinality is what its reader pays for."""

from __future__ import annotations

from typing import Final

OTHER: Final = "__other__"


class Labels:
    """Keeps the values of one label within a number."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: set[str] = set()

    def take(self, value: str | None) -> str:
        """Return *value*, or `__other__` where too many others came before it."""
        text = value or ""
        if text in self._seen:
            return text
        if len(self._seen) >= self._most:
            return OTHER
        self._seen.add(text)
        return text
