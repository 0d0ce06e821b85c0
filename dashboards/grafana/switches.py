"""Which services are known to be in trouble, since when, and what that hides."""

from __future__ import annotations

from typing import Final

from dashboards.grafana._board import Board, Row
from dashboards.grafana._panel import ANY_IS_ODD, Link, Panel, Query
from dashboards.grafana._query import SERVICE, grown, of, or_0, rate, top

_LEVELS: Final = {
    "0": ("L0", "green"),
    "1": ("L1", "yellow"),
    "2": ("L2", "orange"),
    "3": ("L3", "red"),
}
_HOW: Final = [Link("Switches", "/switches"), Link("Runbook", "/runbooks/switches")]


def _of(kind: str) -> str:
    """Return that *kind* of number, by service; two sidecars have the same switches."""
    return top(of(f"zombiewatch_degrade_{kind}", SERVICE), "service")


IN_FORCE: Final = _of("level")
"""The level in force, by service; 0 for one that had a switch once."""

BOARD: Final = Board(
    "switches",
    [
        Row(
            "In force",
            [
                Panel(
                    "Levels",
                    "The level in force, by service that ever had a switch: L0 is all well. Alerts"
                    " and changes are marked.",
                    "none",
                    [Query(IN_FORCE, "{{service}}")],
                    kind="state-timeline", width=24, words=_LEVELS, links=_HOW,
                ),
                Panel(
                    "Time left",
                    "Until the switch in force ends by itself; nothing where there is none.",
                    "s",
                    [Query(or_0(_of("remaining_seconds")), "{{service}}")],
                    width=12,
                ),
                Panel(
                    "What they hide",
                    "Findings that the switch in force mutes: listed, and told to nobody.",
                    "none",
                    [Query(or_0(_of("hidden_findings")), "{{service}}")],
                    width=12,
                    links=[Link("Findings", "/findings")],
                ),
            ],
        ),
        Row(
            "Policies",
            [
                Panel(
                    "Changes within an hour",
                    "Switches set, cleared, expired, raised and lowered; those in dry run, too."
                    " Many of one service: its thresholds lie too close, or somebody fights it.",
                    "none",
                    [
                        Query(
                            or_0(
                                grown(
                                    "zombiewatch_degrade_changes_total",
                                    SERVICE,
                                    by=("service",),
                                    over="[1h]",
                                )
                            ),
                            "{{service}}",
                        )
                    ],
                    links=_HOW,
                ),
                Panel(
                    "In dry run",
                    "The level that a policy in dry run would have set.",
                    "none",
                    [Query(or_0(_of("dry_run_level")), "{{service}}")],
                    most=3,
                ),
                Panel(
                    "Looks",
                    "How often policies are looked at.",
                    "ops",
                    [Query(rate("zombiewatch_degrade_looks_total"), "looks")],
                ),
            ],
        ),
        Row(
            "Can they do their work?",
            [
                Panel(
                    "Blind policies",
                    "Policies whose query is not answered: they raise nothing.",
                    "none",
                    [Query(or_0(f"sum({_of('policy_blind')})"), "blind")],
                    kind="stat", height=5, steps=ANY_IS_ODD, links=_HOW,
                ),
                Panel(
                    "Following",
                    "Sidecars that do not reach the one whose switches they follow.",
                    "none",
                    [Query(f"sum({of('zombiewatch_degrade_follow_failing')})", "do not reach it")],
                    kind="stat", height=5, steps=ANY_IS_ODD, links=_HOW,
                ),
                Panel(
                    "Silences",
                    "Silences of switches at Alertmanager, and how often it refused one within an"
                    " hour; 0 where the sidecar makes none.",
                    "none",
                    [
                        Query(or_0(top(of("zombiewatch_silences"))), "silences"),
                        Query(
                            or_0(grown("zombiewatch_silence_errors_total", over="[1h]")), "refused"
                        ),
                    ],
                    kind="stat", height=5,
                ),
            ],
        ),
    ],
)  # fmt: skip
