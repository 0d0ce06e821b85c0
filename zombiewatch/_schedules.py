"""Settings of schedules: which jobs must run, and when."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from collector.schedule import NAME_MAX, refusal_of_cron, usable
from zombiewatch._nearest import refuse
from zombiewatch._values import Name, Seconds, Section, Zone


def _usable_job(name: str) -> str:
    if "/" in name or not usable(name):
        raise refuse(
            f"it must be 1 to {NAME_MAX} printable characters, without / or spaces around it"
        )
    return name


def _usable_cron(text: str) -> str:
    if why := refusal_of_cron(text):
        raise refuse(why)
    return text


class Schedule(Section):
    """Jobs that must run, and when.

    `missed_run` tells of one that did not, or did not end, `failed_run` of one that failed.
    """

    name: Annotated[str, AfterValidator(_usable_job)] = Field(
        description="The job's name, as it pings (`/ping/<name>`) or its scheduler calls it."
    )
    every_s: Seconds | None = Field(
        None, ge=1, description="It is due so long after each sign of it; set this or cron."
    )
    cron: Annotated[str, AfterValidator(_usable_cron)] | None = Field(
        None, description="When it is due, as in a crontab: five fields, or @daily and the like."
    )
    time_zone: Zone = Field(
        "UTC", description="The time zone of cron: the IANA name of that which its host has."
    )
    start_grace_s: Seconds | None = Field(
        None, ge=0, description="How late it may begin; else what `missed_run` has."
    )
    run_grace_s: Seconds | None = Field(
        None, gt=0, description="How long a run may take; else what `missed_run` has."
    )
    paused: bool = Field(
        default=False, description="Whether nothing is expected of it at the moment."
    )
    service: Name | None = Field(None, description="The service that its pings belong to.")
    queue: Name | None = Field(None, description="The queue that it belongs to.")

    @model_validator(mode="after")
    def _when(self) -> Self:
        if (self.every_s is None) == (self.cron is None):
            if self.cron is not None:
                raise refuse("remove one of the two", what="{path} has both every_s and cron")
            raise refuse(
                "set one of the two, like cron: '0 3 * * *'", what="{path} has no every_s or cron"
            )
        if self.cron is None and "time_zone" in self.model_fields_set:
            raise refuse(
                "remove it: a period is the same everywhere",
                at="time_zone",
                what="{path} belongs to cron, and every_s is set",
            )
        return self
