"""What a lab's preset makes of a line of its log."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from labs._kit import Lab


def rules(lab: Lab) -> list[dict[str, Any]]:
    """Return the rules of the lab's preset."""
    return list(yaml.safe_load(lab.preset.read_text())["rules"])


def heard(lab: Lab, said: Iterable[Mapping[str, Any]], silent: re.Pattern[str]) -> list[Any]:
    """Return the rule of each line of *said*; see that those without one are *silent*."""
    known = rules(lab)
    found = []
    for line in said:
        rule = rule_of(line, known)
        assert rule or silent.search(line["message"]), line
        found += [rule] if rule else []
    return found


def rule_of(line: Mapping[str, Any], rules: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the first of *rules* that fits *line*, as `labs._telemetry.lines` has it."""
    for rule in rules:
        if "body" not in rule or not fnmatchcase(line["service"], rule.get("service", "*")):
            continue
        wanted = rule.get("attributes", {}).items()
        if all(line.get(key) == value for key, value in wanted) and re.search(
            rule["body"], line["message"]
        ):
            return rule
    return None
