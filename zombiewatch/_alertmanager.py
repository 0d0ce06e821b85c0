"""Settings of what `zombiewatch alertmanager` writes: how each tier of alerts is told."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from alerts.alertmanager.config import Hours, Telling
from zombiewatch._nearest import refuse
from zombiewatch._values import Name, Seconds, Section

Receiver = Literal["critical", "warning", "info", "changes", "watchdog"]


class Alertmanager(Section):
    """How people are told, by Alertmanager.

    `receivers`, `hours` and `template` are for what `zombiewatch alertmanager` writes; with `url`
    the sidecar itself tells, for those without Prometheus: let one of the two tell, not both
    (`pushes: false`).
    """

    url: Name | None = Field(
        None, description="The Alertmanager that the sidecar tells: http://127.0.0.1:9093."
    )
    push_every_s: Seconds = Field(
        30.0, ge=0.2, description="How often it is told what fires, for as long as it does."
    )
    lasts_s: Seconds = Field(
        900.0, gt=0, description="How long an alert lasts that is not told again: if we are gone."
    )
    silences: bool = Field(
        default=False,
        description="Whether a degrade switch is a silence, too: it then mutes through a restart of"
        " Alertmanager, and until its end where the sidecar is gone.",
    )
    page: Name = Field(
        "http://127.0.0.1:9797", description="Where people reach this sidecar: alerts link to it."
    )
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

    pushes: bool = Field(
        default=True,
        description="Whether the sidecar tells what fires; false where Prometheus does, and `url`"
        " is for silences.",
    )

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.silences and self.url is None:
            raise refuse("say which Alertmanager makes the silences", at="url")
        if self.lasts_s < 2 * self.push_every_s:
            raise refuse("it must be at least twice push_every_s", at="lasts_s")
        return self

    def telling(self) -> Telling:
        """Return it as the writer has it."""
        receivers = {str(name): dict(one) for name, one in self.receivers.items()}
        return Telling(receivers, Hours(self.hours) if self.hours else None, self.template)
