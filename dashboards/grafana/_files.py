"""The dashboards as files, with what tells Grafana where to find them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import yaml

from dashboards.grafana._board import TAG, load

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE: Final = "http://127.0.0.1:9797"
FOLDER: Final = "/var/lib/grafana/dashboards/zombiewatch"
"""Where the JSON files lie, as the shipped provisioning file has it."""

JSON: Final = "json"

_NOTE: Final = "# Written by `zombiewatch dashboards`: change it there.\n"
_EXAMPLE: Final = """\
# An example: leave it away where Grafana has a Prometheus. If that is started with
# --enable-feature=exemplar-storage, the slowest runs lead to their traces: say where these are.
apiVersion: 1
datasources:
  - name: Prometheus
    uid: prometheus
    type: prometheus
    access: proxy
    url: http://127.0.0.1:9090
    jsonData:
      timeInterval: 15s          # how often Prometheus scrapes
      exemplarTraceIdDestinations:
        - name: trace_id
          datasourceUid: tempo
"""


def files(page: str = PAGE, folder: str = FOLDER) -> Iterator[tuple[str, str]]:
    """Yield each file, its path and its text.

    *page* is where people reach the sidecar, *folder* where Grafana finds the JSON files.
    """
    for one in load():
        yield f"{JSON}/{one.uid}.json", json.dumps(one.json(page), indent=2) + "\n"
    provider = {
        "name": TAG,
        "folder": TAG,
        "type": "file",
        "allowUiUpdates": False,
        "options": {"path": folder},
    }
    said = yaml.safe_dump({"apiVersion": 1, "providers": [provider]}, sort_keys=False)
    yield f"provisioning/dashboards/{TAG}.yaml", _NOTE + said
    yield "provisioning/datasources/prometheus.yaml", _EXAMPLE
