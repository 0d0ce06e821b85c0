"""What a message of Celery's event exchange holds: one event, or a list of them (`task.multi`)."""

from __future__ import annotations

from typing import Any, Final

import orjson

EXCHANGE: Final = "celeryev"
_JSON: Final = "application/json"


def events(body: bytes | str, content_type: object) -> tuple[list[dict[str, Any]], int]:
    """Return the events in *body*, and how many of them are none.

    Nothing but JSON is read: most likely `event_serializer` is not JSON where something is none.
    """
    try:
        said = orjson.loads(body) if content_type == _JSON else None
    except ValueError:
        said = None
    found = said if isinstance(said, list) else [said]
    good = [one for one in found if isinstance(one, dict)]
    return good, len(found) - len(good)
