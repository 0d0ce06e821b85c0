"""A SELECT of somebody else's over what the store holds, in an engine of its own.

It can neither change anything nor read anything else, and has bounds of memory and time: what
it needs of the hot relations is copied into a second engine, which is locked and then asked;
history is read there from its files. Whatever goes wrong there, the fold's engine is untouched.
"""

from __future__ import annotations

import re
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import duckdb

from collector.engine import new_engine
from collector.store import memory
from collector.store.checkpoint import SETTLING
from collector.store.disk import quoted
from model.relations import RELATIONS
from model.signals import COLUMNS, ESCAPE, SEPARATOR
from model.views import VIEWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pyarrow as pa

    from collector.store.disk import Disk, File
    from collector.store.recent import Recent
    from model.relation import Relation

MEMORY_BYTES: Final = 256 << 20
"""What one question may use, beside what the sidecar uses anyway."""

ANSWER_BYTES: Final = 16 << 20
"""An answer is cut at about so much."""

_HOT: Final = (*(one.name for one in RELATIONS), "marks", "rates", "gaps")
_WIDE: Final = ("attempts", "calls", "runs")
"""Relations of which only the columns that are named are copied, where that can be told."""

_CHUNK: Final = 1000
_TRIES: Final = 3
_AGAIN_S: Final = 0.02
_WORD: Final = re.compile(r"\w+")
_COUNT: Final = re.compile(r"\(\s*\*\s*\)")

_ATTRIBUTE: Final = f"""
CREATE MACRO attribute(keys, vals, wanted) AS replace(replace(
  string_split(vals, '{SEPARATOR}')[list_position(string_split(keys, '{SEPARATOR}'), wanted)],
  '{ESCAPE}s', '{SEPARATOR}'), '{ESCAPE}e', '{ESCAPE}')"""


class QuestionError(ValueError):
    """A question that cannot be answered; the message says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Columns (name, type) and rows; *more* where rows were left out."""

    columns: list[tuple[str, str]]
    rows: list[list[Any]]
    more: bool


class Ask:
    """Answers questions, one at a time."""

    def __init__(
        self,
        reader: Callable[[], duckdb.DuckDBPyConnection],
        disk: Disk,
        recent: Recent,
        segments: Callable[[], Iterable[File]],
    ) -> None:
        self._reader = reader
        self._disk = disk
        self._recent = recent
        self._segments = segments
        self._one = threading.Lock()

    def ask(self, query: str, *, rows_max: int, timeout_s: float) -> Answer:
        """Return the answer to the SELECT *query*: at most *rows_max* rows.

        Raises QuestionError: not one SELECT, not sound, too slow, too big; or another is being
        answered.
        """
        _one_select(query)
        if not self._one.acquire(timeout=timeout_s):
            msg = "another question is being answered: ask again when that is done"
            raise QuestionError(msg)
        try:
            for turn in range(_TRIES):
                try:
                    return self._asked(query, rows_max, timeout_s)
                except duckdb.IOException:
                    # segments were merged meanwhile, and a file is gone
                    if turn == _TRIES - 1:
                        raise
        except duckdb.InterruptException:
            msg = f"it took longer than {timeout_s:g} s: ask for less, or allow more time"
            raise QuestionError(msg) from None
        except duckdb.Error as error:
            if memory.is_short(error):
                msg = (
                    f"it needs more than {MEMORY_BYTES >> 20} MiB: name the columns, or ask for"
                    " fewer rows"
                )
                raise QuestionError(msg) from None
            raise QuestionError(str(error).strip()) from None
        finally:
            self._one.release()
        msg = "history changes faster than it can be read"
        raise QuestionError(msg)

    def _asked(self, query: str, rows_max: int, timeout_s: float) -> Answer:
        with ExitStack() as stack:
            engine = stack.enter_context(_engine())
            hot = stack.enter_context(self._reader())
            over, done = threading.Event(), threading.Event()
            stack.callback(done.set)
            threading.Thread(
                target=_end, args=(timeout_s, over, done, (engine, hot)), name="ask", daemon=True
            ).start()
            self._fill(engine, hot, query)
            engine.execute("SET enable_external_access = false")
            engine.execute("SET lock_configuration = true")
            if over.is_set():
                raise duckdb.InterruptException
            try:
                answer = _answer(engine.execute(query), rows_max)
            except RuntimeError:
                if over.is_set():  # while rows were handed over
                    raise duckdb.InterruptException from None
                raise
        if over.is_set():
            raise duckdb.InterruptException
        return answer

    def _fill(
        self, engine: duckdb.DuckDBPyConnection, hot: duckdb.DuckDBPyConnection, query: str
    ) -> None:
        """Give *engine* every table and view there is, and those that *query* names their rows."""
        words = _words(query)
        texts = [query]
        while more := [VIEWS[name] for name in VIEWS if name in words and VIEWS[name] not in texts]:
            texts += more
            words |= set[str]().union(*map(_words, more))
        every = "*" in _COUNT.sub("", query) or not words & {"select"} or "columns" in words
        for name in _HOT:
            empty = _empty(hot, name)
            _create(engine, name, empty)
            if name in words or f"open_{name}" in words:
                wanted = [
                    column
                    for column in empty.column_names
                    if every or name not in _WIDE or column in words or column == "closed"
                ]
                _insert(engine, hot, name, wanted)
            if "closed" in empty.column_names:
                engine.execute(f"CREATE VIEW open_{name} AS SELECT * FROM {name} WHERE NOT closed")
        for name, text in VIEWS.items():
            engine.execute(f"CREATE VIEW {name} AS {text}")
        engine.execute(_ATTRIBUTE)
        segments = quoted(self._disk.root / "segments")
        engine.execute(f"SET allowed_directories = ['{segments}']")
        self._past(engine, hot, words)

    def _past(
        self,
        engine: duckdb.DuckDBPyConnection,
        hot: duckdb.DuckDBPyConnection,
        words: set[str],
    ) -> None:
        segments = list(self._segments())

        def with_files(source: str, table: str) -> str:
            files = [one for one in segments if one.table == table]
            sources = [source, *([self._disk.sql(files)] if files else [])]
            # by name: segments of an older version may lack a column
            return " UNION ALL BY NAME ".join(f"SELECT * FROM {one}" for one in sources)

        for relation in SETTLING:
            name, settled = f"history_{relation.name}", f"settled_{relation.name}"
            empty = _empty(hot, settled)
            _create(engine, settled, empty)
            if name in words:
                _insert(engine, hot, settled, empty.column_names)
            every = with_files(settled, relation.name if name in words else "")
            engine.execute(f"CREATE VIEW {name} AS {_shown(relation, every)}")
        recent = self._recent.table()
        _create(engine, "recent", recent if "signals" in words else recent.slice(0, 0))
        every = with_files("recent", "signals" if "signals" in words else "")
        engine.execute(f"CREATE VIEW signals AS SELECT {', '.join(COLUMNS)} FROM ({every})")


def _one_select(query: str) -> None:
    """Raise QuestionError where *query* is not one SELECT."""
    try:
        with duckdb.connect() as parser:
            statements = parser.extract_statements(query)
    except duckdb.Error as error:
        raise QuestionError(str(error).strip()) from None
    if len(statements) != 1 or statements[0].type is not duckdb.StatementType.SELECT:
        msg = "it must be one SELECT"
        raise QuestionError(msg)


def _engine() -> duckdb.DuckDBPyConnection:
    return new_engine(
        memory_limit=f"{MEMORY_BYTES}B",
        temp_directory="",
        python_enable_replacements=False,
        autoinstall_known_extensions=False,
        autoload_known_extensions=False,
    )


def _end(
    timeout_s: float,
    over: threading.Event,
    done: threading.Event,
    engines: Iterable[duckdb.DuckDBPyConnection],
) -> None:
    """Interrupt *engines* when time is over, until *done*: between statements one is lost."""
    if done.wait(timeout_s):
        return
    over.set()
    while not done.wait(_AGAIN_S):
        for engine in engines:
            engine.interrupt()


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.lower()))


def _empty(hot: duckdb.DuckDBPyConnection, table: str) -> pa.Table:
    return hot.execute(f"SELECT * FROM {table} LIMIT 0").to_arrow_table()


def _create(engine: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    engine.register("given", rows)
    engine.execute(f"CREATE TABLE {name} AS SELECT * FROM given")
    engine.unregister("given")


def _insert(
    engine: duckdb.DuckDBPyConnection,
    hot: duckdb.DuckDBPyConnection,
    name: str,
    columns: list[str],
) -> None:
    """Copy *columns* of the hot table *name*, a part at a time."""
    names = ", ".join(columns)
    engine.register("given", hot.execute(f"SELECT {names} FROM {name}").to_arrow_reader(50_000))
    engine.execute(f"INSERT INTO {name} BY NAME SELECT * FROM given")
    engine.unregister("given")


def _shown(relation: Relation, every: str) -> str:
    flags = "".join(f", {flag}" for flag in relation.flags)
    return relation.shown(f"({every}) s", flags)


def _answer(asked: duckdb.DuckDBPyConnection, rows_max: int) -> Answer:
    columns = [(name, str(kind)) for name, kind, *_ in asked.description or ()]
    rows: list[list[Any]] = []
    size = 0
    reader: pa.RecordBatchReader = asked.to_arrow_reader(_CHUNK)
    for batch in reader:
        size += batch.nbytes
        rows += map(list, zip(*(column.to_pylist() for column in batch.columns), strict=True))
        if len(rows) > rows_max or size > ANSWER_BYTES:
            return Answer(columns, rows[:rows_max], more=True)
    return Answer(columns, rows, more=False)
