"""Can the sidecar itself see: does it keep up, does it judge, is what it keeps safe?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from alerts.rules.findings import HEALTHY_S
from dashboards.grafana._board import Board, Row
from dashboards.grafana._panel import (
    ANY_IS_BAD,
    RUNBOOK_OF_SERIES,
    Link,
    Panel,
    Query,
    Steps,
)
from dashboards.grafana._query import SHORT, grown, of, only, or_0, quantile, top

if TYPE_CHECKING:
    from collections.abc import Sequence

_HOW: Final = [Link("Runbook", "/runbooks/sidecar")]
_ONE: Final = "instance"
_HOUR: Final = "[1h]"


def _rate(counter: str, *by: str) -> str:
    """Return how fast *counter* grows at each sidecar, by labels; 0 where it never did."""
    rates = f"rate({of(counter)}{SHORT})"
    return or_0(f"sum by ({', '.join((_ONE, *by))}) ({rates})", _ONE)


def _verdicts(verdict: str) -> str:
    return grown("zombiewatch_verdicts_total", only(verdict=verdict), over=_HOUR)


def _now(gauge: str, *by: str) -> str:
    """Return the *gauge* of each sidecar, by labels; 0 where it has none."""
    return or_0(top(of(gauge), _ONE, *by), _ONE)


def _tile(title: str, description: str, unit: str, query: str, steps: Steps = ()) -> Panel:
    return Panel(
        title, description, unit, [Query(query, "{{instance}}")],
        kind="stat", width=6, height=5, steps=steps, links=_HOW,
    )  # fmt: skip


def _lines(title: str, description: str, unit: str, *queries: tuple[str, str]) -> Panel:
    made = [Query(expr, f"{{{{instance}}}}: {legend}") for expr, legend in queries]
    return Panel(title, description, unit, made)


def _lost(counters: Sequence[str]) -> str:
    each = [f"sum by ({_ONE}) (increase({of(name)}{_HOUR}))" for name in counters]
    return or_0(" + ".join(each), _ONE)


BOARD: Final = Board(
    "the sidecar itself",
    [
        Row(
            "Can it see?",
            [
                Panel(
                    "Ready",
                    "Whether all that was kept has been applied: before that nothing is judged.",
                    "none",
                    [Query(top(of("zombiewatch_ready"), _ONE), "{{instance}}")],
                    kind="stat", width=6, height=5, links=_HOW,
                    words={"0": ("no", "red"), "1": ("yes", "transparent")},
                ),
                _tile(
                    "Behind",
                    "Age of the oldest record that is on disk and not yet in the relations.",
                    "s",
                    _now("zombiewatch_apply_lag_seconds"),
                    ((10, "orange"), (60, "red")),
                ),
                _tile(
                    "Detectors that fail",
                    "Detectors that were not judged without an error for three minutes: what they"
                    " look for is not found.",
                    "none",
                    or_0(
                        f"count by ({_ONE})"
                        f" ({of('zombiewatch_detector_age_seconds')} > {HEALTHY_S})",
                        _ONE,
                    ),
                    ANY_IS_BAD,
                ),
                _tile(
                    "Lost within an hour",
                    "Records that could not be applied, damage on disk, and what was refused for"
                    " want of room.",
                    "none",
                    _lost(
                        (
                            "zombiewatch_records_left_out_total",
                            "zombiewatch_damaged_total",
                            "zombiewatch_refused_full_total",
                        )
                    ),
                    ANY_IS_BAD,
                ),
            ],
        ),
        Row(
            "Does it judge?",
            [
                Panel(
                    "Evaluation",
                    "How long the last evaluation of each detector took.",
                    "s",
                    [
                        Query(
                            top(of("zombiewatch_evaluation_seconds"), "detector"), "{{detector}}"
                        )
                    ],
                    stacked=True,
                    series_links=[RUNBOOK_OF_SERIES],
                ),
                Panel(
                    "Since it was judged",
                    "Time since each detector was last judged without an error.",
                    "s",
                    [
                        Query(
                            top(of("zombiewatch_detector_age_seconds"), "detector"),
                            "{{detector}}",
                        )
                    ],
                    series_links=[RUNBOOK_OF_SERIES],
                ),
                Panel(
                    "Errors",
                    "Evaluations that failed, by detector.",
                    "ops",
                    [Query(_rate("zombiewatch_detector_errors_total", "detector"), "{{detector}}")],
                ),
                Panel(
                    "Delay of detection",
                    "From the moment at which a finding could be known to its confirmation; nothing"
                    " where nothing was found.",
                    "s",
                    [
                        Query(
                            or_0(quantile(share, "zombiewatch_detection_delay_seconds")), legend
                        )
                        for share, legend in ((0.5, "half"), (0.99, "99%"))
                    ],
                ),
                Panel(
                    "False alarms",
                    "Findings that were retracted within an hour, for each that was confirmed.",
                    "percentunit",
                    [
                        Query(
                            or_0(f"{_verdicts('retracted')} / ({_verdicts('confirmed')} > 0)"),
                            "retracted",
                        )
                    ],
                ),
                Panel(
                    "Time in memory",
                    "How long what has closed stays where it can be judged: it falls where memory"
                    " is short.",
                    "s",
                    [Query(_now("zombiewatch_settle_seconds"), "{{instance}}")],
                ),
            ],
        ),
        Row(
            "What comes in",
            [
                Panel(
                    "Signals",
                    "What was applied, by the way it came and its kind.",
                    "ops",
                    [Query(_rate("zombiewatch_signals_total", "way", "kind"), "{{way}} {{kind}}")],
                    stacked=True,
                ),
                Panel(
                    "Export requests",
                    "OTLP requests, by protocol, signal, and the status that was answered.",
                    "reqps",
                    [
                        Query(
                            _rate(
                                "zombiewatch_otlp_requests_total", "protocol", "signal", "code"
                            ),
                            "{{protocol}} {{signal}} {{code}}",
                        )
                    ],
                ),
                Panel(
                    "Oddities",
                    "Records kept with a remark, and those that were left out of a request.",
                    "ops",
                    [
                        Query(_rate("zombiewatch_input_oddities_total", "kind"), "{{kind}}"),
                        Query(
                            _rate("zombiewatch_otlp_rejected_total", "signal"),
                            "left out: {{signal}}",
                        ),
                    ],
                ),
                _lines(
                    "In hand",
                    "Bytes of export requests in hand, and of followed files not read yet.",
                    "bytes",
                    (_now("zombiewatch_otlp_in_flight_bytes"), "requests"),
                    (_now("zombiewatch_follow_behind_bytes"), "files"),
                ),
                _lines(
                    "Files and connections",
                    "Files that are followed, those that cannot be read, and exporters'"
                    " connections.",
                    "none",
                    (_now("zombiewatch_follow_files"), "files"),
                    (_now("zombiewatch_follow_failing_files"), "files that fail"),
                    (_now("zombiewatch_otlp_connections"), "connections"),
                ),
                _lines(
                    "Too much",
                    "How often what came in had to wait because memory was short, and connections"
                    " closed because there were too many.",
                    "ops",
                    (_rate("zombiewatch_memory_waits_total"), "waits for memory"),
                    (_rate("zombiewatch_otlp_connections_closed_total"), "connections closed"),
                ),
            ],
        ),
        Row(
            "What it keeps, and tells",
            [
                Panel(
                    "On disk",
                    "Room taken, by part.",
                    "bytes",
                    [Query(_now("zombiewatch_store_bytes", "part"), "{{instance}}: {{part}}")],
                    stacked=True,
                ),
                _lines(
                    "Checkpoints",
                    "Checkpoints written, and those that could not be.",
                    "ops",
                    (_rate("zombiewatch_checkpoints_total"), "written"),
                    (_rate("zombiewatch_checkpoint_errors_total"), "failed"),
                ),
                _lines(
                    "Sent on",
                    "OTLP requests that were sent on, tried again, or dropped; 0 where none are.",
                    "reqps",
                    (_rate("zombiewatch_forward_sent_total"), "sent"),
                    (_rate("zombiewatch_forward_retries_total"), "tried again"),
                    (_rate("zombiewatch_forward_dropped_total"), "dropped"),
                ),
                _lines(
                    "Waits to be sent on",
                    "Bytes of OTLP requests that wait to be sent on; 0 where none are.",
                    "bytes",
                    (_now("zombiewatch_forward_queued_bytes"), "queued"),
                ),
                Panel(
                    "Told to Alertmanager",
                    "How often the sidecar itself told Alertmanager what fires; 0 where Prometheus"
                    " does that.",
                    "ops",
                    [Query(_rate("zombiewatch_pushes_total", "outcome"), "{{outcome}}")],
                ),
            ],
        ),
        Row(
            "Celery",
            [
                Panel(
                    "Reached",
                    "Whether Celery's events, and its result backend, are reached; 0 where there is"
                    " no Celery.",
                    "none",
                    [Query(_now("zombiewatch_celery_reached", "part"), "{{instance}} {{part}}")],
                ),
                Panel(
                    "Events",
                    "Celery's events that were heard, by type.",
                    "ops",
                    [Query(_rate("zombiewatch_celery_events_total", "type"), "{{type}}")],
                    stacked=True,
                ),
                _lines(
                    "Not heard",
                    "How often the stream of events was lost, and messages that were not"
                    " understood.",
                    "ops",
                    (_rate("zombiewatch_celery_losses_total"), "losses"),
                    (_rate("zombiewatch_celery_unreadable_total"), "not understood"),
                ),
            ],
        ),
    ],
)  # fmt: skip
