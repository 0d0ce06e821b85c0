"""Is all well? What was found, how the work goes, and whether anybody looks."""

from __future__ import annotations

from typing import Final

from alerts.rules.level import WRONG
from dashboards.grafana._board import Board, Row
from dashboards.grafana._panel import (
    ANY_IS_BAD,
    ANY_IS_ODD,
    BY_DETECTOR,
    Link,
    Panel,
    Query,
    of_detector,
)
from dashboards.grafana._query import (
    QUEUE,
    SERVICE,
    found,
    grown,
    most,
    of,
    only,
    or_0,
    quantile,
    rate,
    top,
)
from dashboards.grafana.backlog import DRAIN
from dashboards.grafana.switches import IN_FORCE
from detectors._kit import load

_HOUR: Final = "[1h]"
_RECORDED: Final = grown("zombiewatch_tasks_total", only(phase="recorded"), by=("job",), over=_HOUR)
_BAD: Final = grown(
    "zombiewatch_verdicts_total",
    f'detector=~"{"|".join(WRONG)}"',
    only(verdict="confirmed"),
    by=("job",),
    over=_HOUR,
)
_ENDED: Final = ("zombiewatch_tasks_total", only(phase="finished"), QUEUE)
_BADLY: Final = 'outcome=~"failure|timeout|unknown"'

_VERDICT: Final = Row(
    "Verdict",
    [
        Panel(
            "Zombies",
            "Tasks that are held to be running, and that no agent runs, as far as it is confirmed.",
            "none",
            [Query(found("zombie_task"), "zombies")],
            kind="stat", width=4, height=5, steps=ANY_IS_BAD, links=of_detector("zombie_task"),
        ),
        Panel(
            "Lost reports",
            "Runs that ended at the agent, and whose result was never recorded.",
            "none",
            [Query(found("lost_report"), "lost reports")],
            kind="stat", width=4, height=5, steps=ANY_IS_BAD, links=of_detector("lost_report"),
        ),
        Panel(
            "Oldest finding",
            "How long the oldest confirmed finding has been true; 0 if there is none.",
            "s",
            [
                Query(
                    or_0(top(of("zombiewatch_findings_oldest_age_seconds", SERVICE, QUEUE))),
                    "oldest",
                )
            ],
            kind="stat", width=4, height=5, steps=((300, "orange"), (3600, "red")),
            links=[Link("Findings", "/findings")],
        ),
        Panel(
            "Time to drain",
            "When the queue that takes longest will be empty, if it goes on as in the last ten"
            " minutes; infinite if it does not get shorter.",
            "s",
            [Query(f"max({DRAIN})", "to drain")],
            kind="stat", width=4, height=5, steps=((900, "orange"), (3600, "red")),
            links=[Link("Queues", "/queues")],
        ),
        Panel(
            "Switches in force",
            "Services that are known to be in trouble: their alerts may be muted.",
            "none",
            [Query(or_0(f"count({IN_FORCE} > 0)"), "switches")],
            kind="stat", width=4, height=5, steps=((1, "purple"),),
            links=[Link("Switches", "/switches")],
        ),
        Panel(
            "Blind spots",
            "Findings that silence does not prove: who could have said otherwise was not heard.",
            "none",
            [Query(or_0(most(of("zombiewatch_findings_unknown", SERVICE, QUEUE))), "unknown")],
            kind="stat", width=4, height=5, steps=ANY_IS_ODD, links=[Link("Sources", "/sources")],
        ),
    ],
)  # fmt: skip

_WORK: Final = Row(
    "Rate, errors, duration",
    [
        Panel(
            "Runs that ended",
            "How many runs end, by outcome.",
            "ops",
            [Query(rate(*_ENDED, by=("outcome",)), "{{outcome}}")],
            stacked=True,
        ),
        Panel(
            "Runs that failed",
            "The share of the runs ended that ended in failure, by time-out, or nobody knows how.",
            "percentunit",
            [
                Query(
                    f"({rate(*_ENDED, _BADLY)} or on () 0 * {rate(*_ENDED)}) / {rate(*_ENDED)}",
                    "failed",
                )
            ],
        ),
        Panel(
            "How long runs take",
            "From a run's start to its end. The dots, if Prometheus keeps them, are the slowest"
            " runs: they lead to their traces.",
            "s",
            [
                Query(quantile(0.5, "zombiewatch_task_run_seconds", QUEUE), "half", exemplars=True),
                Query(quantile(0.99, "zombiewatch_task_run_seconds", QUEUE), "99%", exemplars=True),
            ],
        ),
        Panel(
            "Wrong records",
            "The share of the tasks of an hour that ended with a record which they do not deserve:"
            " the service level.",
            "percentunit",
            [Query(f"{_BAD} / ({_RECORDED} + {_BAD})", "{{job}}")],
            links=[Link("Runbook", "/runbooks/level")],
        ),
        Panel(
            "Time in the queue",
            "From the moment at which a task may run to its being handed out.",
            "s",
            [
                Query(
                    quantile(0.5, "zombiewatch_task_wait_seconds", QUEUE), "half", exemplars=True
                ),
                Query(
                    quantile(0.99, "zombiewatch_task_wait_seconds", QUEUE), "99%", exemplars=True
                ),
            ],
        ),
        Panel(
            "Open work",
            "Attempts that have not ended: scheduled, waiting, held by an agent that has not begun,"
            " running, or ended and not recorded.",
            "none",
            [Query(most(of("zombiewatch_tasks_open", QUEUE), "state"), "{{state}}")],
            stacked=True,
        ),
    ],
)

_FOUND: Final = Row(
    "What was found",
    [
        Panel(
            "Confirmed findings",
            "What is confirmed and has not ended, by detector.",
            "none",
            [
                Query(
                    most(of("zombiewatch_findings", SERVICE, QUEUE), "detector"), "{{detector}}"
                )
            ],
            stacked=True,
            series_links=BY_DETECTOR,
        ),
        Panel(
            "How it ended",
            "Verdicts reached within an hour: retracted ones were false alarms.",
            "none",
            [
                Query(
                    grown("zombiewatch_verdicts_total", by=("verdict",), over=_HOUR),
                    "{{verdict}}",
                )
            ],
        ),
        Panel(
            "What tells nobody",
            "Confirmed findings that are muted, by why: somebody has said so, it is quiet time, or"
            " the sidecar still learns.",
            "none",
            [Query(or_0(most(of("zombiewatch_findings_muted"), "reason")), "{{reason}}")],
            stacked=True,
            links=[Link("Findings", "/findings")],
        ),
        Panel(
            "Suspected",
            "What looks so and waits to be confirmed, by detector.",
            "none",
            [
                Query(
                    or_0(most(of("zombiewatch_findings_suspected", SERVICE, QUEUE), "detector")),
                    "{{detector}}",
                )
            ],
            stacked=True,
            series_links=BY_DETECTOR,
        ),
        Panel(
            "What it follows from",
            "What the findings of a service seem to follow from: mend that first.",
            "none",
            [
                Query(
                    or_0(
                        top(
                            of("zombiewatch_finding_cause", SERVICE),
                            "service",
                            "detector",
                            "cause",
                        )
                    ),
                    "{{service}} {{detector}}: {{cause}}",
                )
            ],
            kind="state-timeline",
            width=16,
            words={"0": ("nothing", "transparent"), "1": ("follows", "orange")},
            series_links=BY_DETECTOR,
        ),
    ],
)  # fmt: skip

_DETECTORS: Final = Row(
    "By detector",
    [
        Panel(
            one.name,
            one.summary,
            "none",
            [Query(found(one.name), one.name)],
            kind="stat",
            width=4,
            height=4,
            steps=ANY_IS_ODD if one.severity == "info" else ANY_IS_BAD,
            links=of_detector(one.name),
        )
        for one in load()
    ],
)

BOARD: Final = Board("overview", [_VERDICT, _WORK, _FOUND, _DETECTORS])
