"""Alerts about degrade switches: the one that mutes, and those that let none be forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from alerts.rules.rule import Alert, Case, Group, Text

if TYPE_CHECKING:
    from alerts.rules.links import Links

_OF: Final = 'job="zombiewatch", instance="z:9797", service="shop"'
_LABELS: Final = {"job": "zombiewatch", "service": "shop"}
_LEVEL: Final = f"zombiewatch_degrade_level{{{_OF}}}"
_EXPIRES: Final = f"zombiewatch_degrade_expires_timestamp_seconds{{{_OF}}}"
_REMAINING: Final = f"zombiewatch_degrade_remaining_seconds{{{_OF}}}"
_MUTED: Final = (
    'ALERTS{alertname="ZombieTask", alertstate="firing", degradable="true", service="shop"}'
)


def group(links: Links) -> Group:
    """Return the alerts."""

    def alert(
        name: str, expr: str, severity: str, summary: str, description: str, *cases: Case,
        lasts: str = "", **labels: str,
    ) -> Alert:  # fmt: skip
        texts = {
            "summary": Text(summary),
            "description": Text(description),
            **links.of(name, f"switches#{name.lower()}"),
        }
        own = {"degradable": "false", **labels}
        return Alert(name, expr, severity, texts, cases, lasts=lasts, labels=own)

    by = "max by (job, service)"
    return Group(
        "zombiewatch-switches",
        [
            alert(
                "ServiceDegraded",
                # It outlives a restart of the sidecar, never the lease.
                f"{by} (last_over_time(zombiewatch_degrade_level[5m])) > 0\nand on (job, service)"
                f" {by} (last_over_time(zombiewatch_degrade_expires_timestamp_seconds[5m]))"
                " > time()",
                "none",
                "A service is known to be in trouble: its alerts are muted for a time.",
                "<service> is degraded: `zombiewatch switch list` says by whom, why and for how"
                " long.",
                Case({_LEVEL: "2x20", _EXPIRES: "3600x20"}, "10m", [{**_LABELS, "level": "L2"}]),
                Case(
                    {_LEVEL: "2x10 _x4 2x10", _EXPIRES: "3600x10 _x4 3600x10"},
                    "14m",
                    [{**_LABELS, "level": "L2"}],
                ),
                Case({_LEVEL: "0x20"}, "10m"),
                Case({_LEVEL: "2x10 0x10", _EXPIRES: "3600x10 _x10"}, "12m"),
                Case({_LEVEL: "2x10 _x20", _EXPIRES: "3600x10 _x20"}, "17m"),
                Case({_LEVEL: "2x10 _x20", _EXPIRES: "660x10 _x20"}, "12m"),
                level="L{{ $value }}",
            ),
            alert(
                "DegradeSwitchExpiringSoon",
                f"{by} (zombiewatch_degrade_remaining_seconds) < 300"
                " and on (job, service) zombiewatch_degrade_level > 0",
                "info",
                "A switch ends in less than five minutes.",
                "The switch of <service> ends soon: prolong it if the trouble lasts.",
                Case({_LEVEL: "2x20", _REMAINING: "900-60x20"}, "12m", [_LABELS]),
                Case({_LEVEL: "2x20", _REMAINING: "900-60x20"}, "10m"),
            ),
            alert(
                "DegradeSwitchStuck",
                "min_over_time(zombiewatch_degrade_level[1d]) > 0 and zombiewatch_degrade_level"
                " offset 1d > 0",
                "warning",
                "A switch has been on for more than a day.",
                "<service> has been degraded for a day without a break: either it is how things"
                " are, or the trouble needs an owner.",
                Case({_LEVEL: "1x60"}, "1470m", [{**_LABELS, "instance": "z:9797"}], "30m"),
                Case({_LEVEL: "1x20 0 1x40"}, "1470m", step="30m"),
            ),
            alert(
                "DegradeSwitchFlapping",
                "changes(zombiewatch_degrade_level[1h]) > 6",
                "warning",
                "A switch goes on and off.",
                "The level of <service> has changed more than six times within an hour: its"
                " policy's thresholds lie too close, or somebody fights it.",
                Case({_LEVEL: "0 1 0 1 0 1 0 1 0x20"}, "20m", [{**_LABELS, "instance": "z:9797"}]),
                Case({_LEVEL: "0 1 2 1 0 1 2 2x20"}, "20m"),
            ),
            alert(
                "DegradeSwitchSuppressingNothing",
                "zombiewatch_degrade_level > 0 unless on (service)"
                ' ALERTS{alertstate="firing", degradable="true"}',
                "info",
                "A switch is on, and there is nothing that it mutes.",
                "Nothing of <service> has fired for half an hour: clear its switch, if the trouble"
                " is over.",
                Case({_LEVEL: "1x60"}, "45m", [{**_LABELS, "instance": "z:9797"}]),
                Case({_LEVEL: "1x60", _MUTED: "1x60"}, "45m"),
                lasts="30m",
            ),
        ],
    )
