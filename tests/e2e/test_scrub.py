"""What the configuration says of secrets and lengths is done to what comes in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e._otlp import log, logs
from tests.e2e._sidecar import named, stored

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e._sidecar import Running


def test_secrets_are_in_no_timeline_and_in_no_history(run: Callable[..., Running]) -> None:
    """Neither those that are always known nor those that are configured; what is long is cut."""
    sidecar = run(
        {
            "scrub": {"names": ["^ssn$"], "texts": ["card [0-9]+"]},
            "otlp": {"max_attributes": 6, "max_attribute_bytes": 64, "max_text_bytes": 64},
        }
    )
    task = named("task")
    said = {
        "task.id": task, "http.request.header.authorization": "Bearer hunter2", "ssn": "hunter2",
        "note": "card 4711 by Bearer hunter2", "long": "x" * 65, "n": 1, "over": "hunter2",
    }  # fmt: skip
    sidecar.otlp("logs", logs([log(said, "y" * 65 + " Bearer hunter2")]))
    sidecar.hears(task=task)
    [entry] = sidecar.task(task)
    assert entry["raw"] == {
        "task.id": task,
        "http.request.header.authorization": "[scrubbed]",
        "ssn": "[scrubbed]",
        "note": "[scrubbed] by Bearer [scrubbed]",
        "long": "x" * 64 + "… [cut: it was 65 bytes]",
        "n": "1",
        "zombiewatch.attributes_left_out": "1",
    }
    assert entry["body"].startswith("y" * 64 + "… [cut: it was")
    sidecar.stop()
    history = stored(sidecar.data, "body, attr_keys, attr_values")
    assert len(history) == 1
    assert "hunter2" not in str(history)
