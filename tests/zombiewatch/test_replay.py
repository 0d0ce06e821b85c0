"""Recorded input judged again: what is read, in which order, and what other thresholds change."""

from __future__ import annotations

import gzip
import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from collector.pipeline import Pipeline
from collector.recorded import Recorded, RecordedError, read
from model.findings import Finding
from model.signals import SCHEMA
from model.units import iso
from zombiewatch.replay import changes, replay
from zombiewatch.settings import Settings, gather

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

START_US = 1_790_000_000_000_000
SECOND_US = 1_000_000


def said(at_s: float, event: str, task: str | None, side: str, **more: object) -> dict[str, Any]:
    one = {
        "timestamp": iso(START_US + round(at_s * SECOND_US)), "event.name": event, "task.id": task,
        "service.name": side, "zombiewatch.side": side, "service.instance.id": f"{side}-1",
        "task.name": "sync", **{key.replace("__", "."): value for key, value in more.items()},
    }  # fmt: skip
    return {key: value for key, value in one.items() if value is not None}


def worked(task: str, at_s: float) -> list[dict[str, Any]]:
    return [
        said(at_s, "task.dispatched", task, "dispatcher"),
        said(at_s + 0.1, "task.accepted", task, "agent"),
        said(at_s + 0.2, "task.started", task, "agent"),
        said(at_s + 0.5, "task.finished", task, "agent", task__outcome="success"),
        said(at_s + 0.6, "task.recorded", task, "dispatcher", task__state="success"),
    ]


def history(lasts_s: int = 180) -> list[dict[str, Any]]:
    """Return what two sides say for some minutes: a task every second; one is lost after 10 s."""
    lines = [line for at_s in range(lasts_s) for line in worked(f"t{at_s}", at_s)]
    return [*lines, said(10.05, "task.dispatched", "lost", "dispatcher")]


def written(path: Path, lines: Iterable[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def settings(**detectors: dict[str, float]) -> Settings:
    over = {
        f"detectors.{name}.{threshold}": value
        for name, told in detectors.items()
        for threshold, value in told.items()
    }
    return gather(None, over, {})


def confirmed(findings: Iterable[Any]) -> dict[str, float]:
    """Return when each subject was confirmed: seconds after the start."""
    return {
        one.subject: (one.confirmed_us - START_US) / 1e6 for one in findings if one.confirmed_us
    }


def test_a_zombie_of_the_past_is_found_when_it_would_have_been(tmp_path: Path) -> None:
    """By the input's own time: a minute after it was handed out, at the next look."""
    outcome = replay([written(tmp_path / "a.jsonl", history())], settings())
    assert not outcome.failed
    assert outcome.recorded.signals == 901
    assert list(confirmed(outcome.findings)) == ["lost/1"]
    assert 70 < confirmed(outcome.findings)["lost/1"] <= 80
    assert outcome.other is None


@pytest.mark.parametrize(
    ("grace_s", "kinds"), [(30.0, {"sooner"}), (90.0, {"later"}), (600.0, {"gone"}), (60.0, set())]
)
def test_another_threshold_shows_what_it_changes(
    tmp_path: Path, grace_s: float, kinds: set[str]
) -> None:
    """Both are judged on the same relations: only the threshold differs."""
    path = written(tmp_path / "a.jsonl", history())
    outcome = replay([path], settings(), settings(zombie_task={"start_grace_s": grace_s}))
    told = outcome.as_json()["changes"]
    assert {kind for kind, ones in told.items() if ones} == kinds
    for kind in kinds:
        (one,) = told[kind]
        assert (one["detector"], one["subject"]) == ("zombie_task", "lost/1")
        if kind != "gone":
            assert one["by_s"] == 30.0


def test_the_order_of_files_and_lines_does_not_matter(tmp_path: Path) -> None:
    """Each side's own file, one of them packed: they are one story by their times."""
    lines = history()
    told = [line for line in lines if line["service.name"] == "dispatcher"]
    written(tmp_path / "b-dispatcher.jsonl", reversed(told))
    written(tmp_path / "a-agent.jsonl.gz", [line for line in lines if line not in told])
    whole = replay([written(tmp_path.parent / "whole.jsonl", lines)], settings())
    parts = replay([tmp_path], settings())
    assert confirmed(parts.findings) == confirmed(whole.findings)
    assert parts.recorded.signals == whole.recorded.signals


def test_a_line_without_a_time_comes_with_the_one_before_it(tmp_path: Path) -> None:
    """It is not of the year in which it is read."""
    lines: list[dict[str, Any]] = [
        {"message": "first of all"},
        said(1, "task.dispatched", "t", "dispatcher"),
        {"message": "a word in between"},
        said(9, "task.started", "t", "agent"),
    ]
    path = written(tmp_path / "a.jsonl", lines)
    folder = tmp_path / "parts"
    folder.mkdir()
    found = read([path], pipeline(), folder)
    held = pa.concat_tables(held for _, held in found.steps(SECOND_US, SECOND_US))
    assert [(at - START_US) / 1e6 for at in held["arrived_us"].to_pylist()] == [1, 1, 1, 9]
    assert held["ts_us"].to_pylist() == held["arrived_us"].to_pylist()


def pipeline() -> Pipeline:
    return Pipeline(namespace="test", sides={}, rules=())


def recorded(tmp_path: Path, times: list[int]) -> Recorded:
    rows = [
        dict.fromkeys(SCHEMA.names) | {"seq": number, "arrived_us": at, "ts_us": at}
        for number, at in enumerate(times)
    ]
    path = tmp_path / "signals.parquet"
    parquet.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path)
    return read([path], pipeline(), tmp_path)


@pytest.mark.parametrize(
    "times", [[5], [5, 5, 5], [0, 10, 11, 19, 20, 21], [100, 3, 50, 3, 1000], [7, 100_000]]
)
def test_each_signal_comes_once_in_order_and_not_before_its_time(
    tmp_path: Path, times: list[int]
) -> None:
    """Moments are ten apart, at most a hundred where nothing comes, and end with the last one."""
    times = [START_US + at for at in times]
    steps = list(recorded(tmp_path, times).steps(10, 100))
    moments = [now for now, _ in steps]
    came = [at for _, held in steps for at in held["arrived_us"].to_pylist()]
    assert came == sorted(times)
    assert all(at <= now for now, held in steps for at in held["arrived_us"].to_pylist())
    assert moments == sorted(set(moments))
    assert moments[-1] == max(times)
    assert all(b - a <= 100 for a, b in pairwise(moments))
    for now, held in steps:
        assert all(now - at < 10 or at == min(times) for at in held["arrived_us"].to_pylist())


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda root: root / "nowhere", "there is no such file"),
        (lambda root: _made(root / "empty"), "an empty folder"),
        (lambda root: _with(root / "a.parquet", b"no"), "cannot be read as Parquet"),
        (lambda root: _table(root / "b.parquet"), "it holds no signals"),
        (lambda root: _with(root / "a.jsonl", b""), "nothing is recorded"),
        (
            lambda root: _with(root / "j.sqlite", b"SQLite format 3\x00" + b"x" * 5000),
            "as a journal",
        ),
    ],
)
def test_what_is_no_recording_is_said_to_be_none(tmp_path: Path, make: Any, why: str) -> None:
    """With the path, and what is wrong with it."""
    path = make(tmp_path)
    with pytest.raises(RecordedError, match=why) as error:
        replay([path], settings())
    assert str(path) in str(error.value)


def _made(path: Path) -> Path:
    path.mkdir()
    return path


def _with(path: Path, body: bytes) -> Path:
    path.write_bytes(body)
    return path


def _table(path: Path) -> Path:
    parquet.write_table(pa.table({"a": [1]}), path)
    return path


def test_a_false_alarm_is_no_change() -> None:
    """Confirmed and taken back counts for neither side; the first time counts of several."""
    ours = [made("a", 10), made("b", 20), made("b", 15), made("c", 5, "retracted")]
    theirs = [made("b", 16), made("a", 9, "retracted"), made("d", None)]
    named = {name: {"detector": "zombie_task", "subject": name} for name in "ab"}
    assert changes(ours, theirs) == {
        "more": [],
        "gone": [named["a"]],
        "sooner": [],
        "later": [{**named["b"], "by_s": 1.0}],
    }


def made(subject: str, at_s: int | None, verdict: str = "confirmed") -> Finding:
    one = Finding.new(f"zombie_task:test/{subject}", "zombie_task", "A zombie.", START_US)
    one.verdict = verdict
    one.confirmed_us = None if at_s is None else START_US + at_s * SECOND_US
    return one


@pytest.mark.parametrize("name", ["kept.jsonl", "kept.jsonl.gz"])
def test_what_is_saved_is_found_again_and_says_the_same(tmp_path: Path, name: str) -> None:
    """Every column of every signal, when it arrived, and when we did not listen."""
    lines = [*history(), said(12.0, "task.heartbeat", "t3", "agent", color="blue\x1f=1")]
    first, second, kept = tmp_path / "first", tmp_path / "second", tmp_path / name
    first.mkdir()
    second.mkdir()
    path = written(tmp_path / "a.jsonl", lines)
    found = read([path], pipeline(), first)
    found.gaps.append(("file", START_US + 5, START_US + 9))
    assert found.save(kept) == found.signals == 902
    again = read([kept], pipeline(), second)
    assert [*again.steps(SECOND_US, SECOND_US)] == [*found.steps(SECOND_US, SECOND_US)]
    assert again.gaps == found.gaps
    assert confirmed(replay([kept], settings()).findings) == confirmed(
        replay([path], settings()).findings
    )


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"{", "line 2: it is no JSON"),
        (b"[1]", "line 2: it is no JSON object"),
        (b'{"seq": 1, "colour": "blue"}', "line 2: a signal has no column colour"),
        (b'{"seq": "one"}', "up to line 2: a value is none of its column"),
    ],
)
def test_a_recording_with_a_bad_line_is_refused_with_its_number(
    tmp_path: Path, line: bytes, why: str
) -> None:
    """What another version or another hand wrote."""
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b'{"zombiewatch": "signals", "format": 1}\n' + line + b"\n")
    with pytest.raises(RecordedError, match=why):
        replay([path], settings())
