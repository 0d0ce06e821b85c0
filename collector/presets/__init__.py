"""Presets: one YAML per scheduler, how its words map to phases. The folder is the list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from collector.rules import Rule

FOLDER: Final = Path(__file__).parent


class PresetError(ValueError):
    """A preset cannot be used; the message says what, where and how to mend it."""


class Preset(BaseModel):
    """What one scheduler's words mean, and what it needs set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    sides: Annotated[
        dict[str, Literal["dispatcher", "agent"]], Field(description="service → side")
    ] = {}
    settings: Annotated[dict[str, Any], Field(description="defaults for other settings")] = {}
    rules: tuple[Rule, ...] = ()


def names() -> list[str]:
    """Return the names of the shipped presets."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(name: str) -> Preset:
    """Return the shipped preset *name*, or the one in the YAML file of that path.

    Raises PresetError for what is not there or not a preset.
    """
    path = Path(name)
    if path.suffix not in {".yaml", ".yml"}:
        path = FOLDER / f"{name}.yaml"
        if not path.exists():
            there = ", ".join(names()) or "none is shipped yet"
            msg = f"there is no preset {name!r} ({there}); a file is named with its .yaml"
            raise PresetError(msg)
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        msg = f"preset {path} cannot be read: line {line}: {error.problem}"
        raise PresetError(msg) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        msg = f"preset {path} cannot be read: {error}"
        raise PresetError(msg) from None
    try:
        return Preset.model_validate(said)
    except ValidationError as error:
        raise PresetError(_told(path, error)) from None


def _told(path: Path, error: ValidationError) -> str:
    known = {"": list(Preset.model_fields), "rules": list(Rule.model_fields)}
    lines = []
    for one in error.errors():
        where = ".".join(str(part) for part in one["loc"])
        if one["type"] == "extra_forbidden":
            among = known["rules" if one["loc"][0] == "rules" else ""]
            lines.append(
                f"{path}: {where} is not a key of a preset (keys here: {', '.join(among)})"
            )
        else:
            lines.append(f"{path}: {where}: {one['msg'].removeprefix('Value error, ')}")
    return "\n".join(lines)
