"""The shape of what is measured, and how a measurement says how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

Cases: TypeAlias = dict[str, dict[str, float]]
"""Case → figure → number. A figure's name ends in its unit: `_per_s`, `_ms`, `_s`, `_mb` …"""

Measured: TypeAlias = dict[str, Cases]
"""Measurement (the name of its module) → its cases."""

Say: TypeAlias = Callable[[str], None]
"""Takes one line of progress."""

FORMAT: Final = 1
"""Version of the JSON file."""
