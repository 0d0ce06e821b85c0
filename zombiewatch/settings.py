"""Everything that a run needs, from the command line's words: configuration, presets, rules."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collector import presets
from detectors._kit import load as load_detectors
from zombiewatch.sources import ConfigError, load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from collector.rules import Rule
    from zombiewatch.config import Config


@dataclass(frozen=True, slots=True)
class Settings:
    """The configuration and the rules in the order in which they are tried."""

    config: Config
    rules: tuple[Rule, ...]


def gather(
    path: Path | None, overrides: Mapping[str, object], env: Mapping[str, str] | None = None
) -> Settings:
    """Read the file at *path*, the environment, *overrides* and the presets that these name.

    Raises ConfigError with everything that is wrong.
    """
    env = os.environ if env is None else env
    thresholds = {one.name: dict(one.thresholds) for one in load_detectors()}
    first = load(path, env, overrides, detector_thresholds=thresholds)
    try:
        names = _named(first)
        chosen = [presets.load(name) for name in names]
    except presets.PresetError as error:
        raise ConfigError(str(error).splitlines()) from None
    base: dict[str, Any] = {}
    for name, one in zip(names, chosen, strict=True):
        _check(name, one.settings, thresholds)
        base = _deeper(base, {"sides": one.sides, **one.settings})
    config = load(path, env, overrides, base=base, detector_thresholds=thresholds)
    rules = (*config.rules, *(rule for one in chosen for rule in one.rules))
    return Settings(config, rules)


def _named(config: Config) -> tuple[str, ...]:
    """Return the presets that *config* names; whoever is listened to brings its own."""
    heard = config.celery.broker is not None and "celery" not in config.presets
    return (*config.presets, *(("celery",) if heard else ()))


def _check(
    name: str, settings: dict[str, Any], thresholds: Mapping[str, Mapping[str, float]]
) -> None:
    """Refuse what a preset sets and cannot, naming the preset."""
    try:
        load(None, {}, base=settings, detector_thresholds=thresholds)
    except ConfigError as error:
        told = [one.removeprefix("configuration: ") for one in error.problems]
        raise ConfigError([f"preset {name}: settings: {one}" for one in told]) from None


def _deeper(base: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        name: _deeper(base[name], more[name])
        for name in base.keys() & more.keys()
        if isinstance(base[name], dict) and isinstance(more[name], dict)
    }
    return {**base, **more, **both}
