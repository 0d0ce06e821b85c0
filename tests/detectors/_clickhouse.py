"""What an engine of ours shows, in ClickHouse in this process; and a detector's SELECT there."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import sqlglot
from sqlglot import exp

from model.relations import RELATIONS
from model.views import VIEWS

if TYPE_CHECKING:
    import duckdb

_TYPES: Final = {
    pa.string(): "String",
    pa.int64(): "Int64",
    pa.int32(): "Int32",
    pa.int16(): "Int16",
    pa.uint64(): "UInt64",
    pa.float64(): "Float64",
    pa.bool_(): "Bool",
}

_SETTINGS: Final = {
    "join_use_nulls": 1,
    "aggregate_functions_null_for_empty": 1,
    "prefer_column_name_to_alias": 1,
    "allow_experimental_correlated_subqueries": 1,
}
"""Without them a left join finds zeros for nulls, and an absence is never found (DESIGN.md)."""

TABLES: Final = (*(one.name for one in RELATIONS), "marks", "rates", "gaps")


def translated(query: str) -> str:
    """Return DuckDB's *query* in ClickHouse's words."""
    tree = sqlglot.parse_one(query, read="duckdb")
    for one in list(tree.find_all(exp.PercentileCont, exp.Quantile)):
        value, share = one.this, one.args.get("quantile") or one.expression
        exact = exp.ParameterizedAgg(
            this="quantileExactInclusive", expressions=[share.copy()], params=[value.copy()]
        )
        one.replace(exact)
    return tree.sql(dialect="clickhouse")


class ClickHouse:
    """One engine in this process, with everything that *reader* shows."""

    def __init__(self, reader: duckdb.DuckDBPyConnection) -> None:
        import clickhouse_connect  # noqa: PLC0415 - 400 MB: only for this

        # chdb blocks SIGPIPE as it is loaded: every child of this process would have it blocked too
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._client: Any = clickhouse_connect.get_client(dsn="chdb://memory")
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for name in TABLES:
            self._load(name, reader.sql(f"SELECT * FROM {name}").to_arrow_table())
        for relation in RELATIONS:
            self._view(f"open_{relation.name}", f"SELECT * FROM {relation.name} WHERE NOT closed")
        for name, query in VIEWS.items():
            self._view(name, query)

    def _load(self, name: str, rows: pa.Table) -> None:
        columns = ", ".join(f"`{one.name}` Nullable({_TYPES[one.type]})" for one in rows.schema)
        self._client.command(f"CREATE TABLE {name} ({columns}) ENGINE = Memory")
        if rows.num_rows:
            self._client.insert_arrow(name, rows)

    def _view(self, name: str, query: str) -> None:
        self._client.command(f"CREATE VIEW {name} AS {translated(query)}", settings=_SETTINGS)

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Return the rows of DuckDB's *query*."""
        found = self._client.query(translated(query), settings=_SETTINGS)
        return [dict(zip(found.column_names, row, strict=True)) for row in found.result_rows]

    def close(self) -> None:
        """Let go of the engine."""
        self._client.close()
