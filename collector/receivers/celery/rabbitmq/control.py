"""Remote control by a RabbitMQ broker: one message to all workers."""

from __future__ import annotations

import time
from typing import Any

from collector.receivers.celery.remote_control import ENABLE_EVENTS, EXPIRES_S, MAILBOX


def enable_events(connection: Any) -> None:  # noqa: ANN401 - kombu has no types
    """Tell each worker that is there now to send task events; nobody counts how many heard it.

    Raises what `amqp` does; where no worker was ever there is no exchange to send it to.
    """
    with connection.clone() as ours:  # the other ones belong to their threads
        ours.Producer(serializer="json").publish(
            ENABLE_EVENTS,
            exchange=MAILBOX,
            headers={"clock": 1, "expires": time.time() + EXPIRES_S},
        )
