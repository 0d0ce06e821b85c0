"""The relations: what detectors may ask of, each one declared SELECT over signals.

To change one is to change the contract between collector and detectors; see `model.relation` for
what a declaration means, and `model.views` for what is derived from them.
"""

from __future__ import annotations

from typing import Final

from model.phases import CALLEE, CALLER, ERROR_SEVERITY, FINAL, SIGNS, TASK
from model.relation import END as _END
from model.relation import Column, Measure, Relation


def _in(names: tuple[str, ...]) -> str:
    return "(" + ", ".join(f"'{name}'" for name in names) + ")"


_AGENT: Final = f"phase IN {_in(SIGNS)}"
_FINAL_RECORD: Final = f"phase = 'recorded' AND state IN {_in(FINAL)}"
_NOT_THE_AGENT: Final = "coalesce(side, '') <> 'agent'"
"""Where a dispatcher pushes, the agent is who is called: what it answers is its own word."""

_DISPATCH: Final = (
    "(phase = 'dispatched' OR phase = 'call.committed' AND purpose = 'dispatch'"
    f" AND {_NOT_THE_AGENT})"
)
_RUNNING: Final = f"({_DISPATCH} OR phase = 'recorded' AND state = 'running')"
_ENDED: Final = "phase = 'finished' AND coalesce(outcome, '') <> 'yielded'"
_BEGUN: Final = "(phase = 'started' OR phase = 'finished' AND kind = 'span')"
_THEIRS: Final = "way <> 'sequence'"
"""What we say of a source is no sign of it."""

_DISPATCHER_SAYS: Final = (
    "(phase IN ('enqueued', 'dispatched', 'recorded', 'requeued', 'dead_lettered')"
    f" OR phase IN ('call.received', 'call.committed', 'call.errored') AND {_NOT_THE_AGENT})"
)


def _times(name: str, when: str, value: str = "ts_us", *, last: bool = False) -> tuple[Column, ...]:
    first = (
        Column(f"{name}_us", "min", value, when, doc=f"first {name}, sender's clock"),
        Column(f"{name}_seen_us", "min", "arrived_us", when, doc=f"first {name}, our clock"),
    )
    if not last:
        return first
    return (*first, Column(f"{name}_last_us", "max", value, when, doc=f"last {name}"))


def _last(name: str, value: str, when: str = "", kind: str = "VARCHAR") -> Column:
    known = f"{value} IS NOT NULL"
    return Column(name, "last", value, f"{when} AND {known}" if when else known, kind)


def _fixed(name: str, value: str, when: str = "", kind: str = "VARCHAR") -> Column:
    """Return what cannot change within a row: of several values, the greatest, and at less cost."""
    return Column(name, "max", value, when, kind)


_REPORT_CALL: Final = _last(
    "report_call", "phase", f"purpose = 'report' AND phase IN {_in(CALLER)}"
)

ATTEMPTS: Final = Relation(
    name="attempts",
    doc="One attempt of one task: what both sides said of it.",
    keys={"namespace": "namespace", "task": "task", "attempt": "coalesce(attempt, 1)"},
    phases=(*TASK, *CALLER, *CALLEE),
    where="task IS NOT NULL",
    columns=(
        _fixed("name", "task_name"),
        _last("queue", "queue"),
        _last("priority", "priority"),
        _fixed("depends_on", "depends_on"),
        _last("service", "service", _DISPATCHER_SAYS),
        _last("agent_service", "service", _AGENT),
        _last("agent", "instance", _AGENT),
        _last("request_id", "request_id", _RUNNING),
        _fixed("trace_id", "trace_id"),
        Column("first_us", "min", "ts_us"),
        Column("first_seen_us", "min", "arrived_us"),
        Column("last_seen_us", "max", "arrived_us"),
        *_times("enqueued", "phase = 'enqueued'", last=True),
        Column("eta_us", "max", "eta_us"),
        *_times("running", _RUNNING, _END, last=True),
        *_times("accepted", "phase = 'accepted'"),
        *_times("started", _BEGUN, last=True),
        *_times("sign", _AGENT, _END, last=True),
        Column("sign_last_seen_us", "max", "arrived_us", _AGENT),
        *_times("beat", "phase = 'heartbeat'", last=True),
        _last("beat_s", "beat_s", kind="DOUBLE"),
        *_times("finished", _ENDED, _END, last=True),
        Column("yielded_us", "max", "ts_us", "phase = 'finished' AND outcome = 'yielded'"),
        _last("outcome", "outcome", _ENDED),
        _last("exit_code", "exit_code", "phase = 'finished'", "INTEGER"),
        *_times("reported", "phase = 'reported'", last=True),
        _last("reported_outcome", "outcome", "phase = 'reported'"),
        _REPORT_CALL,
        _last("report_answer", "phase", f"purpose = 'report' AND phase IN {_in(CALLEE)}"),
        *_times("recorded", _FINAL_RECORD, last=True),
        _last("recorded_state", "state", _FINAL_RECORD),
        *_times("requeued", "phase = 'requeued'", last=True),
        *_times("dead_lettered", "phase = 'dead_lettered'"),
        _last("reason", "reason"),
        Column("timeout_s", "max", "timeout_s", type="DOUBLE"),
        _last("reports", "reports", kind="BOOLEAN"),
        # who saw it held while it ran knows better than who goes by what is usual
        Column("acks_early", "min", "acks_early", type="BOOLEAN"),
    ),
    closed=(
        "(recorded_us IS NOT NULL AND (finished_us IS NOT NULL OR sign_us IS NULL))"
        " OR requeued_us IS NOT NULL OR dead_lettered_us IS NOT NULL"
        # where results are never recorded, nothing is to come after the end
        " OR (finished_us IS NOT NULL AND coalesce(reports__at LIKE '%false', FALSE))"
    ),
    opening="enqueued_us IS NOT NULL OR running_us IS NOT NULL",
    measures=(
        Measure(
            "accept",
            "CASE WHEN sign_seen_us > running_seen_us THEN sign_seen_us - running_seen_us"
            " WHEN sign_us IS NOT NULL AND running_us IS NOT NULL THEN 0 END",
            "running_us",
            "service",
            "name",
            "from handed out to the agent's first sign, by arrival: the two have different clocks",
        ),
        Measure(
            "run",
            # of two that began or ended it is not known which end is whose
            "CASE WHEN finished_last_us - finished_us <= 1000000"
            " AND coalesce(started_last_us - started_us, 0) <= 1000000"
            " THEN finished_us - coalesce(started_us, accepted_us) END",
            "finished_us",
            "service",
            "name",
            "from start to end, at the agent",
        ),
        Measure(
            "record",
            "CASE WHEN recorded_seen_us > finished_seen_us THEN recorded_seen_us - finished_seen_us"
            " WHEN recorded_us IS NOT NULL AND finished_us IS NOT NULL THEN 0 END",
            "recorded_us",
            "service",
            "name",
            "from the run's end to its being recorded, by arrival likewise",
        ),
        Measure(
            "beat",
            "CASE WHEN beat_last_us > beat_us THEN beat_last_us - beat_us END",
            "beat_last_us",
            "service",
            "name",
            "between two heartbeats of one task",
        ),
        Measure(
            "wait",
            "CASE WHEN enqueued_us IS NOT NULL"
            " THEN running_us - greatest(enqueued_us, coalesce(eta_us, enqueued_us)) END",
            "running_us",
            "service",
            "name",
            "from eligible to handed out",
        ),
    ),
    derived=(
        (
            "joined_late",
            "late OR (enqueued_us IS NULL AND running_us IS NULL)",
        ),
        ("report_call_us", _REPORT_CALL.said()),
    ),
)

RUNS: Final = Relation(
    name="runs",
    doc="One run of an attempt: by one process, from its start to its end.",
    keys={
        "namespace": "namespace",
        "task": "task",
        "attempt": "coalesce(attempt, 1)",
        "instance": "coalesce(instance, '')",
        "boot": "coalesce(boot, '')",
    },
    phases=SIGNS,
    where="task IS NOT NULL",
    columns=(
        _fixed("service", "service"),
        _fixed("host", "host"),
        _fixed("name", "task_name"),
        *_times("accepted", "phase = 'accepted'"),
        *_times("started", f"phase = 'accepted' OR {_BEGUN}"),
        *_times("beat", "phase = 'heartbeat'", last=True),
        _last("beat_s", "beat_s", kind="DOUBLE"),
        *_times("sign", "TRUE", last=True),
        Column("last_seen_us", "max", "arrived_us"),
        *_times("finished", "phase = 'finished'", _END),
        _last("outcome", "outcome", "phase = 'finished'"),
        _last("exit_code", "exit_code", "phase = 'finished'", "INTEGER"),
    ),
    closed="finished_us IS NOT NULL",
)

CALLS: Final = Relation(
    name="calls",
    doc="One hop of one request, from both ends. Without spans: all that bears one request ID.",
    keys={
        "namespace": "namespace",
        "hop": (
            "CASE WHEN kind = 'span' THEN trace_id || ':' || CASE WHEN phase IN"
            f" {_in(CALLER)} THEN span_id ELSE coalesce(parent_id, span_id) END"
            " ELSE 'request:' || request_id || ':' || coalesce(purpose, '') END"
        ),
    },
    phases=(*CALLER, *CALLEE),
    where=(
        "(kind = 'span' AND trace_id IS NOT NULL AND span_id IS NOT NULL"
        " OR kind <> 'span' AND request_id IS NOT NULL)"
    ),
    columns=(
        _fixed("request_id", "request_id"),
        _fixed("caller_request_id", "request_id", f"phase IN {_in(CALLER)}"),
        _fixed("callee_request_id", "request_id", f"phase IN {_in(CALLEE)}"),
        _fixed("trace_id", "trace_id"),
        _fixed("caller_trace_id", "trace_id", f"phase IN {_in(CALLER)}"),
        _fixed("callee_trace_id", "trace_id", f"phase IN {_in(CALLEE)}"),
        Column("trace_broken", "max", "trace_broken", type="BOOLEAN"),
        _fixed("purpose", "purpose"),
        _fixed("task", "task"),
        _fixed("caller_task", "task", f"phase IN {_in(CALLER)}"),
        _fixed("attempt", "attempt", kind="INTEGER"),
        _fixed("task_name", "task_name"),
        _fixed("queue", "queue"),
        _fixed("name", "name"),
        _fixed("peer", "peer", f"phase IN {_in(CALLER)}"),
        _fixed("caller", "service", f"phase IN {_in(CALLER)}"),
        _fixed("caller_host", "host", f"phase IN {_in(CALLER)}"),
        _fixed("callee_host", "host", f"phase IN {_in(CALLEE)}"),
        _fixed("caller_instance", "instance", f"phase IN {_in(CALLER)}"),
        _fixed("callee", "service", f"phase IN {_in(CALLEE)}"),
        _fixed("callee_instance", "instance", f"phase IN {_in(CALLEE)}"),
        *_times(
            "sent", f"phase IN {_in(CALLER)} AND (phase = 'call.sent' OR kind = 'span')", last=True
        ),
        *_times("ok", "phase = 'call.ok'", _END),
        *_times("failed", "phase = 'call.failed'", _END, last=True),
        *_times("gave_up", "phase = 'call.gave_up'", _END, last=True),
        *_times(
            "received",
            f"phase IN {_in(CALLEE)} AND (phase = 'call.received' OR kind = 'span')",
            last=True,
        ),
        *_times("committed", "phase = 'call.committed'", _END, last=True),
        *_times("errored", "phase = 'call.errored'", _END),
        Column("limit_s", "max", "call_timeout_s", type="DOUBLE"),
        _last("status_code", "status_code", kind="INTEGER"),
        _last("error", "error"),
        _last("quota_limit", "quota_limit", kind="DOUBLE"),
        _last("quota_left", "quota_left", kind="DOUBLE"),
        Column("first_seen_us", "min", "arrived_us"),
        Column("last_seen_us", "max", "arrived_us"),
    ),
    closed=(
        "(ok_us IS NOT NULL OR failed_us IS NOT NULL OR gave_up_us IS NOT NULL)"
        " AND (committed_us IS NOT NULL OR errored_us IS NOT NULL)"
    ),
    opening="sent_us IS NOT NULL",
    open_for="settle",
    measures=(
        Measure(
            "answer",
            "coalesce(committed_us, errored_us) - received_us",
            "received_us",
            "callee",
            "purpose",
            "the callee's time for one call",
        ),
        Measure(
            "call",
            "coalesce(ok_us, failed_us, gave_up_us) - sent_us",
            "sent_us",
            "caller",
            "purpose",
            "the caller's time for one call",
        ),
    ),
)

INSTANCES: Final = Relation(
    name="instances",
    doc="One life of one process, of either side.",
    keys={
        "namespace": "namespace",
        "service": "coalesce(service, '')",
        "instance": "coalesce(instance, '')",
        "boot": "coalesce(boot, '')",
    },
    where=f"(service IS NOT NULL OR instance IS NOT NULL) AND {_THEIRS}",
    columns=(
        _fixed("side", "side"),
        _fixed("host", "host"),
        Column("first_us", "min", "ts_us"),
        Column("last_us", "max", "ts_us"),
        Column("first_seen_us", "min", "arrived_us"),
        Column("last_seen_us", "max", "arrived_us"),
        Column("lag_us", "min", f"arrived_us - {_END}", doc="least age at arrival"),
        *_times("beat", "phase = 'heartbeat' AND task IS NULL", last=True),
        Column("beat_last_seen_us", "max", "arrived_us", "phase = 'heartbeat' AND task IS NULL"),
        _last("beat_s", "beat_s", "phase = 'heartbeat' AND task IS NULL", "DOUBLE"),
        *_times("started", "phase = 'instance.started'"),
        *_times("stopped", "phase = 'instance.stopped'", last=True),
        _last("clean", "clean", "phase = 'instance.stopped'", "BOOLEAN"),
    ),
    closed="stopped_us IS NOT NULL",
)

SOURCES: Final = Relation(
    name="sources",
    doc="One service by one way in: how much of it can be seen.",
    keys={
        "namespace": "namespace",
        "side": "coalesce(side, '')",
        "service": "coalesce(service, '')",
        "way": "way",
    },
    where=_THEIRS,
    columns=(
        Column("first_us", "min", "ts_us"),
        Column("last_us", "max", "ts_us"),
        Column("first_seen_us", "min", "arrived_us"),
        Column("last_seen_us", "max", "arrived_us"),
        Column("sign_seen_us", "max", "arrived_us", _AGENT),
        Column("record_seen_us", "max", "arrived_us", _FINAL_RECORD),
        Column("log_seen_us", "max", "arrived_us", "kind = 'log'"),
        Column("error_seen_us", "max", "arrived_us", f"severity >= {ERROR_SEVERITY}"),
        _last("beat_s", "beat_s", "phase = 'heartbeat' AND task IS NULL", "DOUBLE"),
        _last("expect_s", "expect_s", kind="DOUBLE"),
        Column("beat_seen_us", "max", "arrived_us", "phase = 'heartbeat' AND task IS NULL"),
    ),
    closed="FALSE",
)

_LIMITS: Final = (
    "timeout_s",
    "beat_s",
    "beat_timeout_s",
    "call_timeout_s",
    "retry_window_s",
    "visibility_s",
)

LIMITS: Final = Relation(
    name="limits",
    doc="What a service has declared of its limits, for a task name, a purpose or a queue.",
    keys={
        "namespace": "namespace",
        "service": "coalesce(service, '')",
        "name": "coalesce(task_name, '')",
        "purpose": "coalesce(purpose, '')",
        "queue": "coalesce(queue, '')",
    },
    where=f"coalesce({', '.join(_LIMITS)}) IS NOT NULL",
    columns=(
        _fixed("side", "side"),
        *(_last(one, one, kind="DOUBLE") for one in _LIMITS),
        Column("last_us", "max", "ts_us"),
        Column("first_seen_us", "min", "arrived_us"),
        Column("last_seen_us", "max", "arrived_us"),
    ),
    closed="FALSE",
)

SAMPLE_BIN_US: Final = 15_000_000
"""Samples of one queue within a bin are one row: the last of them."""

SAMPLES: Final = Relation(
    name="samples",
    doc="One queue as it was, every 15 s.",
    keys={
        "namespace": "namespace",
        "queue": "queue",
        "bin_us": f"ts_us // {SAMPLE_BIN_US} * {SAMPLE_BIN_US}",
    },
    phases=("queue.sampled",),
    where="queue IS NOT NULL",
    columns=(
        Column("at_us", "max", "ts_us"),
        _last("service", "service"),
        *(
            _last(one, one, kind="DOUBLE")
            for one in (
                "depth",
                "oldest_age_s",
                "in_flight",
                "consumers",
                "enqueued_total",
                "completed_total",
            )
        ),
        _last("paused", "paused", kind="BOOLEAN"),
        Column("last_seen_us", "max", "arrived_us"),
    ),
    closed="TRUE",
)

_FIRED: Final = "phase = 'schedule.fired'"
_EXPECTED: Final = "phase = 'schedule.expected'"
_SUCCEEDED: Final = f"{_FIRED} AND outcome = 'success'"
# an old log that is read again is no news
_FAILED: Final = (
    f"{_FIRED} AND outcome IN ('failure', 'timeout') AND ts_us >= arrived_us - 3600000000"
)

SCHEDULES: Final = Relation(
    name="schedules",
    doc="One schedule: when it was last due, and when it last ran.",
    keys={"namespace": "namespace", "schedule": "schedule"},
    phases=("schedule.expected", "schedule.fired"),
    where="schedule IS NOT NULL",
    columns=(
        _last("service", "service"),
        _last("queue", "queue"),
        Column("first_seen_us", "min", "arrived_us"),
        Column("last_seen_us", "max", "arrived_us"),
        Column("due_last_us", "max", "due_us", _EXPECTED),
        Column("fired_us", "min", "ts_us", _FIRED),
        Column("fired_last_us", "max", "ts_us", _FIRED),
        Column("fired_seen_us", "max", "arrived_us", _FIRED),
        _last("fired_way", "way", _FIRED),
        _last("fired_by", "instance", _FIRED),
        Column("began_last_us", "max", "ts_us", f"{_FIRED} AND outcome IS NULL"),
        Column("ended_last_us", "max", "ts_us", f"{_FIRED} AND outcome IS NOT NULL"),
        _last("outcome", "outcome", _FIRED),
        Column("succeeded_last_us", "max", "ts_us", _SUCCEEDED),
        Column("failed_last_us", "max", "ts_us", _FAILED),
        # one value of the last failure: each for itself, they could be of two
        Column(
            "failed_how",
            "last",
            "coalesce('exit code ' || CAST(exit_code AS VARCHAR), outcome)",
            _FAILED,
            "VARCHAR",
            doc="how it failed last",
        ),
        Column(
            "failed_task",
            "last",
            "coalesce(task, '')",
            _FAILED,
            "VARCHAR",
            doc="the task of the run that failed last; empty where none was named",
        ),
        _last("start_grace_s", "start_grace_s", kind="DOUBLE"),
        _last("run_grace_s", "run_grace_s", kind="DOUBLE"),
        _last("paused", "paused", _EXPECTED, "BOOLEAN"),
        Column("paused_last_us", "max", "ts_us", f"{_EXPECTED} AND paused"),
        _last("declared_way", "way", _EXPECTED),
    ),
    closed="FALSE",
)

DUES: Final = Relation(
    name="dues",
    doc="One due time of a schedule. It stays open until it is known to be honoured.",
    keys={"namespace": "namespace", "schedule": "schedule", "due_us": "due_us"},
    phases=("schedule.expected", "schedule.fired"),
    where="schedule IS NOT NULL AND due_us IS NOT NULL",
    columns=(
        _fixed("service", "service", _EXPECTED),
        _fixed("instance", "instance", _EXPECTED),
        *_times("expected", _EXPECTED),
        *_times("fired", _FIRED),
        _last("start_grace_s", "start_grace_s", kind="DOUBLE"),
        _last("paused", "paused", _EXPECTED, "BOOLEAN"),
        Column("last_seen_us", "max", "arrived_us"),
    ),
    closed="fired_us IS NOT NULL",
)

FIRES: Final = Relation(
    name="fires",
    doc="One run of a schedule: by its run ID, else each sign for itself.",
    keys={
        "namespace": "namespace",
        "schedule": "schedule",
        "run": "coalesce(request_id, task, 'at:' || CAST(ts_us AS VARCHAR))",
    },
    phases=("schedule.fired",),
    where="schedule IS NOT NULL",
    columns=(
        _last("service", "service"),
        *_times("began", "outcome IS NULL"),
        *_times("ended", "outcome IS NOT NULL"),
        _last("outcome", "outcome"),
        _last("exit_code", "exit_code", kind="INTEGER"),
        Column("first_us", "min", "ts_us"),
        Column("last_seen_us", "max", "arrived_us"),
    ),
    # without a run ID no other signal can belong to it: its end will never be known
    closed="ended_us IS NOT NULL OR run LIKE 'at:%'",
)

LOSSES: Final = Relation(
    name="losses",
    doc="Records of one process that will never come, as it said, or as its numbering shows.",
    keys={
        "namespace": "namespace",
        "service": "coalesce(service, '')",
        "instance": "coalesce(instance, '')",
        # a total is of all that bears the same attributes; what is no total stands for itself
        "series": (
            "concat_ws(' ', name, error, CASE WHEN lost_total IS NOT NULL THEN attr_values END)"
        ),
        "start_us": "CASE WHEN lost_total IS NULL THEN ts_us ELSE coalesce(from_us, 0) END",
        "total": "CAST(coalesce(lost_total, -1) AS BIGINT)",
    },
    phases=("export.failed",),
    columns=(
        _fixed("side", "side"),
        _last("lost", "coalesce(lost, 1)", kind="DOUBLE"),
        Column("from_us", "min", "from_us"),
        Column("to_us", "max", "to_us"),
        Column("first_us", "min", "ts_us"),
        Column("last_us", "max", "ts_us"),
        Column("last_seen_us", "max", "arrived_us"),
    ),
    closed="TRUE",
)

RELATIONS: Final = (
    ATTEMPTS, RUNS, CALLS, INSTANCES, SOURCES, LIMITS, SAMPLES, SCHEDULES, DUES, FIRES, LOSSES,
)  # fmt: skip
"""Every folded relation. `marks` and `rates` are kept by the store beside them."""

MARKS: Final = (
    "seq, arrived_us, ts_us, end_us, kind, way, namespace, side, service, instance, phase,"
    " severity, request_id, trace_id, task, attempt, task_name, queue, purpose, outcome, state"
)
"""Columns of `marks`: recent signals with a phase, or of error level, in sequence."""

MARKS_WHERE: Final = f"(phase IS NOT NULL OR severity >= {ERROR_SEVERITY}) AND {_THEIRS}"
