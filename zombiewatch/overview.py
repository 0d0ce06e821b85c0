"""The overview: how it stands at a glance, and whether that can be known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from typing_extensions import TypedDict

from detectors._incidents import IncidentJson
from model.units import SECOND_US, Iso, iso
from zombiewatch.trends import COUNTED, figures
from zombiewatch.views import QueueJson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.findings import Finding
    from zombiewatch.service import Service

State = Literal["calm", "trouble", "doubt", "waiting", "blind"]

_LATE_S: Final = 30.0
"""What came in so long ago and is not applied yet makes us blind."""

_KINDS: Final = 6


class TileJson(TypedDict):
    """One figure: its value now (null where it has none), and how it was, the newest last."""

    name: str
    label: str
    value: float | None
    unit: str
    text: str
    state: Literal["calm", "trouble", "doubt"]
    trend: list[float | None]


class SelfJson(TypedDict):
    """Whether the sidecar itself can see."""

    evaluated_at: Iso | None
    behind_s: float
    failing: list[str]
    unread_files: int
    damaged: int
    refused_full: int
    judges: bool
    full: bool
    can_see: bool


class OverviewJson(TypedDict):
    """How it stands."""

    now: Iso
    state: State
    mark: str
    headline: str
    detail: str
    tiles: list[TileJson]
    incidents: list[IncidentJson]
    queues: list[QueueJson]
    itself: SelfJson


def overview(service: Service, shown: Sequence[Finding]) -> OverviewJson:
    """Return how it stands with the findings *shown*, those that are open; all is in memory."""
    now_us = service.clock()
    itself = _itself(service, now_us)
    state, mark, headline, detail = _said(shown, itself, heard=service.store.applied > 0)
    return {
        "now": iso(now_us),
        "state": state,
        "mark": mark,
        "headline": headline,
        "detail": detail,
        "tiles": _tiles(service, shown),
        "incidents": [one.as_json() for one in service.incidents()],
        "queues": service.trends.queues,
        "itself": itself,
    }


def _itself(service: Service, now_us: int) -> SelfJson:
    judged = max(service.judged_us.values(), default=None)
    behind_s = max(0.0, (now_us - service.store.complete_us()) / SECOND_US)
    failing = sorted(service.judge.failing)
    # before it has ever judged there is nothing that it could have missed
    judges = judged is None or judged >= service.stale_us()
    unread = sum(one.error is not None for one in service.files.statuses())
    damaged, full = service.store.damaged, service.store.refused_full
    return {
        "evaluated_at": iso(judged),
        "behind_s": behind_s,
        "failing": failing,
        "unread_files": unread,
        "damaged": damaged,
        "refused_full": full,
        "judges": judges,
        "full": service.trends.full,
        "can_see": judges and not (failing or unread or service.trends.full) and behind_s < _LATE_S,
    }


def _said(
    shown: Sequence[Finding], itself: SelfJson, *, heard: bool
) -> tuple[State, str, str, str]:
    """Return the state, and how a person would say it across the room."""
    counting = [one for one in shown if one.severity != "info"]
    confirmed = [one for one in counting if one.verdict == "confirmed"]
    suspected = sum(one.verdict == "suspected" for one in counting)
    unknown = sum(one.verdict == "unknown" for one in counting)
    rest = [f"{suspected} suspected"] * bool(suspected) + [f"{unknown} unknown"] * bool(unknown)
    if notes := len(shown) - len(counting):
        rest.append(f"{notes} note{'s' * (notes != 1)}")
    if confirmed:
        kinds: dict[str, int] = {}
        for one in confirmed:
            kinds[one.detector] = kinds.get(one.detector, 0) + 1
        most = sorted(kinds.items(), key=lambda each: -each[1])[:_KINDS]
        said = [f"{number} \u00d7 {name.replace('_', ' ')}" for name, number in most]
        number = len(confirmed)
        plural = "" if number == 1 else "s"
        return (
            "trouble", f"{number:,}", f"{number:,} disagreement{plural} confirmed",
            "  ·  ".join([*said, *rest]),
        )  # fmt: skip
    if not itself["can_see"]:
        why = [f"{one} fails" for one in itself["failing"]]
        why += [f"{itself['unread_files']} files cannot be read"] * bool(itself["unread_files"])
        why += ["nothing is judged any more"] * (not itself["judges"])
        why += ["records are refused for lack of room"] * itself["full"]
        if itself["behind_s"] >= _LATE_S:
            why.append(f"{itself['behind_s']:.0f} s behind")
        return "blind", "?", "It cannot be seen whether all is well", "  ·  ".join([*why, *rest])
    if suspected or unknown:
        return "doubt", str(suspected + unknown), "Something may be wrong", "  ·  ".join(rest)
    if not heard:
        return (
            "waiting", "…", "Nothing heard yet",
            "No dispatcher and no agent has sent anything.",
        )  # fmt: skip
    if itself["evaluated_at"] is None:
        return "waiting", "…", "Nothing judged yet", "It begins in a moment."
    return "calm", "✓", "All is well", "  ·  ".join(["Both sides tell the same story", *rest])


_LABELS: Final = {
    "zombies": "zombies",
    "lost_reports": "lost reports",
    "mismatches": "verdicts that differ",
    "oldest_s": "oldest waiting",
    "drains_s": "until queues empty",
    "blind": "blind spots",
}


def _without(name: str, *, known: bool, never: bool) -> str:
    """Return what stands in a tile that has no figure."""
    if never:
        return "never"
    return "not known" if known and name == "drains_s" else "none"


def _tiles(service: Service, shown: Sequence[Finding]) -> list[TileJson]:
    now = figures(shown, service.trends.queues)
    made: list[TileJson] = []
    for name, label in _LABELS.items():
        value = now[name]
        seconds = name.endswith("_s")
        never = (
            name == "drains_s"
            and value is None
            and any(one["drains"] == "never" for one in service.trends.queues)
        )
        bad = never if seconds else bool(value)
        state: Literal["calm", "trouble", "doubt"] = "calm"
        if bad:
            state = "trouble" if name in COUNTED else "doubt"
        made.append(
            {
                "name": name,
                "label": label,
                "value": value,
                "unit": "s" if seconds else "",
                "text": _without(name, known=bool(service.trends.queues), never=never),
                "state": state,
                "trend": list(service.trends.points[name]),
            }
        )
    totals = service.trends.totals
    ever = sum(totals.get(one, 0) for one in ("confirmed", "resolved", "retracted"))
    wrong = totals.get("retracted", 0)
    made.append(
        {
            "name": "false_alarms",
            "label": "false alarms, ever",
            "value": wrong / ever if ever else 0.0,
            "unit": "%",
            "text": f"{wrong:,} of {ever:,}",
            "state": "doubt" if wrong else "calm",
            "trend": [],
        }
    )
    return made
