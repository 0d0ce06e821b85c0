"""Do results arrive, and do the time-outs hold what they have to?"""

from __future__ import annotations

from typing import Final

from dashboards.grafana._board import Board, Row
from dashboards.grafana._panel import ANY_IS_BAD, BY_DETECTOR, Link, Panel, Query, Steps
from dashboards.grafana._query import (
    QUEUE,
    SERVICE,
    found,
    least,
    most,
    of,
    only,
    or_0,
    quantile,
    rate,
    top,
)

_TOTAL: Final = "zombiewatch_tasks_total"
_FULL: Final[Steps] = ((0.8, "orange"), (1, "red"))
_UNRECORDED: Final = only(state="unrecorded")


def _limit(kind: str) -> str:
    """Return the strictest limit of that *kind*, by name: of a task, or a call's purpose."""
    return least(of("zombiewatch_limit_seconds", only(limit=kind)), "name")


def _usual(measure: str, share: str = "0.99") -> str:
    """Return what that *share* does not exceed, by name, as it was over the last day."""
    said = only(measure=measure, quantile=share)
    return top(of("zombiewatch_usual_seconds", said), "name")


def _beside(title: str, kind: str, measure: str, what: str) -> tuple[Panel, Panel]:
    """Return a limit beside what it has to hold, and how much of it that takes."""
    limit, usual = _limit(kind), _usual(measure)
    return (
        Panel(
            title,
            f"{what}: the limit that was declared, and what 99% did not exceed, over the last day.",
            "s",
            [Query(limit, "{{name}}: limit"), Query(usual, "{{name}}: 99%")],
            width=14,
        ),
        Panel(
            f"{title}: how full",
            f"{what}: the share of the limit that 99% stay within. At 100% the limit cuts off work"
            " that would have ended well; one that is nearly full will.",
            "percentunit",
            [Query(f"{usual} / {limit}", "{{name}}")],
            kind="bargauge",
            width=10,
            steps=_FULL,
            most=1.25,
            links=[Link("Time-outs", "/timeouts"), Link("Runbook", "/runbooks/timeout_lattice")],
        ),
    )


BOARD: Final = Board(
    "report path and time-outs",
    [
        Row(
            "Do results arrive?",
            [
                Panel(
                    "Lost reports",
                    "Runs that ended at the agent, and whose result was never recorded.",
                    "none",
                    [Query(found("lost_report"), "lost reports")],
                    kind="stat", width=6, steps=ANY_IS_BAD,
                    links=[Link("Runbook", "/runbooks/lost_report")],
                ),
                Panel(
                    "On their way",
                    "Runs that have ended and are not recorded, and for how long the oldest of"
                    " them has been so.",
                    "none",
                    [Query(or_0(most(of("zombiewatch_tasks_open", _UNRECORDED, QUEUE))), "runs")],
                    width=6,
                ),
                Panel(
                    "The oldest on its way",
                    "How long the oldest result that is not recorded has been known to its agent.",
                    "s",
                    [
                        Query(
                            or_0(
                                top(
                                    of("zombiewatch_tasks_oldest_age_seconds", _UNRECORDED, QUEUE)
                                )
                            ),
                            "oldest",
                        )
                    ],
                    width=6,
                ),
                Panel(
                    "Ended and recorded",
                    "Two lines that should be one: what lies between them is lost or late.",
                    "ops",
                    [
                        Query(rate(_TOTAL, only(phase="finished"), QUEUE), "ended"),
                        Query(rate(_TOTAL, only(phase="recorded"), QUEUE), "recorded"),
                    ],
                    width=6,
                ),
                Panel(
                    "How long a report takes",
                    "From a run's end to its record, by task, over the last day: what half, and"
                    " 99%, do not exceed.",
                    "s",
                    [
                        Query(_usual("record", "0.5"), "{{name}}: half"),
                        Query(_usual("record"), "{{name}}: 99%"),
                    ],
                    width=12,
                ),
                Panel(
                    "Found on the report path",
                    "What makes a record wrong: results that are lost, contradicted, slow, or"
                    " committed for nobody; errors that nobody was told of.",
                    "none",
                    [
                        Query(
                            found(
                                "lost_report",
                                "verdict_mismatch",
                                "gave_up_but_committed",
                                "swallowed_error",
                                "slow_report",
                                "auth_failure",
                                by=("detector",),
                            ),
                            "{{detector}}",
                        )
                    ],
                    width=12,
                    series_links=BY_DETECTOR,
                ),
            ],
        ),
        Row("Time-outs of runs", _beside("Runs", "run", "run", "Runs of a task")),
        Row(
            "Time-outs of calls",
            (
                *_beside("Calls", "call", "answer", "Calls of one purpose, and their answers"),
                Panel(
                    "Retries",
                    "For how long a call of that purpose is tried again, beside what an answer"
                    " takes: who stops before the answer comes never gets it.",
                    "s",
                    [
                        Query(_limit("retries"), "{{name}}: retries"),
                        Query(_usual("answer"), "{{name}}: 99% of answers"),
                    ],
                    width=24,
                ),
            ),
        ),
        Row(
            "Time-outs of heartbeats and queues",
            (
                *_beside("Heartbeats", "heartbeat", "beat", "Between two heartbeats of a task"),
                Panel(
                    "Visibility",
                    "After how long a queue hands out again what was not acknowledged, beside"
                    " what 99% of its runs take: where the run is longer, it runs twice.",
                    "s",
                    [
                        Query(
                            least(
                                of("zombiewatch_limit_seconds", only(limit="visibility"), QUEUE),
                                "queue",
                            ),
                            "{{queue}}: visibility",
                        ),
                        Query(
                            quantile(0.99, "zombiewatch_task_run_seconds", QUEUE, by=("queue",)),
                            "{{queue}}: 99% of runs",
                            exemplars=True,
                        ),
                    ],
                    width=14,
                ),
                Panel(
                    "Limits that do not fit",
                    "What the detector has found: two limits, or a limit and what it has to hold.",
                    "none",
                    [Query(found("timeout_lattice", where=(SERVICE,)), "misfits")],
                    kind="stat",
                    width=10,
                    steps=((1, "orange"),),
                    links=[
                        Link("Findings", "/findings?detector=timeout_lattice"),
                        Link("Runbook", "/runbooks/timeout_lattice"),
                    ],
                ),
            ),
        ),
    ],
)  # fmt: skip
