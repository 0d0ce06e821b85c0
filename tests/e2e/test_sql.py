"""`zombiewatch sql`: what the running sidecar knows, for who can write a SELECT."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e._scheduler import QUICK, Scheduler
from tests.e2e._sidecar import Running, call, zombiewatch

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A sidecar that was told of two tasks, one of them lost."""
    with Running(tmp_path_factory.mktemp("sql"), QUICK) as sidecar:
        Scheduler(sidecar, queue="night").loses("lost")
        yield sidecar
        assert sidecar.stop() == 0, sidecar.log


def asked(sidecar: Running, *words: str) -> tuple[int, str, str]:
    done = zombiewatch("sql", *words, "--url", sidecar.url())
    return done.returncode, done.stdout, done.stderr


def test_the_answer_is_a_table_json_or_csv(told: Running) -> None:
    """For people, for programs, for spreadsheets."""
    query = "SELECT task, attempt, sign_us FROM open_attempts WHERE task = 'lost'"
    code, said, errors = asked(told, query)
    assert (code, errors) == (0, "")
    assert said.split()[:3] == ["task", "attempt", "sign_us"]
    assert "lost" in said
    answer = json.loads(asked(told, query, "--json")[1])
    assert [column["name"] for column in answer["columns"]] == ["task", "attempt", "sign_us"]
    assert answer["rows"] == [["lost", 1, None]]
    assert list(csv.reader(io.StringIO(asked(told, query, "--csv")[1]))) == [
        ["task", "attempt", "sign_us"],
        ["lost", "1", ""],
    ]


def test_sums_are_numbers_and_more_is_said(told: Running) -> None:
    """JSON has no decimals: whole numbers stay whole."""
    answer = json.loads(asked(told, "SELECT sum(n), 0.5::DECIMAL(3, 1) FROM rates", "--json")[1])
    assert answer["rows"][0][0] > 0
    assert answer["rows"][0][1] == 0.5
    code, said, errors = asked(told, "FROM range(5)", "--limit", "2")
    assert code == 0
    assert [line.strip() for line in said.splitlines() if line.strip().isdigit()] == ["0", "1"]
    assert errors == "There are more than 2 rows: --limit.\n"


def test_nothing_said_lists_the_tables(told: Running) -> None:
    """What there is to ask of, and its columns; nothing of how it is made."""
    listed = json.loads(asked(told, "--json")[1])["rows"]
    tables = {row[0]: row[1].split(", ") for row in listed}
    assert {"attempts", "open_runs", "learned", "marks", "signals", "history_calls"} <= set(tables)
    assert not any(name.startswith(("settled_", "recent")) for name in tables)
    assert "sign_last_seen_us" in tables["attempts"]


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("DROP TABLE attempts", "it must be one SELECT"),
        ("SELECT * FROM read_csv('/etc/passwd')", "Cannot access file"),
        ("SELECT tsk FROM attempts", '"task"'),
    ],
)
def test_what_cannot_be_answered_is_one_clear_error(told: Running, query: str, why: str) -> None:
    """Exit status 1, and the engine's own words where they help."""
    code, said, errors = asked(told, query)
    assert (code, said) == (1, "")
    assert errors.startswith("zombiewatch: ")
    assert why in errors


def test_only_json_is_taken(told: Running) -> None:
    """A form on somebody else's page can ask nothing."""
    url = f"{told.url()}/api/v1/sql"
    answer = call("POST", url, b'{"query":"SELECT 1"}', {"Content-Type": "text/plain"})
    assert answer.status == 415
    for body in (b"{}", b"[]", b'{"query":"SELECT 1","limit":0}', b'{"query":"x","timeout_s":99}'):
        assert call("POST", url, body, {"Content-Type": "application/json"}).status == 400


@pytest.mark.slow
def test_who_allows_it_long_waits_for_it(told: Running) -> None:
    """Longer than other answers are waited for: it is the sidecar that says when time is over."""
    code, said, errors = asked(
        told, "SELECT count(*) FROM range(1000000000) a, range(1000000) b", "--timeout", "12"
    )
    assert (code, said) == (1, "")
    assert "it took longer than 12 s" in errors
