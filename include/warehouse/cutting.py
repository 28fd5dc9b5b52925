"""Large tables cut by time: the switch between Postgres's own partitions and TimescaleDB's hypertables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import sql

from include.errors import ConfigError, QuantStreamError

_IS_THERE: Final = """
select relkind = 'p' as is_partitioned from pg_class where oid = to_regclass(%s)
"""
_AVAILABLE: Final = "select installed_version, default_version from pg_available_extensions where name = 'timescaledb'"


@dataclass(frozen=True, slots=True)
class CutTable:
    """A table that is cut by the time in `column`. `order_by`: the rest of its key beside that and the symbol."""

    name: str
    column: str
    order_by: tuple[str, ...] = ()


EVENTS: Final = CutTable("raw.market_events", "event_time", ("source", "kind", "vendor_id", "payload_hash"))


def install_timescale(conn: psycopg.Connection) -> str:
    """Make the extension in the warehouse if it is not there, as its owner; its version.

    Raises ConfigError naming what the server lacks. `conn` must be a new one: the extension is loaded by its first
    statement.
    """
    row = conn.execute(_AVAILABLE).fetchone()
    if row is None:
        raise ConfigError(
            "this Postgres has no TimescaleDB: use the image in docker-compose.yml, or install it on the server "
            "(docs/timescale.md)"
        )
    installed, default = row
    if installed is None:
        try:
            conn.execute("create extension timescaledb schema public")
        except psycopg.Error as error:
            raise ConfigError(
                f"the extension timescaledb {default} cannot be made: {error.diag.message_primary}. A superuser does "
                "it, in the warehouse, and the server must preload it: create extension timescaledb schema public"
            ) from None
    # A late day may touch more rows of compressed chunks than TimescaleDB unpacks in one transaction by default.
    conn.execute(
        sql.SQL("alter database {} set timescaledb.max_tuples_decompressed_per_dml_transaction = 0").format(
            sql.Identifier(conn.info.dbname)
        )
    )
    return str(installed or default)


def to_hypertables(
    conn: psycopg.Connection,
    marts: Sequence[CutTable],
    *,
    chunk_days: int,
    compress_days: int,
    progress: Callable[[str, int], object] | None = None,
) -> dict[str, int]:
    """Turn partitioned tables into hypertables, with their rows; how many each has. Those that are stay.

    `conn` is the owner's. A table is a transaction of its own, so a run that died goes on with the next one. The events
    come last: what is made anew meanwhile is partitioned, and the next run turns it.
    """
    done: dict[str, int] = {}
    for table in (*marts, EVENTS):
        if conn.execute(_IS_THERE, [table.name]).fetchone() == (True,):
            with conn.transaction():
                done[table.name] = _cut(conn, table, f"{chunk_days} days")
            if progress is not None:
                progress(table.name, done[table.name])
    for table in (*marts, EVENTS):  # also where the settings changed since
        if conn.execute(_IS_THERE, [table.name]).fetchone() == (False,):
            conn.execute(
                "select ops.compress_by_symbol(%s::regclass, %s, %s, %s)",
                [table.name, table.column, list(table.order_by), compress_days],
            )
    return done


def to_partitions(
    conn: psycopg.Connection, marts: Sequence[CutTable], *, progress: Callable[[str, int], object] | None = None
) -> dict[str, int]:
    """Turn hypertables back into partitioned tables; the rows of each. Compressed rows need their full room."""
    done: dict[str, int] = {}
    for table in (EVENTS, *marts):
        if conn.execute(_IS_THERE, [table.name]).fetchone() == (False,):
            with conn.transaction():
                done[table.name] = _cut(conn, table, None)
            if progress is not None:
                progress(table.name, done[table.name])
    return done


def _cut(conn: psycopg.Connection, table: CutTable, chunk: str | None) -> int:
    row = conn.execute(
        "select ops.cut_by_time(%s::regclass, %s, %s::interval)", [table.name, table.column, chunk]
    ).fetchone()
    if row is None:
        raise QuantStreamError(f"{table.name} was not made anew")
    return int(row[0])
