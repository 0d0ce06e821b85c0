"""A finding: where two stories part, with its verdict, its evidence and what to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, cast, get_args

from typing_extensions import TypedDict  # typing's own says too little before Python 3.12

from model.units import Iso, iso

if TYPE_CHECKING:
    from collections.abc import Mapping

Verdict = Literal["suspected", "confirmed", "unknown", "resolved", "retracted"]
Severity = Literal["info", "warning", "critical"]
Muted = Literal["dismissed", "acknowledged", "quiet", "learning"]

VERDICTS: Final = get_args(Verdict)
SUREST: Final[tuple[Verdict, ...]] = ("confirmed", "suspected", "unknown", "resolved", "retracted")
"""In which order people want to see them."""

SEVERITIES: Final = get_args(Severity)

_FIXED: Final = (
    "namespace", "subject", "name", "service", "queue", "since_us", "deadline_us", "heard_us",
    "severity", "task", "attempt", "request_id", "unproven", "word_since_us", "word_due_us",
    "word_of", "word_side",
)  # fmt: skip


class FindingJson(TypedDict):
    """Where two stories part: who it is about, how sure that is, why, and what to do."""

    id: int
    key: str
    detector: str
    namespace: str
    subject: str
    task: str | None
    attempt: int | None
    request_id: str | None
    name: str | None
    service: str | None
    queue: str | None
    severity: Severity
    verdict: Verdict
    reason: str | None
    team: str | None
    muted: Muted | None
    muted_why: str | None
    summary: str
    fix: str
    since: Iso
    suspected_at: Iso
    confirmed_at: Iso | None
    ended_at: Iso | None
    evidence: dict[str, str | int | float | bool | None]


@dataclass(slots=True)
class Finding:
    """One finding over its life. Times are microseconds since 1970 UTC; `id` is 0 until stored.

    `muted` is why it tells nobody (see `alerts.audience`), None where it does.
    """

    id: int
    key: str
    detector: str
    summary: str
    suspected_us: int
    verdict: str = "suspected"
    severity: str = "warning"
    namespace: str = ""
    subject: str = ""
    name: str | None = None
    service: str | None = None
    queue: str | None = None
    task: str | None = None
    attempt: int | None = None
    request_id: str | None = None
    since_us: int = 0
    confirmed_us: int | None = None
    ended_us: int | None = None
    reason: str | None = None
    team: str | None = None
    muted: str | None = None
    muted_why: str | None = None
    fix: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def new(cls, key: str, detector: str, summary: str, now_us: int) -> Finding:
        """Return a finding that was first suspected at *now_us*."""
        return cls(0, key, detector, summary, now_us)

    def take(self, row: Mapping[str, Any], fix: str) -> None:
        """Take over what the detector's SELECT says now."""
        for name in ("namespace", "subject", "name", "service", "queue", "since_us"):
            setattr(self, name, row[name])
        for name in ("task", "attempt", "request_id"):
            setattr(self, name, row.get(name))
        self.fix = fix
        self.evidence = {key: value for key, value in row.items() if key not in _FIXED}

    def as_json(self) -> FindingJson:
        """Return the finding as the HTTP API shows it: ISO times, flat evidence."""
        return {
            "id": self.id,
            "key": self.key,
            "detector": self.detector,
            "namespace": self.namespace,
            "subject": self.subject,
            "task": self.task,
            "attempt": self.attempt,
            "request_id": self.request_id,
            "name": self.name,
            "service": self.service,
            "queue": self.queue,
            "severity": cast("Severity", self.severity),
            "verdict": cast("Verdict", self.verdict),
            "reason": self.reason,
            "team": self.team,
            "muted": cast("Muted | None", self.muted),
            "muted_why": self.muted_why,
            "summary": self.summary,
            "fix": self.fix,
            "since": iso(self.since_us),
            "suspected_at": iso(self.suspected_us),
            "confirmed_at": iso(self.confirmed_us),
            "ended_at": iso(self.ended_us),
            "evidence": self.evidence,
        }
