"""Every operation of the HTTP API: its address, what may be asked, what is answered.

The application's routes and the OpenAPI document are both made from these, and requests are
checked against the models here: none of the three can say something else than the others.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from typing_extensions import TypedDict

from alerts.degrade.flags import FlagJson
from alerts.degrade.lease import LeaseJson, Level
from collector.receivers.heartbeat import BeatJson, Heartbeat
from collector.schedule import NAME_MAX
from dashboards.web import page
from detectors._incidents import IncidentJson
from detectors._suspects import SuspectJson
from model.findings import FindingJson, Severity, Verdict
from model.relations import SOURCES as SOURCES_RELATION
from model.units import Iso
from zombiewatch.ofrep import Evaluation, FlagErrorJson, FlagsJson
from zombiewatch.overview import OverviewJson
from zombiewatch.sayings import BY_MAX, TEXT_MAX, SayingJson
from zombiewatch.scaling import ScaleJson
from zombiewatch.switches import HISTORY_MAX, SERVICE_MAX, ChangeJson
from zombiewatch.timeline import TimelineJson
from zombiewatch.views import CoverageJson, QueuesJson, TimeoutsJson

JSON: Final = "application/json"
TEXT: Final = "text/plain"


# What may be asked


_SAID: Final[dict[str, Any]] = {"minLength": 1, "pattern": r"\S"}
_LENGTH: Final = r"^[0-9]+(\.[0-9]+)?$|^([0-9]+(\.[0-9]+)?(ms|s|m|h|d|w))+$"
_MOMENT: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}"
By = Annotated[
    str, Field(description="Who says it.", json_schema_extra={**_SAID, "maxLength": BY_MAX})
]


def _digits(value: object) -> object:
    """Take what a person calls a number: no signs, blanks, dots or digits of other scripts."""
    plain = isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value)
    return int(plain[0]) if plain else None


class Words(BaseModel):
    """What a person says of a finding; `until` is a time or a length from now."""

    model_config = ConfigDict(extra="forbid", strict=True)

    by: By
    reason: str = Field(
        description="Why: others will read it.",
        json_schema_extra={**_SAID, "maxLength": TEXT_MAX},
    )
    until: Annotated[str, Field(json_schema_extra={"pattern": f"{_LENGTH}|{_MOMENT}"})] | None = (
        Field(
            None,
            description="Until when, for this subject however often it is found: a length from now,"
            " or a time (UTC). Without it: until this finding ends.",
            examples=["2h", "7d", "2126-01-31T08:00Z"],
        )
    )


class Signature(BaseModel):
    """Who takes back what was said of a finding."""

    model_config = ConfigDict(extra="forbid", strict=True)

    by: By


_Generation = Annotated[int, Field(ge=0, lt=10**15)]


class Clearing(BaseModel):
    """Whose switch is taken back, by whom and why."""

    model_config = ConfigDict(extra="forbid", strict=True)

    service: str = Field(
        description="The service.", json_schema_extra={**_SAID, "maxLength": SERVICE_MAX}
    )
    by: By
    reason: str = Field(
        description="Why: others will read it.",
        json_schema_extra={**_SAID, "maxLength": TEXT_MAX},
    )
    generation: _Generation | None = Field(
        None, description="Only if nobody changed the switches of the service after this change."
    )


class Setting(Clearing):
    """Which level a service is set to, until when, by whom and why."""

    level: Level = Field(description="The level; L0 is forced off, whatever a policy says.")
    until: str = Field(
        description="Until when: a length from now, or a time (UTC). A switch always ends.",
        examples=["30m", "2h"],
        json_schema_extra={"pattern": f"{_LENGTH}|{_MOMENT}"},
    )


class Changes(BaseModel):
    """Which changes of switches."""

    model_config = ConfigDict(extra="forbid")

    service: str | None = Field(None, description="Only of this service.")
    limit: Annotated[int, BeforeValidator(_digits)] = Field(
        100, ge=1, le=HISTORY_MAX, description="So many of the newest."
    )


_FRACTION: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?")


def _number(value: object) -> object:
    """Take what a person calls a number, a fraction or not."""
    plain = isinstance(value, str) and _FRACTION.fullmatch(value)
    return float(plain[0]) if plain else None


class Pace(BaseModel):
    """How quickly what waits is to be worked off, by whom."""

    model_config = ConfigDict(extra="forbid")

    drain_s: Annotated[float, BeforeValidator(_number)] = Field(
        300.0, ge=1, le=86_400, description="Within so many seconds."
    )
    concurrency: Annotated[int, BeforeValidator(_digits)] = Field(
        1, ge=1, le=10_000, description="At so many tasks one worker works at a time."
    )


class Question(BaseModel):
    """A SELECT, how many rows it may give, and how many seconds it may take."""

    model_config = ConfigDict(extra="forbid", strict=True)

    query: str = Field(min_length=1, max_length=30_000, examples=["SELECT * FROM open_attempts"])
    limit: int = Field(1000, ge=1, le=100_000)
    timeout_s: float = Field(10.0, gt=0, le=60)


class Run(BaseModel):
    """Of which run of a job a ping is."""

    rid: str | None = Field(
        None, min_length=1, max_length=NAME_MAX, description="The run's ID, where runs overlap."
    )


class Filters(BaseModel):
    """Which findings; each of the filters leaves those that it fits."""

    model_config = ConfigDict(extra="forbid")

    state: Literal["open", "dismissed", "closed", "all"] = Field(
        "open", description="What is dismissed is not among the open ones."
    )
    limit: Annotated[int, BeforeValidator(_digits)] = Field(
        500, ge=1, le=10_000, description="So many of the newest."
    )
    detector: str | None = Field(None, description="The detector's name.")
    service: str | None = Field(None, description="The service's name.")
    severity: Severity | None = Field(None, description="How bad it is.")
    verdict: Verdict | None = Field(None, description="How sure it is.")


# What is answered (beside what the parts of a finding or an incident say of themselves)


class ErrorJson(TypedDict):
    """What is wrong, and how to mend it."""

    error: str


class FindingsJson(TypedDict):
    """Findings, the oldest first, and how many there are of each verdict, whatever the filters."""

    now: Iso
    findings: list[FindingJson]
    totals: dict[Verdict, int]


class OneFindingJson(FindingJson):
    """A finding and all that was ever said of its subject, the oldest first."""

    said: list[SayingJson]


class IncidentsJson(TypedDict):
    """The open incidents, the worst and oldest first."""

    now: Iso
    incidents: list[IncidentJson]


class OneIncidentJson(IncidentJson):
    """An incident, and who may have begun it, the first suspect first."""

    suspects: list[SuspectJson]


class SwitchJson(LeaseJson):
    """A switch, whether it is the one that counts, and the findings that it then hides.

    Hidden is what Alertmanager mutes by it: confirmed, and told to nobody for as long as it is set.
    """

    in_force: bool
    hides: list[int]


class PolicyJson(TypedDict):
    """A policy: whether it only tells what it would do, and why it cannot look, if so."""

    service: str
    level_max: Level
    dry_run: bool
    error: str | None


class SwitchesJson(TypedDict):
    """The switches that hold, and the policies."""

    now: Iso
    switches: list[SwitchJson]
    policies: list[PolicyJson]


class HistoryJson(TypedDict):
    """Changes, the oldest first; `broken_at` is the first row of the audit that was tampered with.

    It is null where the whole audit is as it was written.
    """

    changes: list[ChangeJson]
    broken_at: int | None


class FileJson(TypedDict):
    """A followed file: how far it was read, in bytes, and what keeps it from being read."""

    path: str
    offset: int
    behind_bytes: int
    error: str | None


SOURCE_COLUMNS: Final[dict[str, dict[str, Any]]] = {
    **{key: {"type": "string"} for key in SOURCES_RELATION.keys},
    **{
        column.name: {"type": ["number" if column.type == "DOUBLE" else "integer", "null"]}
        for column in SOURCES_RELATION.columns
    },
}
SourceJson = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "description": f"{SOURCES_RELATION.doc} Times are microseconds since 1970 UTC.",
            "properties": SOURCE_COLUMNS,
            "required": list(SOURCE_COLUMNS),
            "additionalProperties": False,
        }
    ),
]
"""A row of the relation."""


class SourcesJson(TypedDict):
    """What is heard, and which files are followed."""

    now: Iso
    sources: list[SourceJson]
    coverage: list[CoverageJson]
    files: list[FileJson]


class ColumnJson(TypedDict):
    """A column's name and its type in DuckDB's words."""

    name: str
    type: str


class AnswerJson(TypedDict):
    """The rows of an answer, whether there are more, and how long it took."""

    columns: list[ColumnJson]
    rows: list[list[Any]]
    more: bool
    took_ms: float


# The operations


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an address that is filled in: its type, and the regex by which it is known."""

    kind: Any
    regex: str


NUMBER: Final = Part(
    Annotated[int, Field(ge=0, lt=10**18, description="The number of a finding.")], r"[0-9]{1,18}"
)
ACTION: Final = Part(
    Annotated[Literal["ack", "dismiss"], Field(description="What is to be said of it.")],
    r"ack|dismiss",
)
ANYTHING: Final = Part(
    Annotated[str, Field(min_length=1, description="The ID, whatever is in it.")], r".+"
)
ASSET: Final = Part(
    Annotated[str, Field(min_length=1, description="The name of a file of the page.")], r"[^/]+"
)

JOB: Final = Part(
    Annotated[str, Field(min_length=1, max_length=NAME_MAX, description="The name of the job.")],
    r"[^{}/]+",
)
WHAT: Final = Part(
    Annotated[
        str,
        Field(
            pattern="^(start|fail|log|[0-9]{1,3})$",
            description="What is said: that it began, that it failed, a word, or an exit code.",
        ),
    ],
    r".*",
)

_UNSOUND: Final = {400: "What was sent is not sound; the error says why."}
_BODY: Final = {
    **_UNSOUND,
    413: "The body is larger than 64 KiB.",
    415: "The body is not said to be JSON: so no form of another site can send it.",
}


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One method at one address; `{name}` in *path* stands for what *parts* has of that name.

    *answer* is the type of the 200's body in each of *media*; *refuses* says when which other
    status is answered, and *refusal* is the type of those bodies, where it is none of ours. 401,
    where a token is set, and 404, where no such address is known, go without saying.
    """

    name: str
    method: str
    path: str
    says: str
    answer: Any = str
    media: tuple[str, ...] = (JSON,)
    parts: Mapping[str, Part] = field(default_factory=dict)
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    refuses: Mapping[int, str] = field(default_factory=dict)
    refusal: Any = None

    @property
    def route(self) -> str:
        """The address as aiohttp's router takes it."""
        return re.sub(r"{(\w+)}", lambda one: f"{{{one[1]}:{self.parts[one[1]].regex}}}", self.path)

    @property
    def is_api(self) -> bool:
        """Whether it is for programs: its errors are JSON."""
        return self.path.startswith("/api/")


STATIC: Final = Operation(
    "static", "GET", "/static/{name}", "A file that the page loads.",
    media=page.MEDIA, parts={"name": ASSET}, refuses={404: "There is no such file."},
)  # fmt: skip
METRICS: Final = Operation(
    "metrics", "GET", "/metrics", "All metrics, in the form that `Accept` asks for.",
    media=(TEXT, "application/openmetrics-text"),
)  # fmt: skip
HEALTH: Final = Operation("health", "GET", "/healthz", "Says that it lives.", media=(TEXT,))
READY: Final = Operation(
    "ready", "GET", "/readyz", "Says whether all that was kept has been applied.",
    media=(TEXT,), refuses={503: "Not yet."},
)  # fmt: skip
RUNBOOK: Final = Operation(
    "runbook", "GET", "/runbooks/{name}", "What an alert means, and what to do.",
    media=("text/markdown",), parts={"name": ASSET}, refuses={404: "There is no such runbook."},
)  # fmt: skip
DOCUMENT: Final = Operation(
    "document", "GET", "/api/v1/openapi.json", "This document.", answer=dict[str, Any]
)
OVERVIEW: Final = Operation(
    "overview", "GET", "/api/v1/overview", "How it stands, at a glance.", answer=OverviewJson
)
QUEUES: Final = Operation(
    "queues", "GET", "/api/v1/queues", "The queues: what waits, and until when.", answer=QueuesJson
)
TIMEOUTS: Final = Operation(
    "timeouts", "GET", "/api/v1/timeouts",
    "Each declared limit beside what it has to hold, the broken ones first.", answer=TimeoutsJson,
)  # fmt: skip
FINDINGS: Final = Operation(
    "findings", "GET", "/api/v1/findings", "Findings: the newest that fit, the oldest first.",
    answer=FindingsJson, query=Filters, refuses=_UNSOUND,
)  # fmt: skip
FINDING: Final = Operation(
    "finding", "GET", "/api/v1/findings/{id}", "One finding, with what was said of it.",
    answer=OneFindingJson, parts={"id": NUMBER}, refuses={404: "There is no such finding."},
)  # fmt: skip
SAY: Final = Operation(
    "say", "POST", "/api/v1/findings/{id}/{action}",
    "Acknowledge a finding, or dismiss it.",
    answer=OneFindingJson, parts={"id": NUMBER, "action": ACTION}, body=Words,
    refuses={**_BODY, 404: "There is no such finding."},
)  # fmt: skip
UNDO: Final = Operation(
    "undo", "POST", "/api/v1/findings/{id}/undo", "Take back what was said of a finding.",
    answer=OneFindingJson, parts={"id": NUMBER}, body=Signature,
    refuses={**_BODY, 404: "There is no such finding."},
)  # fmt: skip
INCIDENTS: Final = Operation(
    "incidents", "GET", "/api/v1/incidents", "The open incidents: findings that share causes.",
    answer=IncidentsJson,
)  # fmt: skip
INCIDENT: Final = Operation(
    "incident", "GET", "/api/v1/incidents/{id}",
    "The open incident that a finding belongs to, with suspects.",
    answer=OneIncidentJson, parts={"id": NUMBER},
    refuses={404: "No open incident has the finding."},
)  # fmt: skip
SWITCHES: Final = Operation(
    "switches", "GET", "/api/v1/switches", "The degrade switches that are set, and the policies.",
    answer=SwitchesJson,
)  # fmt: skip
_SWITCHED: Final = {**_BODY, 409: "Somebody has changed the switch meanwhile."}
SWITCH_SET: Final = Operation(
    "switch_set", "POST", "/api/v1/switches/set",
    "Set the degrade level of a service, for a time; answers what is set then.",
    answer=SwitchesJson, body=Setting, refuses=_SWITCHED,
)  # fmt: skip
SWITCH_CLEAR: Final = Operation(
    "switch_clear", "POST", "/api/v1/switches/clear",
    "Take back what a person set: what the service's policy says counts then.",
    answer=SwitchesJson, body=Clearing, refuses=_SWITCHED,
)  # fmt: skip
SWITCH_HISTORY: Final = Operation(
    "switch_history", "GET", "/api/v1/switches/history", "The changes of switches, audited.",
    answer=HistoryJson, query=Changes, refuses=_UNSOUND,
)  # fmt: skip
_NO_FLAG: Final = {400: "It is not said which service asks, or not in JSON."}
FLAG: Final = Operation(
    "flag", "POST", "/ofrep/v1/evaluate/flags/{key}",
    "A degrade flag of a service (OpenFeature's remote evaluation protocol).",
    answer=FlagJson, parts={"key": ANYTHING}, body=Evaluation,
    refuses={**_NO_FLAG, 404: "There is no such flag."}, refusal=FlagErrorJson,
)  # fmt: skip
FLAGS: Final = Operation(
    "flags", "POST", "/ofrep/v1/evaluate/flags",
    "All degrade flags of a service; `If-None-Match` is understood.",
    answer=FlagsJson, body=Evaluation, refuses=_NO_FLAG, refusal=FlagErrorJson,
)  # fmt: skip
SCALE: Final = Operation(
    "scale", "GET", "/api/v1/scale/{queue}",
    "How many workers a queue wants, for autoscalers: KEDA reads `desired`.",
    answer=ScaleJson, parts={"queue": ANYTHING}, query=Pace,
    refuses={
        **_UNSOUND, 404: "No such queue was ever heard of.",
        503: "Something that it comes of is not known: never a 0.",
    },
)  # fmt: skip
SOURCES: Final = Operation(
    "sources", "GET", "/api/v1/sources", "Who is heard, and which files are followed.",
    answer=SourcesJson,
)  # fmt: skip
TASK: Final = Operation(
    "task", "GET", "/api/v1/tasks/{id}", "The two stories of a task, side by side.",
    answer=TimelineJson, parts={"id": ANYTHING},
)  # fmt: skip
REQUEST: Final = Operation(
    "request", "GET", "/api/v1/requests/{id}", "The two stories of a request, side by side.",
    answer=TimelineJson, parts={"id": ANYTHING},
)  # fmt: skip
TRACE: Final = Operation(
    "trace", "GET", "/api/v1/traces/{id}", "The two stories of a trace, side by side.",
    answer=TimelineJson, parts={"id": ANYTHING},
)  # fmt: skip
SQL: Final = Operation(
    "sql", "POST", "/api/v1/sql", "The answer to a SELECT over all that is known.",
    answer=AnswerJson, body=Question, refuses=_BODY,
)  # fmt: skip
HEARTBEAT: Final = Operation(
    "heartbeat", "POST", "/api/v1/heartbeat",
    "A sign of life; answered when it is on disk. Whatever it is said to be, it is read as JSON.",
    answer=BeatJson, body=Heartbeat,
    refuses={
        **{status: _BODY[status] for status in (400, 413)},
        503: "It cannot be kept now: come again.",
    },
)  # fmt: skip
_PINGED: Final = {
    **_UNSOUND,
    404: "Such a thing cannot be said, or no schedule has the name and only these are taken.",
    413: "The body is larger than 16 MiB.",
    503: "It cannot be kept now: come again.",
}
_WHATS: Final = "A job began, failed, ended with an exit code, or says something."
PINGS: Final = tuple(
    Operation(
        f"{name}_{method.lower()}", method, path, says, media=(TEXT,), parts=parts, query=Run,
        refuses=_PINGED,
    )
    for name, path, says, parts in (
        ("ping", "/ping/{name}", "A job ended well.", {"name": JOB}),
        ("ping_what", "/ping/{name}/{what}", _WHATS, {"name": JOB, "what": WHAT}),
    )
    for method in ("GET", "POST")
)  # fmt: skip
"""A GET and a POST do the same; the body of a POST is kept as the job's message."""
