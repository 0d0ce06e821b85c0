"""What can be set. The models are the reference (`zombiewatch.reference` prints them)."""

import ipaddress
import re
from itertools import combinations
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, SecretStr, model_validator

from alerts.audience import Which, Window
from collector.rules import Rule
from collector.schedule import NAME_MAX, refusal_of_cron, usable
from collector.scrub import Scrub
from model.phases import Side
from zombiewatch._nearest import refuse
from zombiewatch._values import (
    DAY_S,
    GIB,
    KIB,
    MIB,
    Bytes,
    Count,
    DetectorSettings,
    Name,
    Seconds,
    Section,
)

_NAMESPACE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_TOKEN: Final = re.compile(r"[!-~]{16,}")


def _usable_token(token: SecretStr) -> SecretStr:
    if not _TOKEN.fullmatch(token.get_secret_value()):
        raise refuse("it must be 16 or more visible ASCII characters, without spaces")
    return token


def _usable_namespace(name: str) -> str:
    if not _NAMESPACE.fullmatch(name):
        raise refuse("it must be 1 to 64 letters, digits, dots, dashes or underscores")
    return name


class Tls(Section):
    """Encryption of a listener: off unless a certificate is set; files in PEM."""

    certificate: Name | None = Field(
        None, description="The file with the listener's certificate, and those that vouch for it."
    )
    key: Name | None = Field(None, description="The file with the certificate's private key.")
    client_ca: Name | None = Field(
        None, description="The file with the authorities that callers need a certificate of."
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.certificate is None) != (self.key is None) or (
            self.client_ca is not None and self.certificate is None
        ):
            lacking = "certificate" if self.certificate is None else "key"
            raise refuse(
                "set certificate and key together; client_ca needs both",
                what=f"{{path}} has no {lacking}",
            )
        return self


class Listener(Section):
    """Where something listens, and who may speak to it."""

    host: Name = Field("127.0.0.1", description="The address to listen on.")
    port: Count = Field(
        0, ge=0, le=65_535, description="The port to listen on; 0 takes a free one."
    )
    token: Annotated[SecretStr, AfterValidator(_usable_token)] | None = Field(
        None,
        description="What callers must send as `Authorization: Bearer …`; 16 characters or more.",
    )
    listen_beyond_loopback_without_token: bool = Field(
        default=False, description="Whether others may reach this without a token, at your risk."
    )
    tls: Tls = Field(default_factory=Tls)
    max_connections: Count = Field(
        2000, ge=1, description="The most connections; beyond it idle ones are closed for new ones."
    )
    idle_timeout_s: Seconds = Field(
        90.0, ge=1, description="How long a connection may wait for a request, or in its headers."
    )

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.token or self.listen_beyond_loopback_without_token or _is_loopback(self.host):
            return self
        raise refuse(
            "set a token beside it (16 or more characters), or host: 127.0.0.1, or, where something"
            " else keeps strangers out, listen_beyond_loopback_without_token: true",
            at="host",
            what=f"{{path}} is {self.host!r}, which other machines can reach, and no token is set",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class Http(Listener):
    """The page, the JSON API and the metrics."""

    port: Count = Field(
        9797, ge=0, le=65_535, description="The port to listen on; 0 takes a free one."
    )


class Otlp(Listener):
    """The way in for OpenTelemetry: logs and spans over HTTP."""

    port: Count = Field(
        4318, ge=0, le=65_535, description="The port to listen on; 0 takes a free one."
    )
    max_body_bytes: Bytes = Field(
        64 * MIB, ge=KIB, description="The largest request taken, counted after decompression."
    )
    in_flight_max_bytes: Bytes = Field(
        128 * MIB, ge=KIB, description="The requests in hand at once; beyond it senders wait."
    )
    body_timeout_s: Seconds = Field(
        30.0, ge=0.1, description="How long a request may take to come in."
    )
    max_attributes: Count = Field(
        128,
        ge=1,
        description="The most attributes kept of one record; it says how many more it had.",
    )
    max_attribute_bytes: Bytes = Field(
        32 * KIB, ge=64, description="The length at which the name or value of an attribute is cut."
    )
    max_text_bytes: Bytes = Field(
        64 * KIB, ge=64, description="The length at which the text of a record is cut."
    )


class Grpc(Listener):
    """The way in for OpenTelemetry over gRPC; sizes and times are those of `otlp`."""

    enabled: bool = Field(default=True, description="Whether it listens at all.")
    port: Count = Field(
        4317, ge=0, le=65_535, description="The port to listen on; 0 takes a free one."
    )


def _usable_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise refuse("it must be like http://127.0.0.1:4318, without /v1/logs and the like")
    return url.rstrip("/")


Url = Annotated[str, AfterValidator(_usable_url)]


class Forward(Section):
    """Where what came in over OTLP is sent on, unchanged; never at the cost of taking it in."""

    endpoint: Url | None = Field(
        None, description="The OTLP/HTTP endpoint's base address; without one nothing is sent."
    )
    token: SecretStr | None = Field(
        None, description="What is sent there as `Authorization: Bearer …`."
    )
    ca: Name | None = Field(
        None, description="The file with the authorities that vouch for it, else the system's."
    )
    compression: Literal["none", "gzip"] = Field("none", description="How bodies are packed.")
    queue_max_bytes: Bytes = Field(
        64 * MIB, ge=KIB, description="The most that waits, in memory; then the oldest is dropped."
    )
    timeout_s: Seconds = Field(10.0, gt=0, description="How long one attempt may take.")
    retry_for_s: Seconds = Field(
        300.0, ge=0, description="How long one request is tried again before it is dropped."
    )


class Telemetry(Section):
    """What zombiewatch says of itself as an OpenTelemetry service, over OTLP/HTTP."""

    endpoint: Url | None = Field(
        None, description="The collector's base address; without one nothing is said."
    )
    token: SecretStr | None = Field(
        None, description="What is sent there as `Authorization: Bearer …`."
    )
    interval_s: Seconds = Field(10.0, ge=0.1, description="How often spans and metrics are sent.")


def _pattern(text: str) -> str:
    try:
        Scrub((text,)).secret_names(("",))
    except ValueError as error:
        raise refuse(f"it must be a pattern that RE2 takes: {error}") from None
    return text


Pattern = Annotated[str, Field(min_length=1), AfterValidator(_pattern)]


_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


def _time_of_day(text: str) -> str:
    if not _CLOCK.fullmatch(text):
        raise refuse("it must be a time of day like 06:30, in quotes")
    return text


def _minutes(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise refuse("it must be the name of a time zone, like Europe/Berlin or UTC") from None
    return name


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


def _usable_job(name: str) -> str:
    if "/" in name or not usable(name):
        raise refuse(
            f"it must be 1 to {NAME_MAX} printable characters, without / or spaces around it"
        )
    return name


def _usable_cron(text: str) -> str:
    if why := refusal_of_cron(text):
        raise refuse(why)
    return text


class Schedule(Section):
    """Jobs that must run, and when: `missed_run` tells of one that did not, or did not end."""

    name: Annotated[str, AfterValidator(_usable_job)] = Field(
        description="The job's name, as it pings (`/ping/<name>`) or its scheduler calls it."
    )
    every_s: Seconds | None = Field(
        None, ge=1, description="It is due so long after each sign of it; set this or cron."
    )
    cron: Annotated[str, AfterValidator(_usable_cron)] | None = Field(
        None, description="When it is due, as in a crontab: five fields, or @daily and the like."
    )
    time_zone: Annotated[str, AfterValidator(_zone)] = Field(
        "UTC", description="The time zone of cron: the IANA name of that which its host has."
    )
    start_grace_s: Seconds | None = Field(
        None, ge=0, description="How late it may begin; else what `missed_run` has."
    )
    run_grace_s: Seconds | None = Field(
        None, gt=0, description="How long a run may take; else what `missed_run` has."
    )
    paused: bool = Field(
        default=False, description="Whether nothing is expected of it at the moment."
    )
    service: Name | None = Field(None, description="The service that its pings belong to.")
    queue: Name | None = Field(None, description="The queue that it belongs to.")

    @model_validator(mode="after")
    def _when(self) -> Self:
        if (self.every_s is None) == (self.cron is None):
            if self.cron is not None:
                raise refuse("remove one of the two", what="{path} has both every_s and cron")
            raise refuse(
                "set one of the two, like cron: '0 3 * * *'", what="{path} has no every_s or cron"
            )
        if self.cron is None and "time_zone" in self.model_fields_set:
            raise refuse(
                "remove it: a period is the same everywhere",
                at="time_zone",
                what="{path} belongs to cron, and every_s is set",
            )
        return self


class Selected(Section):
    """Findings that are chosen by patterns of `*`, `?` and `[…]`."""

    detector: Name = Field("*", description="Which detectors.")
    service: Name = Field("*", description="Which services.")
    queue: Name = Field("*", description="Which queues.")
    task_name: Name = Field("*", description="Which task names.")

    def which(self) -> Which:
        """Return the choice."""
        return Which(self.detector, self.service, self.queue, self.task_name)


class Owns(Selected):
    """Whose findings some are: the first entry that fits counts."""

    team: Annotated[str, AfterValidator(_usable_namespace)] = Field(
        description="The team: the label of its metrics and alerts."
    )


class Quiet(Selected):
    """A time of day in which findings are judged and shown, but tell nobody."""

    begins: Annotated[str, AfterValidator(_time_of_day)] = Field(description="From when: 22:00.")
    ends: Annotated[str, AfterValidator(_time_of_day)] = Field(
        description="Until when: 06:00. No later than it begins: on the next day."
    )
    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] = Field(
        ("mon", "tue", "wed", "thu", "fri", "sat", "sun"),
        min_length=1,
        description="The days on which it begins.",
    )
    time_zone: Annotated[str, AfterValidator(_zone)] = Field(
        "UTC", description="Whose clock it goes by: Europe/Berlin."
    )
    reason: Name = Field("a quiet window", description="What people read who ask why it is quiet.")

    def window(self) -> Window:
        """Return the window."""
        return Window(
            self.which(),
            _minutes(self.begins),
            _minutes(self.ends),
            frozenset(_DAYS.index(day) for day in self.days),
            ZoneInfo(self.time_zone),
            self.reason,
        )


class Store(Section):
    """What is kept in memory and on disk, and how safely."""

    memory_limit_bytes: Bytes = Field(
        320 * MIB,
        ge=128 * MIB,
        description="The memory that the database may use; where it is short, rows settle earlier.",
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

    namespace: Annotated[str, AfterValidator(_usable_namespace)] = Field(
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
        description="How long little that comes in is gathered; less is sooner seen, at more CPU.",
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
