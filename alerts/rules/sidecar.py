"""Alerts about the sidecar itself: who watches must say when it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from alerts.rules.rule import Alert, Case, Group, Text

if TYPE_CHECKING:
    from alerts.rules.links import Links

_JOB: Final = {"job": "zombiewatch", "instance": "z:9797"}
_ALL: Final = 'job="zombiewatch", instance="z:9797"'
_RUNBOOK: Final = "sidecar"


def _alert(  # noqa: PLR0917 - in the order in which one says them
    links: Links,
    name: str,
    expr: str,
    severity: str,
    summary: str,
    description: str,
    *cases: Case,
    lasts: str = "",
) -> Alert:
    texts = {
        "summary": Text(summary),
        "description": Text(description),
        **links.of(name, f"{_RUNBOOK}#{name.lower()}", service=False),
    }
    labels = {"degradable": "false"}
    return Alert(name, expr, severity, texts, cases, lasts=lasts, labels=labels)


def _grown(counter: str) -> str:
    """Return by how much *counter* has grown in 15 minutes; where it is new, all of it.

    `increase` does not see a counter that is born with what it has to tell.
    """
    return f"({counter} - {counter} offset 15m > 0 or {counter} > 0 unless {counter} offset 15m)"


def group(links: Links) -> Group:
    """Return the alerts."""
    ready, behind = f"zombiewatch_ready{{{_ALL}}}", f"zombiewatch_apply_lag_seconds{{{_ALL}}}"
    age = f'zombiewatch_detector_age_seconds{{{_ALL}, detector="zombie_task"}}'
    of = {**_JOB, "detector": "zombie_task"}
    left, damaged, full, left_out = (
        f"zombiewatch_{name}_total{{{_ALL}}}"
        for name in ("records_left_out", "damaged", "refused_full", "checkpoint_errors")
    )
    unread = f"zombiewatch_follow_failing_files{{{_ALL}}}"
    followed = f"zombiewatch_degrade_follow_failing{{{_ALL}}}"
    blind = f'zombiewatch_degrade_policy_blind{{{_ALL}, service="shop"}}'
    return Group(
        "zombiewatch-sidecar",
        [
            _alert(
                links,
                "ZombiewatchWatchdog",
                "vector(1)",
                "none",
                "Always there: if it stops coming, nobody is told of anything.",
                "This alert fires all the time, so that its absence can be noticed.",
                Case({}, "1m", [{}]),
            ),
            _alert(
                links,
                "ZombiewatchAbsent",
                "absent(zombiewatch_ready)",
                "critical",
                "No zombiewatch is scraped: nobody looks for zombies.",
                "No sample of zombiewatch_ready has come for three minutes. What was firing goes on"
                " firing, and nothing new is found.",
                Case({}, "5m", [{}]),
                Case({ready: "1x10 _x10"}, "20m", [{}]),
                Case({}, "1m"),
                Case({ready: "1x10"}, "5m"),
                lasts="3m",
            ),
            _alert(
                links,
                "ZombiewatchNotReady",
                "zombiewatch_ready == 0",
                "warning",
                "A zombiewatch has not caught up with what it had kept when it started.",
                "<instance> has been applying its journal for ten minutes; nothing is judged before"
                " that is done.",
                Case({ready: "0x20"}, "15m", [_JOB]),
                Case({ready: "0x5 1x20"}, "15m"),
                lasts="10m",
            ),
            _alert(
                links,
                "ZombiewatchBehind",
                "zombiewatch_apply_lag_seconds > 60",
                "warning",
                "A zombiewatch does not keep up with what comes in.",
                "What <instance> judges is more than a minute old: it has more to take in than it"
                " can.",
                Case({behind: "90x20"}, "10m", [_JOB]),
                Case({behind: "60x20"}, "10m"),
                lasts="5m",
            ),
            _alert(
                links,
                "ZombiewatchDetectorStale",
                "zombiewatch_detector_age_seconds > 300",
                "warning",
                "A detector fails: what it looks for is not found.",
                "<detector> on <instance> has not been judged without an error for five minutes."
                " The sidecar's log has the error.",
                Case({age: "0+60x20"}, "15m", [of]),
                Case({age: "5x20"}, "15m"),
                lasts="2m",
            ),
            _alert(
                links,
                "ZombiewatchDataLoss",
                " or ".join(
                    _grown(name)
                    for name in (
                        "zombiewatch_records_left_out_total",
                        "zombiewatch_damaged_total",
                        "zombiewatch_refused_full_total",
                    )
                ),
                "critical",
                "A zombiewatch has lost, or refused, something of what it was told.",
                "<instance>: records could not be applied, a file did not match its checksum, or"
                " there was no room on disk. What was set aside lies in the folder `damaged` of its"
                " data.",
                Case({left: "0x20 1x20"}, "25m", [_JOB]),
                Case({damaged: "2x20"}, "5m", [_JOB]),
                Case({full: "0x20 5x20"}, "25m", [_JOB]),
                Case({left: "0x60", damaged: "2x60", full: "0x60"}, "40m"),
            ),
            _alert(
                links,
                "ZombiewatchCheckpointsFail",
                _grown("zombiewatch_checkpoint_errors_total"),
                "warning",
                "A zombiewatch cannot write down what it has in memory.",
                "<instance>: a restart takes longer each minute, and the journal grows. Is there"
                " room on its disk?",
                Case({left_out: "0x20 3x20"}, "25m", [_JOB]),
                Case({left_out: "3x60"}, "40m"),
            ),
            _alert(
                links,
                "ZombiewatchFilesUnread",
                "zombiewatch_follow_failing_files > 0",
                "warning",
                "Log files that should be followed cannot be read.",
                "<instance> may not, or cannot, read some of the files that match: `zombiewatch"
                " sources` has them, with the reason.",
                Case({unread: "2x20"}, "15m", [_JOB]),
                Case({unread: "2x3 0x20"}, "15m"),
                lasts="10m",
            ),
            _alert(
                links,
                "DegradePolicyBlind",
                "zombiewatch_degrade_policy_blind > 0",
                "warning",
                "A degrade policy does not know its input: it raises nothing.",
                "The query of the policy of <service> is not answered with one number:"
                " `zombiewatch switch list` says why.",
                Case({blind: "1x20"}, "15m", [{**_JOB, "service": "shop"}]),
                Case({blind: "1x3 _x20"}, "15m"),
                lasts="10m",
            ),
            _alert(
                links,
                "DegradeFollowFailing",
                "zombiewatch_degrade_follow_failing > 0",
                "warning",
                "The sidecar whose switches are followed does not answer.",
                "<instance> has the switches of another sidecar, and cannot ask it: what was set"
                " there holds until it ends, what is set now is not seen here.",
                Case({followed: "1x20"}, "15m", [_JOB]),
                Case({followed: "1x3 0x20"}, "15m"),
                lasts="5m",
            ),
        ],
    )
