"""The boards' queries, as Grafana would ask them of a Prometheus."""

from __future__ import annotations

import math
import time
from typing import Any, Final
from urllib.parse import urlencode

from tests.e2e._sidecar import call

INTERVAL: Final = "10s"
"""What rates look over: a scrape a second is enough for that."""


def asked(url: str, path: str, **query: object) -> Any:
    """Return what Prometheus answers."""
    answer = call("GET", f"{url}/api/v1/{path}?{urlencode(query)}")
    assert answer.status == 200, (query, answer.body)
    return answer.json()["data"]


def answers(url: str, expr: str) -> bool:
    """Whether there is a number in what Prometheus answers to *expr* over the last minute."""
    now = time.time()
    data = asked(url, "query_range", query=expr, start=now - 60, end=now, step=1)
    numbers = [float(value) for one in data["result"] for _, value in one["values"]]
    return any(not math.isnan(one) for one in numbers)
