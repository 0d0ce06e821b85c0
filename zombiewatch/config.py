"""What can be set, and what it is set to: one YAML file, the environment, the command line.

The models are the reference (`zombiewatch.reference` prints them). Later sources win: the
file, then variables named `ZOMBIEWATCH_` and the path with `__` between levels, then what
the command line says. Whatever is not a setting is refused, with the nearest one named.
"""

import ipaddress
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    SecretStr,
    ValidationError,
    model_validator,
)

from collector.rules import Rule
from model.phases import Side
from zombiewatch import _nearest
from zombiewatch._nearest import did_you_mean, dotted, refuse

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB
DAY_S: Final = 86_400.0

_AMOUNT: Final = re.compile(r"\d+(?:\.\d+)?")
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?) ?(ms|s|m|h|d|w)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": DAY_S, "w": 7 * DAY_S}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?) ?([kmgt]?)(i?)b?")
_NAMESPACE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_TOKEN: Final = re.compile(r"[!-~]{16,}")
PREFIX: Final = "ZOMBIEWATCH_"
"""What the name of every environment variable that sets something begins with."""

_FROM_KUBERNETES: Final = re.compile(
    r"ZOMBIEWATCH_(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)
_SELECTORS: Final = ("service", "queue", "name")


def duration(value: object) -> float:
    """Return the seconds that *value* names: a number, or `500ms`, `30s`, `10m`, `1d12h`."""
    text = value.strip().lower() if isinstance(value, str) else ""
    if _AMOUNT.fullmatch(text):
        return float(text)
    if text and not _DURATION.sub("", text).strip():
        return math.fsum(float(amount) * _SECONDS[unit] for amount, unit in _DURATION.findall(text))
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise refuse("it must be a number of seconds, or like 30s, 10m, 2h or 7d")
    return float(value)


def size(value: object) -> int:
    """Return the bytes that *value* names: a whole number, or `512MiB` (1024s), `10GB` (1000s)."""
    found = _SIZE.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    if found:
        amount, unit, binary = found.groups()
        factor = math.pow(KIB if binary else 1000, " kmgt".index(unit or " "))
        return round(float(amount) * factor)
    if not isinstance(value, int) or isinstance(value, bool):
        raise refuse("it must be a number of bytes, or like 512MiB or 10GB")
    return value


def threshold(value: object) -> float | bool | list[dict[str, float | str]]:
    """Return what a detector's setting means.

    `enabled` is true or false; a threshold is a number, or text like `30s` and `512MiB`;
    `overrides` is a list of mappings that select by `service`, `queue` or `name` (patterns)
    and hold the thresholds that are in force there.
    """
    if isinstance(value, list):
        return [_override(item) for item in value]
    return value if isinstance(value, bool) else _quantity(value)


def _quantity(value: object) -> float:
    text = isinstance(value, str) and value.strip().lower()
    if text and text.endswith("b"):
        return float(size(value))
    return duration(value)


def _override(item: object) -> dict[str, float | str]:
    keys = set(item) if isinstance(item, dict) else set()
    if not keys & set(_SELECTORS) or not keys - set(_SELECTORS):
        raise refuse("each override needs service, queue or name, and at least one threshold")
    assert isinstance(item, dict)  # noqa: S101 - or it would have no keys
    return {
        key: str(value) if key in _SELECTORS else _quantity(value) for key, value in item.items()
    }


def _detector(settings: dict[str, object]) -> dict[str, object]:
    for key, value in settings.items():
        kind = {"enabled": bool, "overrides": list}.get(key, float)
        if not isinstance(value, kind):
            name = {bool: "true or false", list: "a list of mappings"}.get(kind, "a number")
            raise refuse(f"it must be {name}", at=key, what=f"{{path}} is {value}")
    return settings


Seconds = Annotated[float, BeforeValidator(duration)]
Bytes = Annotated[int, BeforeValidator(size)]
Count = Annotated[int, Field(strict=True)]
Name = Annotated[str, Field(min_length=1)]
DetectorSettings = Annotated[
    dict[str, Annotated[object, PlainValidator(threshold)]], AfterValidator(_detector)
]


def _usable_token(token: SecretStr) -> SecretStr:
    if not _TOKEN.fullmatch(token.get_secret_value()):
        raise refuse("it must be 16 or more visible ASCII characters, without spaces")
    return token


def _usable_namespace(name: str) -> str:
    if not _NAMESPACE.fullmatch(name):
        raise refuse("it must be 1 to 64 letters, digits, dots, dashes or underscores")
    return name


class Section(BaseModel):
    """Settings that belong together: frozen, and closed to whatever is not one of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_means_default(cls, data: object) -> object:
        """Leave out settings with nothing after the colon: all commented out is a common state."""
        if not isinstance(data, dict):
            return data
        known = {info.alias or name for name, info in cls.model_fields.items()}
        return {key: value for key, value in data.items() if value is not None or key not in known}


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
        600 * MIB, ge=64 * MIB, description="The memory that the database may use."
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
    follow: tuple[Follow, ...] = Field((), description="Log files that are followed.")
    follow_every_s: Seconds = Field(
        0.25, ge=0.01, description="How often followed files are looked at."
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
    def _ports_differ(self) -> Self:
        if self.http.port == self.otlp.port != 0:
            raise refuse(
                "give one of the two another port",
                at="otlp",
                what=f"http.port and otlp.port are both {self.http.port}",
            )
        return self


class ConfigError(ValueError):
    """The configuration is refused; the text, for the user, says what, where and how to mend it."""

    def __init__(self, problems: list[str]) -> None:
        head = f"The configuration has {len(problems)} problems:\n  " if len(problems) > 1 else ""
        super().__init__(head + "\n  ".join(problems))
        self.problems = tuple(problems)


def load(
    path: Path | None,
    env: Mapping[str, str],
    overrides: Mapping[str, object] | None = None,
    *,
    base: Mapping[str, object] | None = None,
    detector_thresholds: Mapping[str, Mapping[str, float]] | None = None,
) -> Config:
    """Return what the file at *path*, *env* and *overrides* say, each over the one before.

    *base* is what all of them go over: the settings that a preset brings.

    Overrides are named by dotted paths; where their values are text they are read as in *env*:
    as YAML, save where the setting is itself a text. With *detector_thresholds*, each detector's
    thresholds by name, names in `detectors` that are none of these are refused too.

    Raises `ConfigError` with all problems at once.
    """
    problems: list[str] = []
    document = _from_file(path, problems)
    data, said = _over(base or {}, document.data), []
    for at, who, value in (*_from_env(env, problems), *_from_overrides(overrides or {}, problems)):
        data = _with(data, at, value)
        said.append((at, who))

    def where(at: _nearest.Path) -> str:
        for prefix, who in reversed(said):
            if at[: len(prefix)] == prefix or prefix[: len(at)] == at:
                return who
        line = document.line_of(at)
        return f"{path}:{line}" if line else str(path or "configuration")

    problems += _unknown_in_detectors(data, detector_thresholds, where)
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        problems += _nearest.refusals(error, Config, where)
    if problems:
        raise ConfigError(problems)
    return config


def variable(path: _nearest.Setting) -> str:
    """Return the name of the environment variable that sets *path*."""
    return PREFIX + "__".join(path).upper()


def _from_file(path: Path | None, problems: list[str]) -> _nearest.Document:
    document = _nearest.Document(data={})
    if path is None:
        return document
    try:
        document = _nearest.read_yaml(path.read_text(encoding="utf-8-sig"))
    except _nearest.DocumentError as error:
        problems.append(f"{path}:{error.line}: {error}" if error.line else f"{path}: {error}")
    except UnicodeDecodeError:
        problems.append(f"{path}: is not text in UTF-8; save it as such")
    except FileNotFoundError:
        problems.append(f"{path}: there is no such file; make it, or name none to take defaults")
    except OSError as error:
        problems.append(f"{path}: cannot be read ({error.strerror}); see to its owner and mode")
    for at, first, second in document.twice:
        what = f"{dotted(at)} is set twice, first in line {first}; keep one of the two"
        problems.append(f"{path}:{second}: {what}")
    if document.data is None:
        document.data = {}
    if not isinstance(document.data, dict):
        problems.append(f"{path}:1: holds no settings; write a name, a colon and a value to a line")
        document.data = {}
    return document


def _from_env(
    env: Mapping[str, str], problems: list[str]
) -> Iterator[tuple[_nearest.Path, str, object]]:
    known = {variable(path): path for path in _nearest.leaves(Config)}
    for name in sorted(env):
        if not name.startswith(PREFIX) or (name not in known and _not_ours(name, env[name])):
            continue
        parts = tuple(name.removeprefix(PREFIX).lower().split("__"))
        of_detector = len(parts) == len(("detectors", "its name", "its threshold"))
        path = parts if parts[0] == "detectors" and of_detector else known.get(name)
        if path is None:
            meant = did_you_mean(name, known) or "; unset it (the settings are in the reference)"
            problems.append(f"environment: {name} sets nothing{meant}")
        elif env[name].strip():  # templates set what nobody chose to nothing: not said
            yield from _valued(path, name, env[name], problems)


def _not_ours(name: str, value: str) -> bool:
    """Tell what is no setting: the file's own name, and what Kubernetes gives every pod.

    For a Service that is named zombiewatch, it sets `ZOMBIEWATCH_PORT=tcp://…` and the like.
    """
    is_link = name.endswith("_PORT") and "://" in value
    return name == f"{PREFIX}CONFIG" or is_link or bool(_FROM_KUBERNETES.fullmatch(name))


def _from_overrides(
    overrides: Mapping[str, object], problems: list[str], at: _nearest.Setting = ()
) -> Iterator[tuple[_nearest.Path, str, object]]:
    leaves = _nearest.leaves(Config)
    for name, value in overrides.items():
        path = (*at, *name.split("."))
        if isinstance(value, Mapping) and path not in leaves:
            yield from _from_overrides(value, problems, path)
        elif isinstance(value, str):
            yield from _valued(path, "command line", value, problems)
        else:
            yield path, "command line", value


def _valued(
    path: _nearest.Setting, who: str, text: str, problems: list[str]
) -> Iterator[tuple[_nearest.Path, str, object]]:
    """Read *text* as YAML, unless the setting is a text: a token may look like anything."""
    kind = _nearest.leaves(Config).get(path)
    if kind in (str, Path) or (path[-1] == "token"):
        yield path, who, text
        return
    try:
        yield path, who, _nearest.read_yaml(text).data
    except _nearest.DocumentError as error:
        problems.append(f"{who}: {dotted(path)} {error}")


def _over(base: object, data: object) -> object:
    """Return *data* laid over *base*, mapping by mapping."""
    if not isinstance(base, Mapping) or not isinstance(data, dict):
        return data
    both = {name: _over(base[name], data[name]) for name in base.keys() & data.keys()}
    return {**base, **data, **both}


def _with(data: object, path: _nearest.Path, value: object) -> object:
    """Return *data* with *value* at *path*; what is no mapping stays, to be refused as it is."""
    if not path:
        return value
    if not isinstance(data, dict | None):
        return data
    data = data or {}
    return {**data, path[0]: _with(data.get(path[0]), path[1:], value)}


def _unknown_in_detectors(
    data: object,
    known: Mapping[str, Mapping[str, float]] | None,
    where: Callable[[_nearest.Path], str],
) -> Iterator[str]:
    detectors = data.get("detectors") if isinstance(data, dict) else None
    if known is None or not isinstance(detectors, dict):
        return
    for name, settings in detectors.items():
        at = ("detectors", name)
        if name not in known:
            meant = did_you_mean(name, known, prefix="detectors.") or "; remove it"
            yield f"{where(at)}: there is no detector {name}{meant} ({', '.join(sorted(known))})"
        elif isinstance(settings, dict):
            names = ["enabled", "overrides", *known[name]]
            yield from _not_among(settings, at, names, where)
            overrides = settings.get("overrides")
            for index, item in enumerate(overrides if isinstance(overrides, list) else ()):
                names = [*_SELECTORS, *known[name]]
                yield from _not_among(item, (*at, "overrides", index), names, where)


def _not_among(
    settings: object, at: _nearest.Path, names: list[str], where: Callable[[_nearest.Path], str]
) -> Iterator[str]:
    for word in settings if isinstance(settings, dict) else ():
        if word not in names:
            meant = did_you_mean(word, names, prefix=f"{dotted(at)}.") or "; remove it"
            what = f"{dotted((*at, word))} is not a setting{meant}"
            yield f"{where((*at, word))}: {what} (settings of {dotted(at)}: {', '.join(names)})"
