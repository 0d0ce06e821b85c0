"""Rule files for those who evaluate them, and the tests that promtool runs on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import yaml

from alerts.rules import findings, level, sidecar, switches
from alerts.rules.rule import Alert, Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from alerts.rules.links import Links
    from alerts.rules.rule import Case, Group
    from detectors._kit import Detector

Target = Literal["prometheus-2.42", "latest", "vmalert", "prometheusrule"]

TARGETS: Final[tuple[Target, ...]] = get_args(Target)

OBJECTIVE: Final = 0.999
"""By default this share of tasks is to end with the verdict that it deserves."""

_NOTE: Final = "# Written by `zombiewatch rules{more}`: change it there.\n"


def groups(
    detectors: Sequence[Detector], links: Links, *, objective: float, remembers: bool = True
) -> list[Group]:
    """Return all groups of rules.

    *objective* is the share of tasks that are to end with the verdict that they deserve;
    *remembers* says whether who evaluates keeps the metric ALERTS, as Prometheus does.
    """
    return [
        findings.group(detectors, links, remembers=remembers),
        level.recorded(),
        level.burning(links, objective),
        switches.group(links),
        sidecar.group(links),
    ]


def rules(detectors: Sequence[Detector], links: Links, target: Target, *, objective: float) -> str:
    """Return the rule file for *target*."""
    made = groups(detectors, links, objective=objective, remembers=target != "vmalert")
    said: dict[str, Any] = {"groups": [_group(one) for one in made]}
    if target == "prometheusrule":
        said = {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": "zombiewatch", "labels": {"app": "zombiewatch"}},
            "spec": said,
        }
    return _yaml(said, "" if target == "prometheus-2.42" else f" --target {target}")


def tests(
    detectors: Sequence[Detector], links: Links, *, objective: float, file: str
) -> dict[str, str]:
    """Return promtool's tests of the rules in *file*, by the step of their samples.

    Each has the cases of that step of every alert; promtool evaluates a file's rules at one step.
    """
    every = groups(detectors, links, objective=objective)
    alerts = [one for each in every for one in each.rules if isinstance(one, Alert)]
    made: dict[str, list[dict[str, Any]]] = {}
    for one in alerts:
        for number, case in enumerate(one.cases, 1):
            made.setdefault(case.step, []).append(_test(one, number, case))
    said: dict[str, Any] = {
        "rule_files": [file],
        # else promtool takes them in any order, and what one records comes too late for another
        "group_eval_order": [one.name for one in every],
    }
    return {
        step: _yaml({**said, "evaluation_interval": step, "tests": those}, "")
        for step, those in made.items()
    }


def _group(one: Group) -> dict[str, Any]:
    return {
        "name": one.name,
        "interval": one.interval,
        "rules": [_rule(each) for each in one.rules],
    }


def _rule(one: Alert | Record) -> dict[str, Any]:
    if isinstance(one, Record):
        return {"record": one.name, "expr": one.expr}
    lasts = {"for": one.lasts} if one.lasts else {}
    return {
        "alert": one.name,
        "expr": one.expr,
        **lasts,
        "labels": one.own_labels(),
        "annotations": {name: text.template() for name, text in one.texts.items()},
    }


def _test(one: Alert, number: int, case: Case) -> dict[str, Any]:
    expected = [{**one.own_labels(), **labels} for labels in case.alerts]
    return {
        "name": f"{one.name}{f' ({one.severity})' if one.severity else ''} {number}",
        "interval": case.step,
        "input_series": [
            {"series": name, "values": values} for name, values in case.series.items()
        ],
        "alert_rule_test": [
            {
                "eval_time": case.at,
                "alertname": one.name,
                "exp_alerts": list(_expected(one, expected)),
            }
        ],
    }


def _expected(one: Alert, alerts: Sequence[dict[str, str]]) -> Iterator[dict[str, Any]]:
    for labels in alerts:
        texts = {name: text.filled(labels) for name, text in one.texts.items()}
        yield {"exp_labels": labels, "exp_annotations": texts}


class _Plain(yaml.SafeDumper):
    """Writes texts of several lines as such, and repeats rather than refers."""

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Plain.add_representer(str, _text)


def _yaml(said: object, more: str) -> str:
    body = yaml.dump(said, Dumper=_Plain, sort_keys=False, width=1000, allow_unicode=True)
    return _NOTE.format(more=more) + body
