"""What a rule is, with the case in which it fires, the one in which it stays quiet, and its texts.

A text may speak of a label of the alert. It is written once, for two readers: as a template, which
Prometheus fills in, and as what that gives for the labels of a test.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote_plus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SOURCE: Final = "zombiewatch"
"""The label `source` of each of our alerts: by it Alertmanager knows them."""

_LABEL: Final = re.compile(r"<(\w+)>")
_OPTION: Final = re.compile(r"\[\[(\w+): ([^\]]*)\]\]")


@dataclass(frozen=True, slots=True)
class Text:
    """A text in which `<label>` stands for a label of the alert.

    `[[label: text]]` is there only where the alert has that label; `query`, if any, is PromQL with
    quoted labels likewise: where it has an answer, `answered` follows, in which `<>` is its label
    `of`. With `url` labels are written as an address has them.
    """

    text: str
    url: bool = False
    query: str = ""
    of: str = ""
    answered: str = ""

    def template(self) -> str:
        """Return it as a template of Prometheus."""
        pipe = " | urlquery" if self.url else ""

        def option(found: re.Match[str]) -> str:
            inner = _LABEL.sub(rf"{{{{ $labels.\1{pipe} }}}}", found[2])
            return f"{{{{ if $labels.{found[1]} }}}}{inner}{{{{ end }}}}"

        made = _OPTION.sub(option, self.text)
        made = _LABEL.sub(rf"{{{{ $labels.\1{pipe} }}}}", made)
        if not self.query:
            return made
        names = _LABEL.findall(self.query)
        form = _LABEL.sub("%q", self.query).replace('"', '\\"')
        given = "".join(f" $labels.{name}" for name in names)
        answer = self.answered.replace("<>", f'{{{{ . | first | label "{self.of}" }}}}')
        return f'{made}{{{{ with printf "{form}"{given} | query }}}}{answer}{{{{ end }}}}'

    def filled(self, labels: Mapping[str, str]) -> str:
        """Return it for an alert with *labels*, where the query has no answer."""

        def value(found: re.Match[str]) -> str:
            given = labels.get(found[1], "")
            return quote_plus(given) if self.url else given

        def option(found: re.Match[str]) -> str:
            return _LABEL.sub(value, found[2]) if labels.get(found[1]) else ""

        return _LABEL.sub(value, _OPTION.sub(option, self.text))


@dataclass(frozen=True, slots=True)
class Case:
    """Series in, and what the rule says of them `at` a time (`10m`): labels beside its own.

    Series are in promtool's form, a sample each `step`.
    """

    series: Mapping[str, str]
    at: str
    alerts: Sequence[Mapping[str, str]] = ()
    step: str = "1m"


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert. `severity` None: its series say it. `lasts` is how long it must hold."""

    name: str
    expr: str
    severity: str | None
    texts: Mapping[str, Text]
    cases: Sequence[Case]
    lasts: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def own_labels(self) -> dict[str, str]:
        """Return the labels that the rule itself adds."""
        severity = {"severity": self.severity} if self.severity else {}
        return {**severity, **self.labels, "source": SOURCE}


@dataclass(frozen=True, slots=True)
class Record:
    """A recording rule."""

    name: str
    expr: str


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated together, every *interval* (in PromQL)."""

    name: str
    rules: Sequence[Alert | Record]
    interval: str = "1m"
