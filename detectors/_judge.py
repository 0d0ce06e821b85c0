"""The judge: runs every detector at a moment and moves findings between verdicts.

`suspected → confirmed → resolved | retracted`, and *unknown* where silence proves nothing.
A detector that fails keeps its findings as they were: nothing ends by our own fault.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from detectors._witness import Dark, Witnesses
from model.findings import Finding
from model.narrow import narrowed
from model.units import us

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import duckdb

    from detectors._kit import Detector

_LOG = logging.getLogger("zombiewatch.judge")

_SLACK_US = 500_000
"""An evaluation that comes a little early counts as being on time."""

_AT_ONCE: Final = 2
"""So many detectors look at the same time. Planning, most of it, keeps one core busy."""

_MANY: Final = 50_000
"""In a relation of so many rows each sign is looked for alone: that passes most of them by."""


_narrow = cache(narrowed)
"""For what a detector is made of: that is the same each time, and its text is long."""


class Keeper(Protocol):
    """Where findings outlive the process."""

    def open_findings(self) -> list[Finding]:
        """Return the findings that have not ended."""
        ...

    def ended(self, detector: str, since_us: int) -> list[Finding]:
        """Return the findings of *detector* that were true, and ended at *since_us* or later."""
        ...

    def save(self, changed: Iterable[Finding]) -> None:
        """Store *changed*, giving new ones (ID 0) their ID."""
        ...


@dataclass(slots=True)
class Report:
    """What one evaluation did. Durations in seconds."""

    at_us: int
    took_s: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    changed: list[Finding] = field(default_factory=list)


class Judge:
    """Holds the open findings of all *detectors*; one evaluation at a time.

    *place* completes each open finding after an evaluation: whose it is, who is told.
    """

    def __init__(
        self,
        detectors: Sequence[Detector],
        keeper: Keeper,
        *,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        occurrence_s: float = 900.0,
        abandon_s: float = 7 * 86_400.0,
        place: Callable[[Finding, int], None] = lambda _finding, _now_us: None,
    ) -> None:
        self.detectors = detectors
        self._keeper = keeper
        self._settings = settings or {}
        self._occurrence_s = occurrence_s
        self._abandon_us = us(abandon_s)
        self._place = place
        self._looked_us: dict[str, int] = {}
        self._rows_of: dict[str, int] = {}
        self._looking = ThreadPoolExecutor(_AT_ONCE, "detector")
        self.open: dict[str, Finding] = {one.key: one for one in keeper.open_findings()}
        self._ended: dict[str, Finding] = {}
        self._dark: list[Dark] | None = None
        self._unsaved: list[Finding] = []
        self.shown: tuple[Finding, ...] = tuple(self.open.values())
        self.failing: dict[str, str] = {}
        self.errors: dict[str, int] = {}
        self.totals: dict[tuple[str, str], int] = {}
        self.delays: list[tuple[str, float]] = []

    def evaluate(
        self, reader: duckdb.DuckDBPyConnection, now_us: int, *, heard_us: int | None = None
    ) -> Report:
        """Judge the relations that *reader* shows at the moment *now_us*.

        A detector that was run less than its `every_s` ago keeps its findings as they are.
        *heard_us* is up to when all followed files have been read (None: not yet).
        """
        report = Report(now_us)
        witnesses = Witnesses.of(reader, now_us, heard_us, self._darkness(now_us))
        report.changed += self._retire(now_us)
        due = [one for one in self.detectors if self._due(one, now_us)]
        worth = self._worth_it(reader, due, now_us)
        looks = [
            self._looking.submit(self._look, reader, now_us, one, worth[one.name]) for one in due
        ]
        for detector, look in zip(due, looks, strict=True):
            took_s = 0.0
            begun = time.perf_counter()
            try:
                rows, took_s = look.result()
                begun = time.perf_counter()
                report.changed += self._move(reader, detector, rows, witnesses, now_us)
                self.failing.pop(detector.name, None)
            except Exception as error:  # noqa: BLE001 - whatever it is, the others carry on
                _LOG.exception("detector %s failed", detector.name)
                self.failing[detector.name] = report.failed[detector.name] = str(error)
                self.errors[detector.name] = self.errors.get(detector.name, 0) + 1
            report.took_s[detector.name] = took_s + time.perf_counter() - begun
        for one in self.open.values():
            self._place(one, now_us)
        self._unsaved += report.changed
        self.save()
        for one in report.changed:
            if one.ended_us is not None:
                self.open.pop(one.key, None)
                self._remember(one)
                if one.verdict == "resolved":
                    self._ended[one.key] = one
        self._forget(now_us)
        # copies: who reads meanwhile sees each finding whole, as the last evaluation left it
        whole = (replace(one) for one in self.open.values() if one.id)
        self.shown = tuple(sorted(whole, key=lambda one: one.id))
        return report

    def _darkness(self, now_us: int) -> list[Dark]:
        """Return when which source was not heard: now, and as long ago as anything is told."""
        blinding = [one.name for one in self.detectors if one.blinds]
        if self._dark is None:
            since_us = now_us - self._abandon_us
            self._dark = [
                _dark(one, one.ended_us or now_us)
                for name in blinding
                for one in self._keeper.ended(name, since_us)
            ]
        lasting = [
            _dark(one, now_us)
            for one in self.open.values()
            if one.detector in blinding and one.verdict == "confirmed"
        ]
        return self._dark + lasting

    def _due(self, detector: Detector, now_us: int) -> bool:
        """Say whether it is time for *detector* again; a clock that was put back makes it so."""
        last = self._looked_us.get(detector.name)
        early = us(detector.every_s) - _SLACK_US
        if last is not None and last <= now_us < last + early:
            return False
        self._looked_us[detector.name] = now_us
        return True

    def save(self) -> None:
        """Store what has changed; what cannot be stored now (a full disk) is kept for later."""
        if not self._unsaved:
            return
        try:
            self._keeper.save(self._unsaved)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing is forgotten by it
            _LOG.warning("findings could not be saved, it is tried again: %s", error)
        else:
            self._unsaved.clear()

    def _remember(self, ended: Finding) -> None:
        """Keep in mind the time of a darkness that is over."""
        blinds = any(one.blinds for one in self.detectors if one.name == ended.detector)
        if blinds and ended.verdict == "resolved" and self._dark is not None:
            self._dark.append(_dark(ended, ended.ended_us or 0))

    def _forget(self, now_us: int) -> None:
        """Let go of what ended so long ago that its return would be news."""
        since = now_us - us(self._occurrence_s)
        kept_us = now_us - self._abandon_us
        self._dark = [one for one in self._dark or () if one.to_us >= kept_us]
        self._ended = {key: one for key, one in self._ended.items() if (one.ended_us or 0) >= since}

    def _retire(self, now_us: int) -> list[Finding]:
        """End the findings of detectors that are no longer there, or switched off."""
        names = {one.name for one in self.detectors}
        gone = [one for one in self.open.values() if one.detector not in names]
        for one in gone:
            one.ended_us, one.verdict = now_us, "resolved"
        return gone

    def _look(
        self,
        reader: duckdb.DuckDBPyConnection,
        now_us: int,
        detector: Detector,
        worth: bool | Exception,  # noqa: FBT001 - ours
    ) -> tuple[list[dict[str, Any]], float]:
        """Return what *detector* sees, and how many seconds it took; in a thread of its own."""
        begun = time.perf_counter()
        if isinstance(worth, Exception):
            raise worth
        if not worth:
            return [], 0.0
        with reader.cursor() as cursor:
            rows = self._rows(cursor, detector, now_us)
        return rows, time.perf_counter() - begun

    def _worth_it(
        self, reader: duckdb.DuckDBPyConnection, due: Sequence[Detector], now_us: int
    ) -> dict[str, bool | Exception]:
        """Say which of *due* could find anything: planning a SELECT is most of the work."""
        signs: dict[str, dict[str, str]] = {}
        for one in due:
            settings = self._settings.get(one.name, {})
            for relation, sign in one.signs(now_us, settings, self._occurrence_s).items():
                signs.setdefault(relation, {})[one.name] = sign
        worth: dict[str, bool | Exception] = {one.name: not one.only_if for one in due}
        look = partial(_met, reader, self._rows_of)
        for met in self._looking.map(look, signs.items()):
            for name, said in met.items():
                worth[name] = worth[name] or said
        return worth

    def _rows(
        self, reader: duckdb.DuckDBPyConnection, detector: Detector, now_us: int
    ) -> list[dict[str, Any]]:
        narrow = replace(detector, sql=_narrow(detector.sql))
        settings = self._settings.get(detector.name, {})
        found = reader.execute(narrow.query(now_us, settings, self._occurrence_s))
        names = [column[0] for column in found.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        return [row for row in rows if row["since_us"] >= now_us - self._abandon_us]

    def _move(
        self,
        reader: duckdb.DuckDBPyConnection,
        detector: Detector,
        rows: Sequence[Mapping[str, Any]],
        witnesses: Witnesses,
        now_us: int,
    ) -> list[Finding]:
        changed, seen = [], set()
        for row, evidence in witnesses.weigh(detector, rows):
            finding = self._finding(detector, row, now_us)
            seen.add(finding.key)
            before = (finding.verdict, finding.id)
            finding.take(row, detector.sentence(row))
            if finding.verdict == "confirmed":
                continue
            unproven = row.get("unproven")
            if unproven or evidence.verdict == "unknown":
                finding.verdict, finding.reason = "unknown", unproven or evidence.reason
            elif evidence.verdict == "wait":
                finding.verdict, finding.reason = "suspected", evidence.reason
            elif now_us - finding.suspected_us >= us(detector.hold_s):
                self._confirm(detector, finding, row, now_us)
            if finding.verdict == "unknown" and before[0] != "unknown":
                self._count(detector, "unknown")
            if (finding.verdict, finding.id) != before or not finding.id:
                changed.append(finding)
        gone = [
            one
            for one in self.open.values()
            if one.detector == detector.name and one.key not in seen
        ]
        if gone:
            self._end(reader, detector, gone, now_us)
        return changed + gone

    def _confirm(
        self, detector: Detector, finding: Finding, row: Mapping[str, Any], now_us: int
    ) -> None:
        finding.verdict, finding.reason = "confirmed", None
        if finding.confirmed_us is not None:
            return  # it ended a short while ago and is back: one finding, told once
        finding.confirmed_us = now_us
        self._count(detector, "confirmed")
        begun = row.get("deadline_us") or row["since_us"]
        self.delays.append((detector.name, max(0.0, (now_us - begun) / 1e6)))

    def _finding(self, detector: Detector, row: Mapping[str, Any], now_us: int) -> Finding:
        key = f"{detector.name}:{row['namespace']}/{row['subject']}"
        found = self.open.get(key)
        if found is None:
            found = self._ended.pop(key, None)
            if found is None or (found.ended_us or 0) < now_us - us(self._occurrence_s):
                found = Finding.new(key, detector.name, detector.summary, now_us)
            found.verdict, found.ended_us = "suspected", None
            self.open[key] = found
        found.severity = row.get("severity") or detector.severity
        return found

    def _end(
        self,
        reader: duckdb.DuckDBPyConnection,
        detector: Detector,
        gone: Sequence[Finding],
        now_us: int,
    ) -> None:
        """End *gone*; one whose contradiction happened before we confirmed it was wrong."""
        cleared: dict[str, list[tuple[int, int | None]]] = {}
        if detector.clears and any(one.verdict == "confirmed" for one in gone):
            wanted = ", ".join("'" + one.subject.replace("'", "''") + "'" for one in gone)
            found = reader.execute(
                f"SELECT * FROM ({_narrow(detector.clears)}) c WHERE subject IN ({wanted})"
            )
            names = [column[0] for column in found.description or ()]
            for row in (dict(zip(names, one, strict=True)) for one in found.fetchall()):
                key = f"{detector.name}:{row['namespace']}/{row['subject']}"
                if row["cleared_us"]:
                    cleared.setdefault(key, []).append((row["cleared_us"], row.get("heard_us")))
        for one in gone:
            one.ended_us = now_us
            if one.verdict == "confirmed":
                then = one.confirmed_us or 0
                wrong = any(
                    at < then and (heard is None or heard > then)
                    for at, heard in cleared.get(one.key, ())
                )
                one.verdict = "retracted" if wrong else "resolved"
                self._count(detector, one.verdict)
            elif one.verdict == "suspected" and one.confirmed_us is None:
                one.verdict = "dropped"
            else:
                one.verdict = "resolved"

    def _count(self, detector: Detector, verdict: str) -> None:
        key = (detector.name, verdict)
        self.totals[key] = self.totals.get(key, 0) + 1


def _met(
    reader: duckdb.DuckDBPyConnection,
    rows_of: dict[str, int],
    asked: tuple[str, Mapping[str, str]],
) -> dict[str, bool | Exception]:
    """Return whose sign some row of a relation meets. Of few rows, one look serves them all.

    *rows_of* is how many rows each relation had last, and is kept up to date.
    """
    relation, signs = asked
    if len(signs) > 1:
        few = rows_of.get(relation, 0) < _MANY
        each = [f"max(CASE WHEN {sign} THEN 1 END)" for sign in signs.values()] if few else []
        query = f"SELECT {', '.join(['count(*)', *each])} FROM {relation} a"
        try:
            with reader.cursor() as cursor:
                rows_of[relation], *met = cursor.execute(narrowed(query)).fetchall()[0]
        except Exception:  # noqa: BLE001 - whose it is, is found out below
            few = False
        if few:
            return {name: bool(said) for name, said in zip(signs, met, strict=True)}
    return {name: _is_met(reader, relation, sign) for name, sign in signs.items()}


def _is_met(reader: duckdb.DuckDBPyConnection, relation: str, sign: str) -> bool | Exception:
    query = f"SELECT 1 FROM {relation} a WHERE {sign} LIMIT 1"
    try:
        with reader.cursor() as cursor:
            return bool(cursor.execute(narrowed(query)).fetchall())
    except Exception as error:  # noqa: BLE001 - it is that detector's; the others carry on
        return error


def _dark(finding: Finding, to_us: int) -> Dark:
    side = finding.evidence.get("side")
    return Dark(finding.namespace, side, finding.service, finding.since_us, to_us)
