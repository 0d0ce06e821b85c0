"""Relations: declared SELECT … GROUP BY over signals, from which all else is derived.

An aggregate is min, max or *last* (the value at the greatest (event time, value)). All
three can be taken again over their own results, in any order, with any repetition, and
give the same row: so a fold over what is open and what is new equals the SELECT over all
signals from scratch, and two partial rows of one key can lie in history side by side.

*last* is kept in one column as a string: the time in fixed width, then the value, so that
`max` is the value at the greatest time in every engine, and ties go to the greater value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from model.phases import CALLEE, CALLER, ERROR_SEVERITY, FINAL, SIGNS, TASK

_END: Final = "coalesce(end_us, ts_us)"
_EPOCH_SHIFT: Final = 10_000_000_000_000_000
"""Added to a time before it is written in a *last*: every time has 17 digits then."""

_DIGITS: Final = 17


@dataclass(frozen=True, slots=True)
class Column:
    """One aggregate of a relation: *value* of the signals for which *when* holds."""

    name: str
    how: Literal["min", "max", "last"]
    value: str
    when: str = ""
    type: str = "BIGINT"
    doc: str = ""

    @property
    def stored(self) -> str:
        """Name of the column in the stored table (packed, for a *last*)."""
        return f"{self.name}__at" if self.how == "last" else self.name

    def fresh(self) -> str:
        """Return the aggregate over signals, as SQL."""
        value, when = self.value, self.when
        if self.how == "last":
            value = f"at_text || CAST({self.value} AS VARCHAR)"
        inner = f"CASE WHEN {when} THEN {value} END" if when else value
        return f"{'max' if self.how == 'last' else self.how}({inner}) AS {self.stored}"

    def merge(self) -> str:
        """Return the same aggregate over rows that are aggregates already."""
        return f"{'max' if self.how == 'last' else self.how}({self.stored}) AS {self.stored}"

    def plain(self) -> str:
        """Return the column's value, from the stored one."""
        if self.how != "last":
            return self.name
        text = f"substr({self.stored}, {_DIGITS + 1})"
        return text if self.type == "VARCHAR" else f"TRY_CAST({text} AS {self.type})"

    def shown(self) -> str:
        """Return the column as readers of the relation see it."""
        return self.name if self.how != "last" else f"{self.plain()} AS {self.name}"


@dataclass(frozen=True, slots=True)
class Measure:
    """A length of time that a row of a relation shows once, and that `rates` then counts.

    *value* (microseconds) and *at*, the event time at which it is counted, are expressions over
    the times of a row; *service* and *key* are columns. A sample is taken when it is first known.
    """

    name: str
    value: str
    at: str
    service: str
    key: str
    doc: str


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation's declaration.

    *closed* tells rows that only a late or contradicting signal can still change;
    *opening* tells rows whose beginning we have seen. Rows that never close stay hot as long
    as they are *open_for*: until a person would give them up, or for the settle time only.
    Every relation has `last_seen_us`, by which rows settle.
    """

    name: str
    doc: str
    keys: dict[str, str]
    where: str
    columns: tuple[Column, ...]
    closed: str
    opening: str = "TRUE"
    open_for: Literal["abandon", "settle"] = "abandon"
    measures: tuple[Measure, ...] = ()
    derived: tuple[tuple[str, str], ...] = ()

    @property
    def key_list(self) -> str:
        """The key columns, comma-separated."""
        return ", ".join(self.keys)

    def fresh(self, source: str) -> str:
        """Return the declared SELECT over *source* (a table of signals)."""
        keys = ", ".join(f"{value} AS {name}" for name, value in self.keys.items())
        columns = ",\n  ".join(column.fresh() for column in self.columns)
        by = ", ".join(str(i + 1) for i in range(len(self.keys)))
        # once a row, not once for each *last*
        timed = f"SELECT *, CAST({_END} + {_EPOCH_SHIFT} AS VARCHAR) AS at_text FROM {source}"
        return f"SELECT {keys},\n  {columns}\nFROM ({timed}) AS s WHERE {self.where} GROUP BY {by}"

    def merge(self, source: str, extra: str = "") -> str:
        """Return the fold over *source* (rows of this relation, partial or whole)."""
        columns = ", ".join(column.merge() for column in self.columns)
        return f"SELECT {self.key_list}, {columns}{extra} FROM {source} GROUP BY {self.key_list}"

    def samples(self, source: str) -> str:
        """Return what *source* (stored rows) shows of the measures for the first time.

        A row each: namespace, measure, service, key, at_us, v (microseconds).
        """
        plain = {column.name: column.plain() for column in self.columns}
        return " UNION ALL ".join(
            f"SELECT namespace, '{one.name}' AS measure,"
            f" coalesce({plain[one.service]}, '') AS service,"
            f" coalesce({plain[one.key]}, '') AS key,"
            f" {one.at} AS at_us, {one.value} AS v FROM {source} WHERE NOT {one.name}__done"
            for one in self.measures
        )

    @property
    def flags(self) -> tuple[str, ...]:
        """Columns that the store keeps beside the aggregates: facts about the row itself."""
        return ("late", *(f"{measure.name}__done" for measure in self.measures))

    def shown(self, source: str, extra: str = "") -> str:
        """Return the SELECT that readers see, over stored rows; *extra* columns as they are."""
        columns = ", ".join(column.shown() for column in self.columns)
        derived = "".join(f", {value} AS {name}" for name, value in self.derived)
        return f"SELECT {self.key_list}, {columns}{extra}{derived} FROM {source}"

    @property
    def stored(self) -> tuple[str, ...]:
        """Every stored column, keys first."""
        return (*self.keys, *(column.stored for column in self.columns))


def _in(names: tuple[str, ...]) -> str:
    return "(" + ", ".join(f"'{name}'" for name in names) + ")"


_AGENT: Final = f"phase IN {_in(SIGNS)}"
_FINAL_RECORD: Final = f"phase = 'recorded' AND state IN {_in(FINAL)}"
_DISPATCH: Final = "(phase = 'dispatched' OR phase = 'call.committed' AND purpose = 'dispatch')"
_RUNNING: Final = f"({_DISPATCH} OR phase = 'recorded' AND state = 'running')"
_ENDED: Final = "phase = 'finished' AND coalesce(outcome, '') <> 'yielded'"
_BEGUN: Final = "(phase = 'started' OR phase = 'finished' AND kind = 'span')"
_DISPATCHER_SAYS: Final = (
    "phase IN ('enqueued', 'dispatched', 'recorded', 'requeued', 'dead_lettered',"
    " 'call.received', 'call.committed', 'call.errored')"
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


ATTEMPTS: Final = Relation(
    name="attempts",
    doc="One attempt of one task: what both sides said of it.",
    keys={"namespace": "namespace", "task": "task", "attempt": "coalesce(attempt, 1)"},
    where=f"task IS NOT NULL AND phase IN {_in((*TASK, *CALLER, *CALLEE))}",
    columns=(
        _fixed("name", "task_name"),
        _last("queue", "queue"),
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
        _last("report_call", "phase", f"purpose = 'report' AND phase IN {_in(CALLER)}"),
        _last("report_answer", "phase", f"purpose = 'report' AND phase IN {_in(CALLEE)}"),
        *_times("recorded", _FINAL_RECORD, last=True),
        _last("recorded_state", "state", _FINAL_RECORD),
        *_times("requeued", "phase = 'requeued'", last=True),
        *_times("dead_lettered", "phase = 'dead_lettered'"),
        Column("timeout_s", "max", "timeout_s", type="DOUBLE"),
        _last("reports", "reports", kind="BOOLEAN"),
    ),
    closed=(
        "(recorded_us IS NOT NULL AND (finished_us IS NOT NULL OR sign_us IS NULL))"
        " OR requeued_us IS NOT NULL OR dead_lettered_us IS NOT NULL"
    ),
    opening="enqueued_us IS NOT NULL OR running_us IS NOT NULL",
    measures=(
        Measure(
            "accept",
            "CASE WHEN sign_us > running_us THEN sign_us - running_us"
            " WHEN sign_us IS NOT NULL AND running_us IS NOT NULL THEN 0 END",
            "running_us",
            "service",
            "name",
            "from handed out to the agent's first sign",
        ),
        Measure(
            "run",
            "finished_us - coalesce(started_us, accepted_us)",
            "finished_us",
            "service",
            "name",
            "from start to end, at the agent",
        ),
        Measure(
            "record",
            "CASE WHEN recorded_us > finished_us THEN recorded_us - finished_us"
            " WHEN recorded_us IS NOT NULL AND finished_us IS NOT NULL THEN 0 END",
            "recorded_us",
            "service",
            "name",
            "from the run's end to its being recorded",
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
    where=f"task IS NOT NULL AND {_AGENT}",
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
    where=(
        f"phase IN {_in((*CALLER, *CALLEE))}"
        " AND (kind = 'span' AND trace_id IS NOT NULL AND span_id IS NOT NULL"
        " OR kind <> 'span' AND request_id IS NOT NULL)"
    ),
    columns=(
        _fixed("request_id", "request_id"),
        _fixed("trace_id", "trace_id"),
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
    where="service IS NOT NULL OR instance IS NOT NULL",
    columns=(
        _fixed("side", "side"),
        _fixed("host", "host"),
        Column("first_us", "min", "ts_us"),
        Column("last_us", "max", "ts_us"),
        Column("first_seen_us", "min", "arrived_us"),
        Column("last_seen_us", "max", "arrived_us"),
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
    where="TRUE",
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

RELATIONS: Final = (ATTEMPTS, RUNS, CALLS, INSTANCES, SOURCES)
"""Every folded relation. `marks` and `rates` are kept by the store beside them."""

MARKS: Final = (
    "seq, arrived_us, ts_us, end_us, kind, namespace, side, service, instance, phase, severity,"
    " request_id, trace_id, task, attempt, purpose, outcome, state"
)
"""Columns of `marks`: recent signals with a phase, or of error level, in sequence."""

MARKS_WHERE: Final = f"phase IS NOT NULL OR severity >= {ERROR_SEVERITY}"
