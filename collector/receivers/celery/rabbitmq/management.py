"""RabbitMQ's management API: the queues of one virtual host, read only."""

from __future__ import annotations

import base64
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit, urlunsplit
from urllib.request import Request, urlopen

import orjson

_TIMEOUT_S: Final = 5.0
_BYTES_MAX: Final = 16 << 20
_QUEUES_MAX: Final = 200
_COLUMNS: Final = (
    "name,messages_ready,messages_unacknowledged,consumers,exclusive,arguments,"
    "effective_policy_definition,head_message_timestamp"
)


class Management:
    """Asks the API at *url* (with or without `/api`, with the user in it) of *vhost*."""

    def __init__(self, url: str, vhost: str) -> None:
        said = urlsplit(url)
        host = said.netloc.rpartition("@")[2]
        path = f"{said.path.rstrip('/').removesuffix('/api')}/api/queues/{quote(vhost, safe='')}"
        asked = f"columns={_COLUMNS}&page=1&page_size={_QUEUES_MAX}&sort=messages&sort_reverse=true"
        self._url = urlunsplit((said.scheme, host, path, asked, ""))
        user = f"{unquote(said.username or 'guest')}:{unquote(said.password or 'guest')}"
        self._user = base64.b64encode(user.encode()).decode()

    def queues(self) -> list[dict[str, Any]]:
        """Return what it says of the longest queues, at most 200.

        Raises OSError where it cannot be reached or refuses, HTTPException and ValueError for what
        is no answer.
        """
        request = Request(self._url, headers={"Authorization": f"Basic {self._user}"})  # noqa: S310 - its scheme was checked with the settings
        with urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - likewise
            said = orjson.loads(answer.read(_BYTES_MAX))
        if not isinstance(said, dict) or not isinstance(said.get("items"), list):
            msg = "the management API does not answer with a page of queues"
            raise ValueError(msg)  # noqa: TRY004 - what it answers is wrong, not our call
        return [one for one in said["items"] if isinstance(one, dict)]
