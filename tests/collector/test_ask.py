"""Somebody's SELECT over the store: it reads what is there, and can do nothing else."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from collector.store import ask
from collector.store.ask import Ask, QuestionError
from collector.store.checkpoint import SETTLING
from collector.store.disk import Disk, File, quoted
from collector.store.recent import Recent
from model.signals import SCHEMA
from tests.detectors.harness import NOW_US, hot, signals

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import duckdb

RAN = [
    {"side": "dispatcher", "service": "api", "phase": "enqueued", "task": "t1", "t": -20},
    {"side": "dispatcher", "service": "api", "phase": "dispatched", "task": "t1", "t": -10},
    {"side": "agent", "service": "agent", "instance": "a1", "phase": "started", "task": "t1",
     "t": -9},
    {"side": "dispatcher", "service": "api", "phase": "dispatched", "task": "t2", "t": -5},
]  # fmt: skip


class Asked:
    """An `Ask` over the relations of `RAN`; *files* are its segments."""

    def __init__(self, relations: duckdb.DuckDBPyConnection, root: Path) -> None:
        self.relations, self.disk, self.recent = relations, Disk(root), Recent()
        self.files: list[File] = []
        for one in SETTLING:
            rows = f"SELECT * EXCLUDE (h, closed) FROM {one.rows} LIMIT 0"
            relations.execute(f"CREATE TABLE settled_{one.name} AS {rows}")
        self.ask = Ask(relations.cursor, self.disk, self.recent, lambda: self.files)

    def __call__(
        self, query: str, rows_max: int = 100, timeout_s: float = 20.0
    ) -> list[list[object]]:
        return self.ask.ask(query, rows_max=rows_max, timeout_s=timeout_s).rows


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Asked]:
    with hot(RAN) as relations:
        yield Asked(relations, tmp_path / "o'hara's")  # as paths may be


def test_the_hot_relations_are_there(asked: Asked) -> None:
    """Columns that are named, all of them, and views over them."""
    assert asked("SELECT task, sign_us IS NULL FROM open_attempts ORDER BY task") == [
        ["t1", False],
        ["t2", True],
    ]
    assert asked("SELECT count(*) FROM runs r JOIN attempts a USING (task)") == [[1]]
    whole = asked.ask.ask("FROM attempts ORDER BY task", rows_max=1, timeout_s=20)
    assert (len(whole.rows), whole.more) == (1, True)
    names = [name for name, _ in whole.columns]
    held = dict(zip(names, whole.rows[0], strict=True))
    assert (held["task"], held["agent"]) == ("t1", "a1")
    assert asked("SELECT measure, n FROM learned") == [["accept", 1], ["wait", 1]]
    assert asked("SELECT DISTINCT instance FROM lives") == [["a1"]]


def test_history_is_there(asked: Asked) -> None:
    """What waits for a segment, and what is in one, as one."""
    columns = "namespace, task, attempt, name, service__at, first_us, last_seen_us"
    asked.relations.execute(
        f"INSERT INTO settled_attempts BY NAME SELECT {columns} FROM attempts_rows"
        " WHERE task = 't1'"
    )
    rows: pa.Table = asked.relations.execute(
        "SELECT * EXCLUDE (h, closed) FROM attempts_rows WHERE task = 't2'"
    ).to_arrow_table()
    name = "segments/attempts.parquet"
    pa.parquet.write_table(rows, asked.disk.root / name)
    asked.files.append(File(name, "attempts", rows.num_rows, 0, -1))
    asked.recent.add(signals(RAN))
    assert asked("SELECT task, service FROM history_attempts ORDER BY task") == [
        ["t1", "api"],
        ["t2", "api"],
    ]
    assert asked("SELECT count(*), max(ts_us) FROM signals") == [[4, NOW_US - 5_000_000]]


def test_an_attribute_is_found_by_its_name(asked: Asked) -> None:
    """Attributes are packed; the macro unpacks one."""
    row = dict.fromkeys(SCHEMA.names)
    row |= {"seq": 1, "attr_keys": "a\x1fb.c", "attr_values": "1\x1fx\x1esy\x1ee"}
    asked.recent.add(pa.Table.from_pylist([row], schema=SCHEMA))
    query = "SELECT attribute(attr_keys, attr_values, '{}') FROM signals"
    assert asked(query.format("b.c")) == [["x\x1fy\x1e"]]
    assert asked(query.format("nothing")) == [[None]]


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("", "it must be one SELECT"),
        ("SELECT 1; SELECT 2", "it must be one SELECT"),
        ("DROP TABLE attempts", "it must be one SELECT"),
        ("DELETE FROM attempts RETURNING *", "it must be one SELECT"),
        ("COPY (SELECT 1) TO '{root}/segments/x.parquet'", "it must be one SELECT"),
        ("SET memory_limit = '100GB'", "it must be one SELECT"),
        ("ATTACH '{root}/x.db'", "it must be one SELECT"),
        ("PRAGMA version", "it must be one SELECT"),
        ("SELEC 1", "syntax error"),
        ("SELECT * FROM nowhere", "Table with name nowhere does not exist"),
        ("SELECT nothing FROM attempts", 'column "nothing" not found'),
        ("SELECT * FROM '{root}/secret.csv'", "Cannot access file"),
        ("SELECT * FROM asked", None),  # a view, not the variable of this name
        ("SELECT * FROM read_csv('{root}/secret.csv')", "Cannot access file"),
        ("SELECT * FROM read_text('{root}/secret.csv')", "Cannot access file"),
        ("SELECT * FROM read_parquet('{root}/journal.sqlite')", "Cannot access file"),
        ("SELECT * FROM glob('{root}/*')", "Cannot access file"),
        ("SELECT getenv('HOME')", "does not exist"),
    ],
)
def test_it_can_do_nothing_else(asked: Asked, query: str, why: str | None) -> None:
    """Neither change anything, nor read a file that is not history, nor loosen its own bounds."""
    secret = asked.disk.root / "secret.csv"
    secret.write_text("a,b\n1,2\n")
    before = sorted(path.name for path in asked.disk.root.rglob("*"))
    if why is None:
        asked(query)
    else:
        with pytest.raises(QuestionError, match=why):
            asked(query.format(root=quoted(asked.disk.root)))
    assert sorted(path.name for path in asked.disk.root.rglob("*")) == before
    assert asked("SELECT count(*) FROM attempts") == [[2]]


@pytest.mark.parametrize("timeout_s", [0.001, 1.5])
def test_it_ends_when_its_time_is_over(asked: Asked, timeout_s: float) -> None:
    """While tables are copied, or later; however long it would take. The next one is answered."""
    begun = time.monotonic()
    with pytest.raises(QuestionError, match=f"longer than {timeout_s} s"):
        asked("SELECT count(*) FROM range(1000000000) a, range(1000000) b", timeout_s=timeout_s)
    assert time.monotonic() - begun < 20
    assert asked("SELECT 1") == [[1]]


def test_it_has_a_bound_of_memory(asked: Asked) -> None:
    """What needs more is told how to need less; the sidecar's own engine never knows of it."""
    with pytest.raises(QuestionError, match="more than 256 MiB: name the columns"):
        asked("SELECT list(range) FROM range(200000000)")
    assert asked("SELECT 1") == [[1]]


def test_an_answer_has_a_bound_too(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of rows, and of bytes: long texts end it sooner. It says that there is more."""
    assert not asked.ask.ask("FROM range(100)", rows_max=100, timeout_s=20).more
    assert asked.ask.ask("FROM range(101)", rows_max=100, timeout_s=20).more
    monkeypatch.setattr(ask, "ANSWER_BYTES", 1 << 20)
    long = asked.ask.ask(
        "SELECT repeat('x', 1000) FROM range(100000)", rows_max=100_000, timeout_s=20
    )
    assert long.more
    assert 1000 <= len(long.rows) < 5000


def test_a_segment_that_was_merged_meanwhile_is_looked_for_again(asked: Asked) -> None:
    """A list of files may be old by the time they are read; one that stays wrong is an error."""
    asked.recent.add(signals(RAN))
    gone = File("segments/gone.parquet", "signals", 1, 0, -1)
    lists = iter([[gone], [gone], []])
    asked.ask = Ask(asked.relations.cursor, asked.disk, asked.recent, lambda: next(lists))
    assert asked("SELECT count(*) FROM signals") == [[4]]
    asked.files = [gone]
    asked.ask = Ask(asked.relations.cursor, asked.disk, asked.recent, lambda: asked.files)
    with pytest.raises(QuestionError, match=r"gone\.parquet"):
        asked("SELECT count(*) FROM signals")
