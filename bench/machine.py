"""The machine that is measured on: what it is, and how much of it others took meanwhile."""

from __future__ import annotations

import os
import platform
import resource
import sqlite3
import tempfile
import tomllib
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import psutil

ROOT: Final = Path(__file__).resolve().parent.parent

_PACKAGES: Final = ("duckdb", "pyarrow", "ptars", "numpy", "aiohttp", "orjson", "protobuf")


def facts() -> dict[str, Any]:
    """Return what the machine is, in plain words and numbers; memory in GiB."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {
        "zombiewatch": project["version"],
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "file_system": _file_system(Path(tempfile.gettempdir())),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "packages": {name: version(name) for name in _PACKAGES},
    }


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    named = (line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line)
    return f"{next(named, 'unknown')} ({platform.machine()})"


def _file_system(folder: Path) -> str:
    """Return the type of the file system of *folder*: a sync costs nothing on some."""
    mounted = {Path(one.mountpoint): str(one.fstype) for one in psutil.disk_partitions(all=True)}
    for parent in (folder.resolve(), *folder.resolve().parents):
        if parent in mounted:
            return mounted[parent]
    return "unknown"


def _times() -> tuple[float, float, float]:
    """Return CPU seconds: of all that ran, of us and our ended children, of all cores."""
    said = psutil.cpu_times()
    idle = said.idle + getattr(said, "iowait", 0.0)
    everything = sum(said) - getattr(said, "guest", 0.0) - getattr(said, "guest_nice", 0.0)
    ours = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(who)
        ours += used.ru_utime + used.ru_stime
    return everything - idle, ours, everything


@dataclass(slots=True)
class Others:
    """How much of the machine was taken by what is not ours, since this was made."""

    _began: tuple[float, float, float] = field(default_factory=_times)

    def share(self) -> float:
        """Return the share of all cores' time, 0 to 1."""
        busy, ours, everything = (
            now - then for now, then in zip(_times(), self._began, strict=True)
        )
        return max(0.0, busy - ours) / everything if everything else 0.0
