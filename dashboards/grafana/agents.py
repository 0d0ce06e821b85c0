"""Who speaks, who has fallen silent, and how late it is heard."""

from __future__ import annotations

from typing import Final

from dashboards.grafana._board import Board, Row
from dashboards.grafana._panel import BY_DETECTOR, Link, Panel, Query, of_detector
from dashboards.grafana._query import SERVICE, found, least, most, of, only, or_0, rate, top

_PROCESSES: Final = "zombiewatch_processes"
_ONLY: Final = (SERVICE,)

BOARD: Final = Board(
    "agents",
    [
        Row(
            "Verdict",
            [
                Panel(
                    "Agents heard",
                    "Processes of agents that were heard of within two minutes.",
                    "none",
                    [
                        Query(
                            most(of(_PROCESSES, only(side="agent", state="heard"), SERVICE)),
                            "agents",
                        )
                    ],
                    kind="stat", width=6, height=5, links=[Link("Sources", "/sources")],
                ),
                Panel(
                    "Agents silent",
                    "Processes of agents that were heard of within the hour, not for two minutes,"
                    " and did not say that they stop. Who has no work may well be silent.",
                    "none",
                    [
                        Query(
                            most(of(_PROCESSES, only(side="agent", state="silent"), SERVICE)),
                            "silent",
                        )
                    ],
                    kind="stat", width=6, height=5, links=[Link("Sources", "/sources")],
                ),
                Panel(
                    "Agents down",
                    "Agents that are taken for dead, or start again and again.",
                    "none",
                    [Query(found("agent_down", "crash_loop", where=_ONLY), "down")],
                    kind="stat", width=6, height=5, steps=((1, "red"),),
                    links=of_detector("agent_down"),
                ),
                Panel(
                    "Sources dark",
                    "Services that promised to speak and do not: their silence proves nothing.",
                    "none",
                    [Query(found("source_dark", where=_ONLY), "dark")],
                    kind="stat", width=6, height=5, steps=((1, "red"),),
                    links=of_detector("source_dark"),
                ),
            ],
        ),
        Row(
            "Who speaks",
            [
                Panel(
                    "Processes",
                    "Processes by service that were heard of within two minutes.",
                    "none",
                    [
                        Query(
                            most(of(_PROCESSES, only(state="heard"), SERVICE), "side", "service"),
                            "{{service}} ({{side}})",
                        )
                    ],
                ),
                Panel(
                    "Last heard",
                    "How long ago a service was heard of last, whatever it said.",
                    "s",
                    [
                        Query(
                            least(
                                of("zombiewatch_source_age_seconds", SERVICE), "service", "way"
                            ),
                            "{{service}} ({{way}})",
                        )
                    ],
                ),
                Panel(
                    "How late it is heard",
                    "From the event to its arrival, the longest of the last batch; clocks that"
                    " differ are part of it.",
                    "s",
                    [
                        Query(
                            top(
                                of("zombiewatch_collection_lag_seconds", SERVICE),
                                "service",
                                "way",
                            ),
                            "{{service}} ({{way}})",
                        )
                    ],
                ),
            ],
        ),
        Row(
            "What they do",
            [
                Panel(
                    "Begun and ended",
                    "Runs that agents begin and end, beside what they are handed.",
                    "ops",
                    [
                        Query(
                            rate(
                                "zombiewatch_tasks_total",
                                'phase=~"dispatched|started|finished"',
                                by=("phase",),
                            ),
                            "{{phase}}",
                        )
                    ],
                ),
                Panel(
                    "What is running",
                    "Attempts that an agent runs, or was handed and has not begun.",
                    "none",
                    [
                        Query(
                            most(of("zombiewatch_tasks_open", 'state=~"held|running"'), "state"),
                            "{{state}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    "Between heartbeats",
                    "What 99% of the pauses between two heartbeats of a task do not exceed, over"
                    " the last day.",
                    "s",
                    [
                        Query(
                            top(
                                of(
                                    "zombiewatch_usual_seconds",
                                    only(measure="beat", quantile="0.99"),
                                ),
                                "name",
                            ),
                            "{{name}}",
                        )
                    ],
                ),
            ],
        ),
        Row(
            "What was found",
            [
                Panel(
                    "Found of agents",
                    "Agents that are down, crash or are silent about a task; clocks that differ.",
                    "none",
                    [
                        Query(
                            found(
                                "agent_down",
                                "crash_loop",
                                "silent_task",
                                "clock_skew",
                                by=("detector",),
                                where=_ONLY,
                            ),
                            "{{detector}}",
                        )
                    ],
                    width=12,
                    series_links=BY_DETECTOR,
                ),
                Panel(
                    "What cannot be told",
                    "Findings that silence does not prove, by detector: each is a blind spot.",
                    "none",
                    [
                        Query(
                            or_0(most(of("zombiewatch_findings_unknown", SERVICE), "detector")),
                            "{{detector}}",
                        )
                    ],
                    width=12,
                    series_links=BY_DETECTOR,
                ),
            ],
        ),
    ],
)  # fmt: skip
