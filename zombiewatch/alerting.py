"""Tries the way of an alert out: sends one to Alertmanager, and looks where it has gone."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import yaml

from alerts.rules.rule import SOURCE
from zombiewatch._alertmanager_api import AlertmanagerError, post, text

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["AlertmanagerError", "Tried", "try_out"]

_LASTS: Final = timedelta(minutes=3)
_LOOK_S: Final = 0.5
_SENT: Final = re.compile(
    r'^alertmanager_notification_requests(_failed)?_total\{integration="(\w+)"[^}]*\} (\S+)$',
    re.MULTILINE,
)
"""Requests, not notifications: those are counted when they are begun."""


@dataclass(slots=True)
class Tried:
    """What became of a test alert: who gets it and how, what mutes it, what was sent meanwhile.

    `receivers` have their integrations (webhook, slack …). `sent` and `failed` count what these
    have sent while we waited: Alertmanager does not say of which alert.
    """

    receivers: dict[str, list[str]] = field(default_factory=dict)
    muted_by: list[str] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether somebody was told, and nothing failed."""
        return bool(self.sent) and not self.failed and not self.muted_by

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "receivers": self.receivers,
            "muted_by": self.muted_by,
            "sent": self.sent,
            "failed": self.failed,
        }

    def lines(self) -> list[str]:
        """Return it for people."""
        told = ["Alertmanager has it."] if self.receivers else ["Alertmanager has dropped it."]
        for receiver, ways in self.receivers.items():
            told.append(
                f"It goes to {receiver}, by {', '.join(ways) or 'nothing: it tells nobody'}."
            )
        if self.muted_by:
            told.append(f"It is muted by: {', '.join(self.muted_by)}.")
        for name, number in sorted(self.sent.items()):
            told.append(f"Sent by {name}: {number}.")
        for name, number in sorted(self.failed.items()):
            told.append(f"FAILED by {name}: {number}. Alertmanager's log says why.")
        if not self.sent and not self.failed:
            told.append("Nobody was told within the time.")
        return told


def try_out(
    base: str,
    *,
    severity: str,
    service: str,
    team: str | None,
    wait_s: float,
    say: Callable[[str], None] = lambda _said: None,
) -> Tried:
    """Send a test alert to the Alertmanager at *base*; return what became of it within *wait_s*.

    Raises AlertmanagerError.
    """
    base, mark = base.rstrip("/"), uuid4().hex[:8]
    now = datetime.now(UTC)
    labels = {
        "alertname": "ZombiewatchTest", "severity": severity, "service": service,
        "source": SOURCE, "test": mark, **({"team": team} if team else {}),
    }  # fmt: skip
    alert = {
        "labels": labels,
        "annotations": {
            "summary": "A test: nothing is wrong.",
            "description": "Somebody has typed `zombiewatch alerts test`.",
        },
        "startsAt": now.isoformat(),
        "endsAt": (now + _LASTS).isoformat(),
    }
    before = _notified(base)
    post(base, [alert])
    say(f"Sent to {base}; waiting until somebody is told, {wait_s:g} s at most …")
    tried, until = Tried(), time.monotonic() + wait_s
    while True:
        _look(base, mark, tried)
        _count(tried, before, _notified(base))
        in_vain = tried.receivers and not any(tried.receivers.values())
        if tried.sent or tried.failed or in_vain or time.monotonic() >= until:
            break
        time.sleep(_LOOK_S)  # a poll, bounded by wait_s
    post(base, [{**alert, "endsAt": datetime.now(UTC).isoformat()}])
    return tried


def _look(base: str, mark: str, tried: Tried) -> None:
    for one in json.loads(text(f"{base}/api/v2/alerts?filter=test%3D%22{mark}%22")):
        ways = _ways(base)
        tried.receivers = {each["name"]: ways.get(each["name"], []) for each in one["receivers"]}
        status = one["status"]
        tried.muted_by = [
            *(f"silence {each}" for each in status["silencedBy"]),
            *(f"alert {each}" for each in status["inhibitedBy"]),
        ]


def _ways(base: str) -> dict[str, list[str]]:
    """Return the integrations of each receiver, from the configuration in force."""
    said = yaml.safe_load(json.loads(text(f"{base}/api/v2/status"))["config"]["original"])
    return {
        one["name"]: sorted(
            key.removesuffix("_configs") for key, value in one.items() if key != "name" and value
        )
        for one in said["receivers"]
    }


def _notified(base: str) -> Counter[tuple[str, bool]]:
    """Return how many notifications each integration has sent (False), and failed to (True)."""
    found: Counter[tuple[str, bool]] = Counter()
    for failed, name, number in _SENT.findall(text(f"{base}/metrics")):
        found[name, bool(failed)] += int(float(number))
    return found


def _count(tried: Tried, before: Counter[tuple[str, bool]], now: Counter[tuple[str, bool]]) -> None:
    ways = {way for those in tried.receivers.values() for way in those}
    grown = Counter({key: n for key, n in (now - before).items() if key[0] in ways})
    tried.failed = {name: number for (name, failed), number in grown.items() if failed}
    # what failed is counted among all
    tried.sent = {
        name: number - tried.failed.get(name, 0)
        for (name, failed), number in grown.items()
        if not failed and number > tried.failed.get(name, 0)
    }
