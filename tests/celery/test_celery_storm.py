"""Many events: kept up with, in bounded memory; and others' words on the same exchange."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kombu.connection import Connection

from collector.receivers.celery.rabbitmq import stream
from tests.celery._installation import asked, eventually, heard
from tests.celery._publisher import event, make_exchange, message
from tests.celery._publisher import on_rabbitmq as publishing
from tests.e2e._sidecar import zombiewatch
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.celery._installation import Installation
    from tests.e2e._sidecar import Running

pytestmark = pytest.mark.slow

_ROOT = Path(__file__).parents[2]
_MOST_BYTES = 600 << 20


def _storm(celery: Installation) -> int:
    words = [sys.executable, "-m", "tests.celery._publisher", celery.broker.url(), "5000", "15"]
    done = subprocess.run(words, cwd=_ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.parametrize("kind", ["celery", "on_rabbitmq"])
def test_five_thousand_events_a_second_are_kept_up_with(
    kind: str, request: pytest.FixtureRequest, beside: Callable[..., Running]
) -> None:
    """Each is heard and in the relations a moment later; memory stays within its bound."""
    celery = request.getfixturevalue(kind)
    if kind == "on_rabbitmq":
        make_exchange(celery.broker.url())
    sidecar = beside(celery)
    heard(sidecar)
    sent = 0
    for _ in range(2):
        sent += _storm(celery)
        counted = "zombiewatch_celery_events_total"
        # other tests run beside this one: what waits is little, and none of it is lost
        eventually(float(sent), lambda counted=counted: sidecar.metric(counted), 10)  # type: ignore[misc]
    assert sent > 2 * 15 * 5_000 * 0.9, "the publisher was too slow to say anything"
    eventually(True, lambda: sidecar.metric("zombiewatch_apply_lag_seconds") < 1)
    assert sidecar.metric("zombiewatch_celery_losses_total") == 0
    assert sidecar.memory_bytes < _MOST_BYTES


def test_a_queue_of_ours_that_is_full_is_a_lost_stream(
    on_rabbitmq: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker drops what we are too slow for; we say so, and never look as if all was heard."""
    monkeypatch.setattr(stream, "_LENGTH_MAX", 500)
    monkeypatch.setattr(stream, "_CHECK_S", 0.0)
    monkeypatch.setattr(stream, "_AT_ONCE", 1)
    url = on_rabbitmq.broker.url()
    make_exchange(url)
    with Connection(url) as connection, publishing(url) as publish:
        listening = stream.Stream(connection)

        def slowly() -> None:
            for _ in range(20):
                for _ in range(500):  # in the end more than sockets hold, and than is on its way
                    publish([event(0) | {"filler": "x" * 20_000}])
                listening.read(1.0)

        with pytest.raises(stream.DroppedError, match="the broker drops"):
            slowly()
        listening.close()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1]",
        "null",
        '{"body": "!", "content-type": "application/json", "properties": {}}',
        '{"body": "bnVsbA==", "content-type": "application/x-python-serialize", "properties": {}}',
        '{"body": "bnVsbA==", "content-type": "application/json", "properties": null}',
        message({"hostname": "w@h"}),
        message({"hostname": "w@h", "type": "task-sent", "timestamp": "now"}),
    ],
)
def test_what_is_no_event_is_counted_and_harms_nothing(
    celery: Installation, beside: Callable[..., Running], text: str
) -> None:
    """The next one is heard as ever; the stream is not lost by it."""
    sidecar = beside(celery)
    heard(sidecar)
    client: Any = celery.redis.client()
    client.publish("/0.celeryev/task.sent", text)
    client.publish("/0.celeryev/task.multi", message(event(0)))
    eventually(1.0, lambda: sidecar.metric("zombiewatch_celery_unreadable_total"))
    eventually([["storm-0"]], lambda: asked(sidecar, "SELECT task FROM attempts"))
    assert sidecar.metric("zombiewatch_celery_losses_total") == 0


def test_events_come_in_batches_too(celery: Installation, beside: Callable[..., Running]) -> None:
    """A worker sends many as one list (`task.multi`)."""
    sidecar = beside(celery)
    heard(sidecar)
    batch = message({"hostname": "w@h"})
    import base64  # noqa: PLC0415 - one message is made by hand
    import json  # noqa: PLC0415 - likewise

    said = json.loads(batch)
    said["body"] = base64.b64encode(json.dumps([event(at) for at in range(8)]).encode()).decode()
    celery.redis.client().publish("/0.celeryev/task.multi", json.dumps(said))
    query = "SELECT count(*) FROM attempts WHERE outcome = 'success'"
    eventually([[2]], lambda: asked(sidecar, query))


def test_a_broker_that_is_not_there_is_told_and_found_when_it_comes(
    celery: Installation, beside: Callable[..., Running]
) -> None:
    """The sidecar starts all the same; an address that cannot be one is refused at once."""
    celery.broker.stop()
    sidecar = beside(celery)
    assert sidecar.metric("zombiewatch_celery_reached", part="events") == 0
    eventually(True, lambda: "the Celery broker cannot be reached" in sidecar.log)
    celery.broker.start()
    heard(sidecar)
    done = zombiewatch("run", "--broker", f"sqs://127.0.0.1:{free_port()}")
    assert done.returncode == 2
    assert "it must be like redis://127.0.0.1:6379/0" in done.stderr
