"""Where settings come from: one YAML file, the environment, the command line.

Later sources win: the file, then variables named `ZOMBIEWATCH_` and the path with `__` between
levels, then what the command line says. Whatever is not a setting is refused, with the nearest
one named.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from zombiewatch import _nearest
from zombiewatch._nearest import did_you_mean, dotted
from zombiewatch._values import SELECTORS
from zombiewatch.config import Config

PREFIX: Final = "ZOMBIEWATCH_"
"""What the name of every environment variable that sets something begins with."""

_OTHERS: Final = frozenset(f"{PREFIX}{name}" for name in ("CONFIG", "URL", "OTLP_URL", "SPOOL"))
"""The name of the file, and what `zombiewatch exec` goes by."""

_FROM_KUBERNETES: Final = re.compile(
    r"ZOMBIEWATCH_(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)


class ConfigError(_nearest.RefusedError):
    """The configuration is refused; the text, for the user, says what, where and how to mend it."""


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
    document = _nearest.Document(data={})
    if path is not None:
        document = _nearest.read_file(path, problems, "make it, or name none to take defaults")
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
        problems += _unknown_in_policies(config, detector_thresholds, where)
    except ValidationError as error:
        problems += _nearest.refusals(error, Config, where)
    if problems:
        raise ConfigError(problems)
    return config


def variable(path: _nearest.Setting) -> str:
    """Return the name of the environment variable that sets *path*."""
    return PREFIX + "__".join(path).upper()


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
    """Tell what is no setting: what others go by, and what Kubernetes gives every pod.

    For a Service that is named zombiewatch, it sets `ZOMBIEWATCH_PORT=tcp://…` and the like.
    """
    is_link = name.endswith("_PORT") and "://" in value
    return name in _OTHERS or is_link or bool(_FROM_KUBERNETES.fullmatch(name))


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
                names = [*SELECTORS, *known[name]]
                yield from _not_among(item, (*at, "overrides", index), names, where)


def _unknown_in_policies(
    config: Config,
    known: Mapping[str, Mapping[str, float]] | None,
    where: Callable[[_nearest.Path], str],
) -> Iterator[str]:
    for number, policy in enumerate(config.degrade.policies):
        for place, rung in enumerate(policy.rungs):
            for name in rung.findings:
                if known is not None and name not in known:
                    at = ("degrade", "policies", number, "rungs", place, "findings")
                    meant = did_you_mean(name, known) or "; remove it"
                    yield f"{where(at)}: there is no detector {name}{meant}"


def _not_among(
    settings: object, at: _nearest.Path, names: list[str], where: Callable[[_nearest.Path], str]
) -> Iterator[str]:
    for word in settings if isinstance(settings, dict) else ():
        if word not in names:
            meant = did_you_mean(word, names, prefix=f"{dotted(at)}.") or "; remove it"
            what = f"{dotted((*at, word))} is not a setting{meant}"
            yield f"{where((*at, word))}: {what} (settings of {dotted(at)}: {', '.join(names)})"
