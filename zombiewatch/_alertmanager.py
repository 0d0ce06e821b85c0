"""Settings of what `zombiewatch alertmanager` writes: how each tier of alerts is told."""

from typing import Any, Literal

from pydantic import Field

from alerts.alertmanager.config import Hours, Telling
from zombiewatch._values import Name, Section

Receiver = Literal["critical", "warning", "info", "changes", "watchdog"]


class Alertmanager(Section):
    """How people are told, by Alertmanager. Only `zombiewatch alertmanager` reads this."""

    receivers: dict[Receiver, dict[Name, list[dict[str, Any]]]] = Field(
        default_factory=dict,
        description="By tier (critical, warning, info, changes, watchdog): Alertmanager's own"
        " integrations, `{critical: {webhook_configs: [{url: …}]}}`. One left out tells nobody.",
    )
    hours: tuple[dict[str, Any], ...] = Field(
        (),
        description="When what is no page may be told: Alertmanager's own time intervals,"
        " `[{weekdays: ['monday:friday'], times: [{start_time: '08:00', end_time: '18:00'}]}]`.",
    )
    template: Name | None = Field(
        None,
        description="Where the template lies that `zombiewatch alertmanager --template` writes.",
    )

    def telling(self) -> Telling:
        """Return it as the writer has it."""
        receivers = {str(name): dict(one) for name, one in self.receivers.items()}
        return Telling(receivers, Hours(self.hours) if self.hours else None, self.template)
