"""The metrics of degrade switches: which level is in force, until when, and what was changed."""

from __future__ import annotations

from collections import Counter
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
    switches: Switches,
    degrading: Degrading,
    now_us: int,
    *,
    label: Callable[[str], str],
    hides: Callable[[Lease], int],
    followed: bool,
) -> Iterator[Metric]:
    """Yield the metrics at *now_us*; *label* makes a label of a service, *hides* counts findings.

    *followed* says whether another sidecar's switches can be followed, or need not be.

    A service that ever had a switch has a level for ever after, and 0 where there is none.
    """
    yield from _in_force(switches, now_us, label, hides)
    would = GaugeMetricFamily(
        "zombiewatch_degrade_dry_run_level",
        "The degrade level that a policy in dry run would have set.",
        labels=_SERVICE,
    )
    for one in switches.leases(now_us):
        if one.dry_run:
            would.add_metric((label(one.service),), one.level)
    yield would
    counts: Counter[str] = Counter()
    for service, number in switches.changes.items():
        counts[label(service)] += number
    changes = CounterMetricFamily(
        "zombiewatch_degrade_changes",
        "Changes of switches: set, cleared, expired, raised, lowered; those in dry run, too.",
        labels=_SERVICE,
    )
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
    yield GaugeMetricFamily(
        "zombiewatch_degrade_follow_failing",
        "Whether the sidecar whose switches are followed does not answer.",
        value=int(not followed),
    )
    yield CounterMetricFamily(
        "zombiewatch_degrade_looks", "Looks at the policies of switches.", value=degrading.looks
    )


def _in_force(
    switches: Switches,
    now_us: int,
    label: Callable[[str], str],
    hides: Callable[[Lease], int],
) -> Iterator[Metric]:
    """Yield level, time left, end and hidden findings; services of one label count as one."""
    level: dict[str, int] = {}
    ends: dict[str, int] = {}
    hidden: Counter[str] = Counter()
    for service in switches.changes:
        name, one = label(service), switches.of(service, now_us)
        level[name] = max(level.get(name, 0), one.level if one else 0)
        if one is not None:
            ends[name] = max(ends.get(name, 0), one.expires_us)
            hidden[name] += hides(one)
    told: tuple[tuple[str, str, dict[str, float]], ...] = (
        ("level", "The degrade level in force, 0 to 3.", dict(level)),
        (
            "remaining_seconds",
            "Time until the switch in force expires.",
            {name: max(0.0, (at_us - now_us) / 1e6) for name, at_us in ends.items()},
        ),
        (
            "expires_timestamp_seconds",
            "When the switch in force expires.",
            {name: at_us / 1e6 for name, at_us in ends.items()},
        ),
        (
            "hidden_findings",
            "Findings that the switch in force mutes: they are listed, and told to nobody.",
            dict(hidden),
        ),
    )
    for kind, text, values in told:
        family = GaugeMetricFamily(f"zombiewatch_degrade_{kind}", text, labels=_SERVICE)
        for name, value in sorted(values.items()):
            family.add_metric((name,), value)
        yield family
