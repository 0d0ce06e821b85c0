"""Incidents: findings that share causes, in causal order, with one head.

What one detector finds of one service is one *cluster*, however many tasks it names. A cluster is
the cause of another where that one's detector says that it may follow from it (`Detector.follows`),
both speak of something in common (a task, a request, a process, a host, a queue, a service), and
it did not begin later. Clusters that hang together are an incident; the first cause is its head.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

from typing_extensions import TypedDict

from model.findings import SEVERITIES, Severity
from model.units import MINUTE_US, Iso, iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from detectors._kit import Detector
    from model.findings import Finding

_LATER_US: Final = 5 * MINUTE_US
"""So much later than its effect a cause may seem to begin: each is seen by signs of its own."""

_TOLD: Final = frozenset({"confirmed"})

_LINKS: Final = {
    "task": ("task",),
    "request": ("request_id",),
    "service": ("service", "caller", "callee", "peer", "agent_service", "handed_by"),
    "process": ("agent", "instance", "caller_instance", "callee_instance", "handed_to"),
    "host": ("host",),
    "queue": ("queue",),
}
"""What two findings may have in common, and which of their fields and evidence say it."""


class ClusterJson(TypedDict):
    """What one detector finds of one service: a link of an incident's chain."""

    detector: str
    service: str | None
    count: int
    severity: Severity
    since: Iso
    summary: str
    fix: str
    subjects: list[str]
    findings: list[int]
    causes: list[str]
    depth: int


class IncidentJson(TypedDict):
    """Findings that share causes, the first cause first."""

    id: int
    severity: Severity
    since: Iso
    namespace: str
    head: ClusterJson
    chain: list[ClusterJson]
    count: int


@dataclass(slots=True)
class Cluster:
    """The findings of one detector for one service.

    *causes* are the clusters that it follows from directly, *depth* how many stand above it.
    """

    detector: str
    service: str
    findings: list[Finding] = field(default_factory=list)
    links: set[tuple[str, str]] = field(default_factory=set)
    causes: list[Cluster] = field(default_factory=list)
    depth: int = 0

    @property
    def since_us(self) -> int:
        """When the first of them began."""
        return min(one.since_us for one in self.findings)

    def add(self, finding: Finding) -> None:
        """Take *finding* in."""
        self.findings.append(finding)
        said = {**finding.evidence, **{name: getattr(finding, name) for name in _OWN}}
        for kind, names in _LINKS.items():
            self.links |= {(kind, str(said[name])) for name in names if said.get(name)}

    def as_json(self) -> ClusterJson:
        """Return the cluster as the API shows it."""
        first = min(self.findings, key=lambda one: (one.since_us, one.id))
        return {
            "detector": self.detector,
            "service": self.service or None,
            "count": len(self.findings),
            "severity": _worst(self.findings),
            "since": iso(self.since_us),
            "summary": first.summary,
            "fix": first.fix,
            "subjects": [one.subject for one in self.findings[:10]],
            "findings": [one.id for one in self.findings],
            "causes": sorted({one.detector for one in self.causes}),
            "depth": self.depth,
        }


_OWN: Final = ("task", "request_id", "service", "queue")


@dataclass(frozen=True, slots=True)
class Incident:
    """Clusters in causal order: the first is the head. `id` is that of the head's first finding."""

    id: int
    clusters: Sequence[Cluster]

    @property
    def head(self) -> Cluster:
        """The first cause that is known."""
        return self.clusters[0]

    @property
    def namespace(self) -> str:
        """Of all its findings."""
        return self.head.findings[0].namespace

    @property
    def since_us(self) -> int:
        """When the first of its findings began."""
        return min(one.since_us for one in self.clusters)

    @property
    def severity(self) -> Severity:
        """The worst of its findings'."""
        return _worst(one for cluster in self.clusters for one in cluster.findings)

    def has(self, number: int) -> bool:
        """Tell whether the finding of that ID is one of its own: their IDs outlive a new head."""
        return any(one.id == number for cluster in self.clusters for one in cluster.findings)

    def as_json(self) -> IncidentJson:
        """Return the incident as the API shows it."""
        every = [one for cluster in self.clusters for one in cluster.findings]
        return {
            "id": self.id,
            "severity": self.severity,
            "since": iso(self.since_us),
            "namespace": self.namespace,
            "head": self.head.as_json(),
            "chain": [cluster.as_json() for cluster in self.clusters],
            "count": len(every),
        }


def _worst(findings: Iterable[Finding]) -> Severity:
    return max((cast("Severity", one.severity) for one in findings), key=SEVERITIES.index)


def incidents(findings: Iterable[Finding], detectors: Sequence[Detector]) -> list[Incident]:
    """Return the incidents that confirmed *findings* make up, the worst and oldest first."""
    follows = {one.name: frozenset(one.follows) for one in detectors}
    clusters = _clusters(findings)
    causes = {
        at: [
            other
            for other, cause in enumerate(clusters)
            if other != at and _is_cause(cause, effect, follows)
        ]
        for at, effect in enumerate(clusters)
    }
    made = [
        Incident(min(one.id for one in ordered[0].findings), ordered)
        for group in _connected(causes)
        if (ordered := [clusters[at] for at in _ordered(group, causes, clusters)])
    ]
    return sorted(made, key=lambda one: (-SEVERITIES.index(one.severity), one.since_us))


def _clusters(findings: Iterable[Finding]) -> list[Cluster]:
    found: dict[tuple[str, str, str], Cluster] = {}
    for one in sorted(findings, key=lambda one: one.id):
        if one.verdict in _TOLD:
            key = (one.namespace, one.detector, one.service or "")
            found.setdefault(key, Cluster(one.detector, one.service or "")).add(one)
    return list(found.values())


def _is_cause(cause: Cluster, effect: Cluster, follows: Mapping[str, frozenset[str]]) -> bool:
    return (
        cause.detector in follows.get(effect.detector, frozenset())
        and cause.findings[0].namespace == effect.findings[0].namespace
        and cause.since_us <= effect.since_us + _LATER_US
        and not cause.links.isdisjoint(effect.links)
    )


def _connected(causes: Mapping[int, Sequence[int]]) -> list[list[int]]:
    """Return the groups that hang together, by whichever end of an arrow."""
    near: dict[int, set[int]] = defaultdict(set)
    for at, of in causes.items():
        for other in of:
            near[at].add(other)
            near[other].add(at)
    groups, seen = [], set()
    for start in causes:
        if start in seen:
            continue
        group, todo = [], [start]
        seen.add(start)
        while todo:
            at = todo.pop()
            group.append(at)
            more = near[at] - seen
            seen |= more
            todo += more
        groups.append(sorted(group))
    return groups


def _ordered(
    group: Sequence[int], causes: Mapping[int, Sequence[int]], clusters: Sequence[Cluster]
) -> list[int]:
    """Return *group*, causes first, else the older first; a circle is cut at its oldest."""
    left, order = set(group), []
    while left:
        free = [at for at in left if left.isdisjoint(causes[at])] or left
        at = min(free, key=lambda one: (clusters[one].since_us, clusters[one].detector))
        order.append(at)
        left.remove(at)
        # of a circle that was cut, what comes later is no cause
        link = clusters[at]
        link.causes = [clusters[one] for one in order[:-1] if one in causes[at]]
        link.depth = max((1 + one.depth for one in link.causes), default=0)
    return order


def causes(found: Iterable[Incident]) -> dict[tuple[str, str], str]:
    """Return, by detector and service of what follows, the detector of its incident's head."""
    return {
        (cluster.detector, cluster.service): one.head.detector
        for one in found
        for cluster in one.clusters
        if cluster.causes
    }
