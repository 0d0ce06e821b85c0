"""Where an alert's links lead: the sidecar's page, its runbooks, a dashboard, a silence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from alerts.rules.rule import Text

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Links:
    """Addresses, without a slash at the end. Without a *dashboard* no alert has a link to one."""

    page: str = "http://127.0.0.1:9797"
    alertmanager: str = "http://127.0.0.1:9093"
    dashboard: str | None = None

    def of(
        self, alert: str, runbook: str, *, detector: str | None = None, service: bool = True
    ) -> Mapping[str, Text]:
        """Return the texts with links of *alert*; with *detector* one to what that has found.

        *service* says whether the alert bears a service.
        """
        silence = quote_plus(f'{{alertname="{alert}"')
        of_it = ("[[service: %2Cservice%3D%22<service>%22]]", "[[service: &var-service=<service>]]")
        silenced, shown = of_it if service else ("", "")
        made = {
            "runbook_url": Text(f"{self.page}/runbooks/{runbook}"),
            "silence_url": Text(
                f"{self.alertmanager}/#/silences/new?filter={silence}{silenced}%7D", url=True
            ),
        }
        if detector:
            found = f"{self.page}/findings?detector={detector}"
            made["finding_url"] = Text(f"{found}[[service: &service=<service>]]", url=True)
        if self.dashboard:
            made["dashboard_url"] = Text(f"{self.dashboard}?from=now-3h&to=now{shown}", url=True)
        return made
