"""`zombiewatch replay`: recorded input judged again, and what other thresholds would change."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from alerts.audience import Audience, Owner
from collector import recorded
from collector.store.hot import Hot
from detectors._judge import Judge
from detectors._kit import load
from model.units import iso, us
from zombiewatch.degrading import Degrading
from zombiewatch.parts import limits, pipeline_of, thresholds
from zombiewatch.switches import Switches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from collector.recorded import Recorded
    from model.findings import Finding
    from zombiewatch.settings import Settings
    from zombiewatch.switches import ChangeJson

_QUIET_US: Final = us(60)
"""Where nothing arrives, it is judged so often."""
_SETTLE_US: Final = us(60)
_SWITCHED_MAX: Final = 10_000
_MEMORY_BYTES: Final = 4 << 30
"""For the relations: nothing else has to live beside them."""


class _Kept:
    """A keeper in memory: every finding there was."""

    def __init__(self) -> None:
        self.all: dict[int, Finding] = {}

    def open_findings(self) -> list[Finding]:
        return []

    def ended(self, _detector: str, _since_us: int) -> list[Finding]:
        return []  # what was before the input begins is not known

    def save(self, changed: Iterable[Finding]) -> None:
        for one in changed:
            one.id = one.id or len(self.all) + 1
            self.all[one.id] = replace(one)


class _Silence:
    """Nobody has said anything of these findings."""

    def of(self, _one: Finding, _now_us: int) -> None:
        return None


@dataclass(slots=True)
class Outcome:
    """What came of a replay: *findings* with the settings as they are, *other* with the changes.

    `switched` is what the policies would have done by these findings; what they would have asked a
    Prometheus is not known.
    `took_s` are real seconds, `judged` how often all was judged.
    """

    recorded: Recorded
    findings: list[Finding]
    other: list[Finding] | None = None
    judged: int = 0
    took_s: float = 0.0
    failed: dict[str, str] = field(default_factory=dict)
    switched: list[ChangeJson] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return it for programs: times as ISO 8601."""
        said: dict[str, Any] = {
            "from": iso(self.recorded.from_us),
            "to": iso(self.recorded.to_us),
            "signals": self.recorded.signals,
            "judged": self.judged,
            "took_s": round(self.took_s, 3),
            "failed": self.failed,
            "findings": [one.as_json() for one in self.findings],
            "switched": self.switched,
        }
        if self.other is not None:
            said["with_changes"] = [one.as_json() for one in self.other]
            said["changes"] = changes(self.findings, self.other)
        return said


def changes(before: Sequence[Finding], after: Sequence[Finding]) -> dict[str, list[dict[str, Any]]]:
    """Return which confirmed findings are `more`, `gone`, `sooner` and `later` in *after*."""
    old, new = _confirmed(before), _confirmed(after)
    moved = [(key, (new[key] - old[key]) / 1e6) for key in sorted(old.keys() & new.keys())]
    return {
        "more": [_named(key) for key in sorted(new.keys() - old.keys())],
        "gone": [_named(key) for key in sorted(old.keys() - new.keys())],
        "sooner": [{**_named(key), "by_s": -by} for key, by in moved if by < 0],
        "later": [{**_named(key), "by_s": by} for key, by in moved if by > 0],
    }


def _confirmed(findings: Sequence[Finding]) -> dict[str, int]:
    """Return when each subject was first confirmed; false alarms are not counted."""
    first: dict[str, int] = {}
    for one in findings:
        if one.confirmed_us is not None and one.verdict != "retracted":
            first[one.key] = min(first.get(one.key, one.confirmed_us), one.confirmed_us)
    return first


def _named(key: str) -> dict[str, Any]:
    detector, _, subject = key.partition(":")
    return {"detector": detector, "subject": subject.partition("/")[2]}


def replay(
    paths: Sequence[Path],
    settings: Settings,
    changed: Settings | None = None,
    *,
    every_s: float | None = None,
    save: Path | None = None,
    say: Callable[[str], None] = lambda _said: None,
    at: Callable[[float], None] = lambda _share: None,
) -> Outcome:
    """Judge what is recorded at *paths* by *settings*, and by *changed* beside it.

    Time is the input's; it is judged every *every_s* (by default as `run` would) up to the last
    arrival. What was read is written to *save*, if given, as a recording. *at* is told how much is
    done, from 0 to 1. Raises RecordedError, OSError.
    """
    begun, config = time.monotonic(), settings.config
    with tempfile.TemporaryDirectory(prefix="zombiewatch-replay-") as folder:
        pipeline = pipeline_of(config, settings.rules)
        try:
            found = recorded.read(paths, pipeline, Path(folder), say)
        finally:
            pipeline.close()
        if save is not None:
            say(f"writing {save}")
            found.save(save)
        outcome = Outcome(found, [])
        kept = [_Kept(), *([_Kept()] if changed else [])]
        judges = [
            _judge(one, keeper)
            for one, keeper in zip((settings, changed), kept, strict=False)
            if one is not None
        ]
        _run(found, settings, judges, us(every_s or config.evaluate_every_s), outcome, at)
    outcome.findings = list(kept[0].all.values())
    outcome.other = list(kept[1].all.values()) if changed else None
    outcome.took_s = time.monotonic() - begun
    return outcome


def _run(
    found: Recorded,
    settings: Settings,
    judges: Sequence[Judge],
    every_us: int,
    outcome: Outcome,
    at: Callable[[float], None],
) -> None:
    hot = Hot(replace(limits(settings.config), memory_bytes=_MEMORY_BYTES), found.gaps)
    reader = hot.reader()
    settled = now = found.from_us
    first = judges[0]
    degrade = settings.config.degrade
    switches = Switches(Path(":memory:"), degrade.lease_max_s)
    degrading = Degrading(
        degrade.model_copy(update={"prometheus": None}),
        switches,
        lambda: (first.shown, frozenset(one.name for one in first.detectors) - set(first.failing)),
        lambda: now,
    )
    try:
        for now, signals in found.steps(every_us, max(every_us, _QUIET_US)):
            if signals.num_rows:
                hot.apply(signals)
            for judge in judges:
                report = judge.evaluate(reader, now, heard_us=now)
                outcome.failed |= report.failed
            degrading.look()
            outcome.judged += 1
            if now - settled >= _SETTLE_US:
                hot.settle(now)
                settled = now
            at((now - found.from_us) / max(1, found.to_us - found.from_us))
        outcome.switched = switches.history(limit=_SWITCHED_MAX)
    finally:
        switches.close()
        reader.close()
        hot.close()


def _judge(settings: Settings, keeper: _Kept) -> Judge:
    config = settings.config
    said = thresholds(config)
    owners = [Owner(one.team, one.which()) for one in config.owners]
    audience = Audience(
        owners, config.critical, [one.window() for one in config.quiet], 0, _Silence()
    )
    return Judge(
        [one for one in load() if said.get(one.name, {}).get("enabled", True)],
        keeper,
        settings=said,
        occurrence_s=config.occurrence_open_s,
        abandon_s=config.abandon_after_s,
        place=audience.place,
    )
