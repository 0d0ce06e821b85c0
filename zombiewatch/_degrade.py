"""Settings of degrade switches: how long a person may set one, and by which policies they move."""

from typing import Final, Literal, Self

from pydantic import Field, SecretStr, model_validator

from alerts.degrade.lease import LEVELS
from alerts.degrade.policy import Policy as Steps
from alerts.degrade.policy import Rung as Step
from model.units import us
from zombiewatch._nearest import refuse
from zombiewatch._values import DAY_S, Name, Seconds, Section

_BY_DEFAULT: Final = 1.0
_LOOKS_A_LEASE: Final = 3
"""So often at least a policy is looked at within its lease."""


class Rung(Section):
    """What one level is for: findings, or a query that a Prometheus answers."""

    level: Literal["L1", "L2", "L3"] = Field(description="The level.")
    findings: tuple[Name, ...] = Field(
        (), description="Detectors: the reading is how many confirmed findings they have."
    )
    of: tuple[Name, ...] = Field(
        (), description="Whose findings count, by service; by default those of the policy's own."
    )
    query: Name | None = Field(
        None,
        description="PromQL instead of findings: one number, or one per label `service`.",
    )
    samples: Name | None = Field(None, description="PromQL: of how many samples that number is.")
    samples_min: float = Field(
        0.0, ge=0, description="Fewer samples than these are as good as no answer."
    )
    enter: float = Field(_BY_DEFAULT, description="The reading from which on the level is wanted.")
    leave: float | None = Field(
        None, description="The reading below which it no longer is; by default the same."
    )
    for_s: Seconds = Field(0.0, ge=0, description="How long it must have been wanted.")

    @model_validator(mode="after")
    def _one_input(self) -> Self:
        if bool(self.findings) == (self.query is not None):
            raise refuse("say findings or query, one of the two")
        if self.leave is not None and self.leave > self.enter:
            raise refuse("leave must not be above enter", at="leave")
        return self

    def step(self) -> Step:
        """Return the rung as the policy engine has it."""
        leave = self.enter if self.leave is None else self.leave
        number = LEVELS.index(self.level)
        return Step(number, self.enter, leave, us(self.for_s), self.samples_min)


class Policy(Section):
    """By what a service's level is raised and lowered."""

    service: Name = Field(description="The service.")
    rungs: tuple[Rung, ...] = Field(min_length=1, description="What each level is for.")
    dwell_s: Seconds = Field(300.0, gt=0, description="How long a level lasts at least.")
    hold_off_s: Seconds = Field(
        900.0, gt=0, description="How long none is raised after one was lowered."
    )
    step_s: Seconds = Field(30.0, gt=0, description="How long until the next level is raised.")
    probe_s: Seconds = Field(
        600.0,
        gt=0,
        description="How long a level is held whose input is not known: where a switch keeps the"
        " traffic away that would tell of recovery, no answer ever comes.",
    )
    lease_s: Seconds = Field(
        300.0, gt=0, description="How long a level lasts that is not renewed: if we are gone, say."
    )
    level_max: Literal["L1", "L2", "L3"] = Field(
        "L2", description="The highest level that is raised without a person."
    )
    dry_run: bool = Field(
        default=True, description="Whether it is only told what would have been done."
    )

    def steps(self) -> Steps:
        """Return the policy as its engine has it."""
        return Steps(
            self.service,
            tuple(rung.step() for rung in self.rungs),
            us(self.dwell_s),
            us(self.hold_off_s),
            us(self.step_s),
            us(self.probe_s),
            us(self.lease_s),
            LEVELS.index(self.level_max),
        )


class Flags(Section):
    """From which level on programs that read our flags are told what."""

    shed: Literal["L1", "L2", "L3"] = Field(
        "L3", description="Turn new work away (`degrade.shed`)."
    )
    fallback: Literal["L1", "L2", "L3"] = Field(
        "L3", description="Do without what is in trouble (`degrade.fallback`)."
    )
    pause_dispatch: Literal["L1", "L2", "L3"] = Field(
        "L2", description="Hand out nothing new (`degrade.pause_dispatch`)."
    )

    def levels(self) -> dict[str, int]:
        """Return the level of each flag, by its key."""
        return {f"degrade.{name}": LEVELS.index(level) for name, level in self}


class Degrade(Section):
    """Switches that say that a service is in trouble, and known to be."""

    lease_max_s: Seconds = Field(
        DAY_S, gt=0, description="The longest time for which a person may set a switch."
    )
    prometheus: Name | None = Field(
        None, description="The Prometheus that answers `query`: http://127.0.0.1:9090."
    )
    flags: Flags = Field(default_factory=Flags)
    look_every_s: Seconds = Field(5.0, ge=0.2, description="How often the policies are looked at.")
    policies: tuple[Policy, ...] = Field((), description="One for each service, at most.")
    follow: Name | None = Field(
        None,
        description="Another sidecar whose switches are ours, too: http://other:9797. They are set"
        " there, and policies are its own.",
    )
    follow_token: SecretStr | None = Field(
        None, description="The token that it asks for, if any (its `http.token`)."
    )

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.follow is not None and self.policies:
            raise refuse(
                "one of the two: the sidecar that is followed moves the switches", at="policies"
            )
        for one in self.policies:
            if one.lease_s < _LOOKS_A_LEASE * self.look_every_s:
                raise refuse(
                    f"it must be at least {_LOOKS_A_LEASE} times degrade.look_every_s,"
                    " or levels end before they can be renewed",
                    at="policies",
                    what=f"the policy of {one.service} has a lease_s of {one.lease_s:g}",
                )
        services = [one.service for one in self.policies]
        for service in services:
            if services.count(service) > 1:
                raise refuse(
                    "put their rungs together",
                    at="policies",
                    what=f"two policies are of {service}",
                )
        asks = any(rung.query for one in self.policies for rung in one.rungs)
        if asks and self.prometheus is None:
            raise refuse("say which Prometheus answers the queries", at="prometheus")
        return self
