"""What was sent twice is shown once in a timeline."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from collector.store.journal import Entry
from tests.collector import stores
from tests.collector._taken import NOW, NOW_NS, log_body, span_body
from zombiewatch import timeline

if TYPE_CHECKING:
    from pathlib import Path


def _shown(tmp_path: Path, *bodies: tuple[str, bytes]) -> list[timeline.EntryJson]:
    store = stores.store(tmp_path)
    try:
        for kind, body in bodies:
            number = store.append(Entry(kind, NOW, body)).result(10)
            assert store.wait_applied(number, 20)
        return timeline.build(store, "task", "t1", [])["entries"]
    finally:
        store.close()


def _span(number: int, **more: Any) -> dict[str, Any]:
    return {
        "traceId": "ab" * 16, "spanId": f"{number:016x}", "name": f"step {number}", "kind": 1,
        "startTimeUnixNano": str(NOW_NS), "attributes": {"task.id": "t1"}, **more,
    }  # fmt: skip


def test_a_span_is_shown_once_and_ended_if_it_has(tmp_path: Path) -> None:
    """However often it came, pending or not, in whatever order; another span is another."""
    end = {"endTimeUnixNano": str(NOW_NS + 5_000_000)}
    found = _shown(
        tmp_path,
        ("traces+json", span_body(_span(1), _span(2, **end), _span(3))),
        ("traces+json", span_body(_span(1, **end), _span(2))),
        ("traces+json", span_body(_span(1, **end), _span(2, **end))),
    )
    assert [(one["name"], one["end_us"]) for one in found] == [
        ("step 2", NOW + 5000), ("step 3", None), ("step 1", NOW + 5000),
    ]  # fmt: skip


def test_a_heartbeat_with_a_number_is_shown_once(tmp_path: Path) -> None:
    """Of one process and boot; those without a number, and logs, are never the same."""

    def beat(number: int | None, boot: str = "b1") -> dict[str, Any]:
        said = {"event.name": "task.heartbeat", "task.id": "t1", "instance.boot": boot}
        if number is not None:
            said["heartbeat.sequence"] = str(number)
        return {"attributes": said, "timeUnixNano": str(NOW_NS)}

    log = {"attributes": {"task.id": "t1"}, "body": {"stringValue": "x"}}
    sent = log_body(beat(1), beat(2), beat(1, "b2"), beat(None), log, service__instance__id="a1")
    found = _shown(tmp_path, ("logs+json", sent), ("logs+json", sent))
    beats = [one for one in found if one["phase"] == "heartbeat"]
    numbers = sorted(json.dumps(one["raw"].get("heartbeat.sequence")) for one in beats)
    assert numbers == ['"1"', '"1"', '"2"', "null", "null"]
    assert len(found) - len(beats) == 2
