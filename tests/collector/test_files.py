"""Followed files, whatever they are called, from the disk to the relations."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from collector.receivers.files import Files, Followed
from tests.collector.stores import START_US, ask, crash, line, send, store

if TYPE_CHECKING:
    from pathlib import Path

    from collector.store.store import Store


def polled(of: Store, folder: Path) -> list[str]:
    """Take in what there is to read; return the files' names as others are told them."""
    files = Files([Followed(f"{folder}/*.log")], of.positions(), of.append, of._clock, every_s=1)
    files.poll()
    files.stop()
    send(of, b"{}\n")  # behind all that was read
    return [status.path.rpartition("/")[2] for status in files.statuses()]


def test_a_file_of_any_name_is_followed(tmp_path: Path) -> None:
    """Its bytes need be no text; neither it nor others are held up, and each line is taken once."""
    folder = tmp_path / "logs"
    folder.mkdir()
    odd, plain = folder / os.fsdecode(b"a-\xff.log"), folder / "b.log"
    odd.write_bytes(line("task.enqueued", START_US, service="oxr", task_id="a"))
    plain.write_bytes(line("task.enqueued", START_US, service="oxr", task_id="b"))
    one = store(tmp_path / "data")
    assert polled(one, folder) == [r"a-\xff.log", "b.log"]
    crash(one)
    with odd.open("ab") as file:
        file.write(line("task.enqueued", START_US, service="oxr", task_id="c"))
    two = store(tmp_path / "data")
    assert polled(two, folder) == [r"a-\xff.log", "b.log"]
    assert ask(two, "SELECT task FROM attempts ORDER BY 1") == [("a",), ("b",), ("c",)]
    shown = [(one["source"].rpartition("/")[2], one["task"]) for one in two.timeline("task", "c")]
    assert shown == [(r"a-\xff.log", "c")]
    assert [len(two.timeline("task", task)) for task in "abc"] == [1, 1, 1]
    two.close()
