"""PromQL as the panels use it: said once how two sidecars, and what is not there, are counted.

Two sidecars that watch the same must not make two zombies of one: of those chosen the one that
sees most counts. And no answer is not 0: where a 0 stands for "nothing happened", it is given only
while somebody looks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from alerts.rules.findings import HEALTHY_S
from detectors._kit import load

if TYPE_CHECKING:
    from collections.abc import Sequence

SERVICE: Final = 'service=~"$service"'
QUEUE: Final = 'queue=~"$queue"'
SHORT: Final = "[$__rate_interval]"
_OURS: Final = ('job=~"$job"', 'instance=~"$instance"')
_EACH: Final = ("job", "instance")


def of(metric: str, *matchers: str) -> str:
    """Return the series of *metric* of the chosen sidecars that meet *matchers*."""
    return f"{metric}{{{', '.join((*_OURS, *matchers))}}}"


def only(**labels: str) -> str:
    """Return the matcher of the series with these labels."""
    return ", ".join(f'{name}="{value}"' for name, value in labels.items())


def most(series: str, *by: str) -> str:
    """Return the sum of *series* by labels, at the sidecar that has most."""
    outer = f"max by ({', '.join(by)})" if by else "max"
    inner = ", ".join(dict.fromkeys((*_EACH, *by)))
    return f"{outer} (sum by ({inner}) ({series}))"


def top(series: str, *by: str) -> str:
    """Return the greatest of *series* by labels."""
    return f"max by ({', '.join(by)}) ({series})" if by else f"max({series})"


def least(series: str, *by: str) -> str:
    """Return the smallest of *series* by labels."""
    return f"min by ({', '.join(by)}) ({series})" if by else f"min({series})"


def rate(counter: str, *matchers: str, by: Sequence[str] = (), over: str = SHORT) -> str:
    """Return how fast *counter* grows, by labels."""
    return most(f"rate({of(counter, *matchers)}{over})", *by)


def grown(counter: str, *matchers: str, by: Sequence[str] = (), over: str = SHORT) -> str:
    """Return by how much *counter* has grown, by labels."""
    return most(f"increase({of(counter, *matchers)}{over})", *by)


def quantile(share: float, histogram: str, *matchers: str, by: Sequence[str] = ()) -> str:
    """Return what that *share* of the *histogram* does not exceed; two sidecars change nothing."""
    rates = f"rate({of(f'{histogram}_bucket', *matchers)}{SHORT})"
    return f"histogram_quantile({share}, sum by ({', '.join(('le', *by))}) ({rates}))"


def or_0(expr: str, *on: str) -> str:
    """Return *expr*, or 0 by the labels *on* (of each sidecar, say) where one is scraped."""
    ready = top(of("zombiewatch_ready"), *on)
    return f"{expr} or on ({', '.join(on)}) 0 * {ready}"


def found(*detectors: str, by: Sequence[str] = (), where: Sequence[str] = (SERVICE, QUEUE)) -> str:
    """Return how many confirmed findings *detectors* have, by labels; 0 if they look and find none.

    Raises ValueError where there is no such detector.
    """
    unknown = set(detectors) - {one.name for one in load()}
    if unknown:
        raise ValueError(f"a dashboard asks for {', '.join(sorted(unknown))}: there is none")
    named = f'detector=~"{"|".join(detectors)}"'
    looks = f"{of('zombiewatch_detector_age_seconds', named)} < {HEALTHY_S}"
    seen = most(of("zombiewatch_findings", named, *where), *by)
    return f"{seen} or on ({', '.join(by)}) 0 * {top(looks, *by)}"
