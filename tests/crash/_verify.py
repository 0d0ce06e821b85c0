"""Holds what a stopped sidecar has on disk against what was acknowledged to its senders."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import duckdb

from tests.e2e._sidecar import stored

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.crash._traffic import Ledger


@dataclass(slots=True)
class Verdict:
    """What does not hold; all empty where all does. Task IDs, or sentences."""

    stored: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    invented: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """What the relations hold that does not follow from the signals."""

    @property
    def good(self) -> bool:
        """Whether all holds."""
        return not (self.lost or self.doubled or self.invented or self.wrong)

    def __str__(self) -> str:
        said = {
            name: f"{len(of)}, such as {', '.join(of[:5])}"
            for name in ("lost", "doubled", "invented", "wrong")
            if (of := getattr(self, name))
        }
        return f"{self.stored} stored; " + "; ".join(f"{name} {of}" for name, of in said.items())


def check(data: Path, ledger: Ledger) -> Verdict:
    """Return how the stopped sidecar's folder *data* stands to *ledger*.

    Each acknowledged number is among the signals of history exactly once, each other one at most
    once; each has exactly one attempt in the relations; and each span was measured exactly once.
    """
    return compare(data, ledger.acknowledged, ledger.sent)


def compare(data: Path, must: Iterable[str], may: Iterable[str]) -> Verdict:
    """Return how *data* stands to the tasks that *must* and that *may* be in it."""
    found = Counter(task for (task,) in stored(data, "task"))
    verdict = Verdict(
        stored=found.total(),
        lost=sorted(set(must) - found.keys()),
        doubled=sorted(task for task, times in found.items() if times > 1),
        invented=sorted(found.keys() - set(may)),
    )
    relation = _attempts(data)
    for what, tasks in (
        ("attempts of no signal", relation.keys() - found.keys()),
        ("signals of no attempt", found.keys() - relation.keys()),
        ("attempts twice", {task for task, times in relation.items() if times > 1}),
    ):
        if tasks:
            verdict.wrong.append(f"{len(tasks)} {what} ({min(tasks)})")
    runs, measured = sum(task[0] == "s" for task in found), _measured(data)
    if runs != measured:
        verdict.wrong.append(f"{measured} runs measured of {runs}")
    return verdict


def manifests(data: Path) -> list[dict[str, Any]]:
    """Return the manifests of *data*, newest first."""
    paths = sorted((data / "snapshots").glob("*.json"), reverse=True)
    return [json.loads(path.read_bytes().partition(b"\n")[2]) for path in paths]


def unnamed(data: Path) -> set[str]:
    """Return the files of *data* that no manifest names: of a checkpoint that was cut off."""
    names = {
        one["name"]
        for said in manifests(data)
        for part in ("hot", "segments")
        for one in said[part]
    }
    paths = [path for folder in ("segments", "snapshots") for path in data.glob(f"{folder}/*")]
    found = {str(path.relative_to(data)) for path in paths if path.suffix != ".json"}
    return found - names


def _attempts(data: Path) -> Counter[str]:
    said = manifests(data)[0]
    files = [
        str(data / one["name"])
        for part in ("hot", "segments")
        for one in said[part]
        if one["table"] in {"attempts", "attempts_rows"}
    ]
    return Counter(dict(_rows(files, "task, count(*)", "GROUP BY task")))


def _measured(data: Path) -> int:
    files = [
        str(data / one["name"]) for one in manifests(data)[0]["hot"] if one["table"] == "rates"
    ]
    rows = _rows(files, "sum(n)", "WHERE measure = 'run'")
    return int(rows[0][0] or 0) if rows else 0


def _rows(files: list[str], columns: str, rest: str) -> list[tuple[Any, ...]]:
    if not files:
        return []
    with duckdb.connect() as connection:
        query = f"SELECT {columns} FROM read_parquet($files, union_by_name = true) {rest}"
        return connection.execute(query, {"files": files}).fetchall()
