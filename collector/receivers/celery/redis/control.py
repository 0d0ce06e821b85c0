"""Remote control by a Redis broker: what kombu would publish, and nothing is made."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING

import orjson

from collector.receivers.celery.redis.stream import channel
from collector.receivers.celery.remote_control import ENABLE_EVENTS, EXPIRES_S, MAILBOX

if TYPE_CHECKING:
    import redis


def enable_events(client: redis.Redis, *, key_prefix: str = "") -> int:
    """Tell each worker that is there now to send task events; return how many heard it.

    Raises `redis.RedisError`.
    """
    message = {
        "body": base64.b64encode(orjson.dumps(ENABLE_EVENTS)).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"clock": 1, "expires": time.time() + EXPIRES_S},
        "properties": {
            "delivery_mode": 2,
            "delivery_info": {"exchange": MAILBOX, "routing_key": ""},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": "zombiewatch",
        },
    }
    heard = client.publish(channel(client, MAILBOX, key_prefix), orjson.dumps(message))
    return int(heard)
