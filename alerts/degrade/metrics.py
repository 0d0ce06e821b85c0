"""The metrics of degrade switches: which level is in force, until when, and what was changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client.core import Metric

    from alerts.degrade.lease import Lease

_SERVICE: Final = ("service",)


class Switches(Protocol):
    """Where switches are looked up."""

    changes: Mapping[str, int]

    def of(self, service: str, now_us: int) -> Lease | None:
        """Return what is in force."""

    def leases(self, now_us: int) -> list[Lease]:
        """Return all that hold."""


class Degrading(Protocol):
    """Who looks at the policies: how often so far, and of which services in vain."""

    looks: int
    errors: Mapping[str, str]


def collect(
    switches: Switches, degrading: Degrading, now_us: int, label: Callable[[str], str]
) -> Iterator[Metric]:
    """Yield the metrics at *now_us*; *label* makes a label of a service.

    A service that ever had a switch has a level for ever after, and 0 where there is none.
    """
    levels: dict[str, int] = {label(service): 0 for service in switches.changes}
    ends: dict[str, int] = {}
    for service in switches.changes:
        one = switches.of(service, now_us)
        if one is not None and one.level >= levels[label(service)]:
            levels[label(service)] = one.level
            ends[label(service)] = max(one.expires_us, ends.get(label(service), 0))
    level = GaugeMetricFamily(
        "zombiewatch_degrade_level", "The degrade level in force, 0 to 3.", labels=_SERVICE
    )
    remaining = GaugeMetricFamily(
        "zombiewatch_degrade_remaining_seconds",
        "Time until the switch in force expires.",
        labels=_SERVICE,
    )
    expires = GaugeMetricFamily(
        "zombiewatch_degrade_expires_timestamp_seconds",
        "When the switch in force expires.",
        labels=_SERVICE,
    )
    for service, number in sorted(levels.items()):
        level.add_metric((service,), number)
    for service, at_us in sorted(ends.items()):
        remaining.add_metric((service,), max(0.0, (at_us - now_us) / 1e6))
        expires.add_metric((service,), at_us / 1e6)
    yield level
    yield remaining
    yield expires
    would = GaugeMetricFamily(
        "zombiewatch_degrade_dry_run_level",
        "The degrade level that a policy in dry run would have set.",
        labels=_SERVICE,
    )
    for one in switches.leases(now_us):
        if one.dry_run:
            would.add_metric((label(one.service),), one.level)
    yield would
    changes = CounterMetricFamily(
        "zombiewatch_degrade_changes",
        "Changes of switches: set, cleared, expired, raised, lowered; those in dry run, too.",
        labels=_SERVICE,
    )
    counts: dict[str, int] = {}
    for service, number in switches.changes.items():
        counts[label(service)] = counts.get(label(service), 0) + number
    for service, number in sorted(counts.items()):
        changes.add_metric((service,), number)
    yield changes
    blind = GaugeMetricFamily(
        "zombiewatch_degrade_policy_blind",
        "Whether a policy's query is not answered: it raises nothing then.",
        labels=_SERVICE,
    )
    for service in sorted(degrading.errors):
        blind.add_metric((label(service),), 1)
    yield blind
    yield CounterMetricFamily(
        "zombiewatch_degrade_looks", "Looks at the policies of switches.", value=degrading.looks
    )
