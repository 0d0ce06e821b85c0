"""What can be set. The models are the reference (`zombiewatch.reference` prints them)."""

from itertools import combinations
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from collector.rules import Rule
from collector.scrub import Scrub
from model.phases import Side
from zombiewatch._alertmanager import Alertmanager
from zombiewatch._audience import Owns, Quiet, Selected
from zombiewatch._celery import Celery
from zombiewatch._degrade import Degrade
from zombiewatch._listeners import Grpc, Http, Listener, Otlp, Tls
from zombiewatch._nearest import refuse
from zombiewatch._outward import Forward, Telemetry
from zombiewatch._schedules import Schedule
from zombiewatch._values import (
    DAY_S,
    GIB,
    MIB,
    Bytes,
    Count,
    DetectorSettings,
    Label,
    Name,
    Seconds,
    Section,
)

__all__ = [
    "Alertmanager",
    "Celery",
    "Config",
    "Degrade",
    "Follow",
    "Forward",
    "Grpc",
    "Http",
    "Listener",
    "Log",
    "Otlp",
    "Owns",
    "Quiet",
    "Retention",
    "Schedule",
    "ScrubSettings",
    "Selected",
    "Store",
    "Telemetry",
    "Tls",
]


def _pattern(text: str) -> str:
    try:
        Scrub((text,)).secret_names(("",))
    except ValueError as error:
        raise refuse(f"it must be a pattern that RE2 takes: {error}") from None
    return text


Pattern = Annotated[str, Field(min_length=1), AfterValidator(_pattern)]


class ScrubSettings(Section):
    """Secrets that are taken out beside what always is: credentials, cookies, tokens, keys."""

    names: tuple[Pattern, ...] = Field(
        (),
        description="Patterns (RE2): an attribute whose name has a match loses its value.",
    )
    texts: tuple[Pattern, ...] = Field(
        (),
        description="Patterns (RE2): what matches in texts and values is taken out. The journal"
        " holds what came in as it came, for as long as a restart may need it (minutes).",
    )


class Follow(Section):
    """Files that are followed as they grow, and found again when they are rotated."""

    path: Name = Field(description="Which files: a path, or a pattern of `*`, `?`, `[…]` and `**`.")
    service: Name | None = Field(None, description="The service of lines that name none.")
    side: Side | None = Field(None, description="The side of lines that name none.")
    from_end: bool = Field(
        default=False, description="Whether a file seen for the first time is read from its end on."
    )
    expect_every_s: Seconds | None = Field(
        None, gt=0, description="A silence longer than 3 of these is reported as a dark source."
    )


class Store(Section):
    """What is kept in memory and on disk, and how safely."""

    memory_limit_bytes: Bytes = Field(
        320 * MIB,
        ge=128 * MIB,
        description="The memory that what is hot may take; where it is short, rows settle earlier.",
    )
    hot_rows: Count = Field(
        1_000_000, ge=1000, description="The most rows of each relation kept in memory, open first."
    )
    settle_s: Seconds = Field(
        3600.0, ge=1, description="How long what has closed can still be contradicted cheaply."
    )
    checkpoint_every_s: Seconds = Field(
        30.0, ge=1, description="How often memory is written to disk, so that a restart is quick."
    )
    segment_rows: Count = Field(
        500_000, ge=1000, description="The rows in one file of history at most."
    )
    journal_max_bytes: Bytes = Field(
        10 * GIB,
        ge=MIB,
        description="The most that may wait to be applied; beyond it senders wait.",
    )
    min_free_disk_bytes: Bytes = Field(
        256 * MIB, ge=0, description="The free disk space below which nothing more is accepted."
    )


class Retention(Section):
    """How much history is kept: whichever limit is reached first deletes the oldest."""

    max_age_s: Seconds = Field(30 * DAY_S, gt=0, description="The age at which history is deleted.")
    max_bytes: Bytes = Field(
        50 * GIB, ge=MIB, description="The size of all history beyond which the oldest is deleted."
    )


class Log(Section):
    """What zombiewatch says of itself, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least important messages that are still written."
    )
    as_json: bool = Field(
        default=False, alias="json", description="Whether each message is one JSON line."
    )


class Config(Section):
    """All settings. Each has a default that works; none is needed to start."""

    namespace: Label = Field(
        "default",
        description="The scheduler and environment that signals belong to which name none.",
    )
    data_dir: Path = Field(
        Path("./zombiewatch-data"), description="Where everything is kept; made if it is not there."
    )
    http: Http = Field(default_factory=Http)
    otlp: Otlp = Field(default_factory=Otlp)
    grpc: Grpc = Field(default_factory=Grpc)
    forward: Forward = Field(default_factory=Forward)
    telemetry: Telemetry = Field(default_factory=Telemetry)
    scrub: ScrubSettings = Field(default_factory=ScrubSettings)
    follow: tuple[Follow, ...] = Field((), description="Log files that are followed.")
    follow_every_s: Seconds = Field(
        0.25, ge=0.01, description="How often followed files are looked at."
    )
    celery: Celery = Field(default_factory=Celery)
    schedules: tuple[Schedule, ...] = Field((), description="Jobs that must run, and when.")
    pings: Literal["any", "declared-only"] = Field(
        "any", description="Whether pings of every name are taken, or only those of `schedules`."
    )
    sides: dict[str, Side] = Field(
        default_factory=dict,
        description="Which side a service speaks for that does not say so: dispatcher or agent.",
    )
    presets: tuple[Name, ...] = Field(
        (), description="How known schedulers' words are read: names of presets, or YAML files."
    )
    rules: tuple[Rule, ...] = Field(
        (), description="Rules of your own, in the form of a preset's, tried before the presets'."
    )
    apply_every_s: Seconds = Field(
        1.0,
        ge=0,
        description=(
            "How long little that comes in is gathered; less is sooner seen, at more CPU. An"
            " evaluation does not wait for it."
        ),
    )
    evaluate_every_s: Seconds = Field(5.0, ge=0.2, description="How often the detectors run.")
    rate_bin_s: Seconds = Field(
        60.0, ge=1, description="The step in which rates and percentiles are counted."
    )
    abandon_after_s: Seconds = Field(
        7 * DAY_S, gt=0, description="The age at which what never ended is no longer looked at."
    )
    occurrence_open_s: Seconds = Field(
        900.0, gt=0, description="How long a finding about one moment stays open."
    )
    detectors: dict[str, DetectorSettings] = Field(
        default_factory=dict,
        description="By detector: `enabled`, its thresholds, and `overrides` of these.",
    )
    owners: tuple[Owns, ...] = Field((), description="Whose findings are whose.")
    critical: tuple[Name, ...] = Field(
        (), description="Task names (patterns) of which one finding is enough to wake somebody."
    )
    quiet: tuple[Quiet, ...] = Field((), description="Times in which nobody is told.")
    degrade: Degrade = Field(default_factory=Degrade)
    alertmanager: Alertmanager = Field(default_factory=Alertmanager)
    learning_s: Seconds = Field(
        0.0,
        ge=0,
        description="How long a new installation judges and shows, but tells nobody: 1d, say.",
    )
    store: Store = Field(default_factory=Store)
    retention: Retention = Field(default_factory=Retention)
    labels_max: Count = Field(
        200, ge=1, description="The most values of one metric label; later ones become `__other__`."
    )
    push_gap_tolerance_s: Seconds = Field(
        5.0, ge=0, description="A shorter absence of ours is bridged by the senders' own retries."
    )
    log: Log = Field(default_factory=Log)

    @model_validator(mode="after")
    def _schedules_differ(self) -> Self:
        names = [one.name for one in self.schedules]
        for name in names:
            if names.count(name) > 1:
                raise refuse(
                    "give each its own name",
                    at="schedules",
                    what=f"two schedules are called {name}",
                )
        return self

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        listeners: dict[str, Listener] = {"http": self.http, "otlp": self.otlp}
        if self.grpc.enabled:
            listeners["grpc"] = self.grpc
        for (one, first), (other, second) in combinations(listeners.items(), 2):
            if first.port == second.port != 0:
                raise refuse(
                    "give one of the two another port",
                    at=other,
                    what=f"{one}.port and {other}.port are both {first.port}",
                )
        return self
