"""Events -> typed columns, by the staging views and nothing else, without touching a row of the warehouse.

dbt's views read raw.events. Here a temporary table stands in its place, under temporary copies of the views (their
definitions are read from the database, so a mended view is a mended column). Temporary tables write no log, leave
nothing behind for autovacuum in tables that the minute works with, and are gone with the session.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import psycopg
from psycopg import sql

from include.errors import TransformError
from include.warehouse.lines import Row

VIEWS: Final[Mapping[str, str]] = {
    "quote": "int_quotes__unioned",
    "trade": "int_trades__unioned",
    "bar": "int_bars__unioned",
    "action": "int_actions__unioned",
}

# The views below these, down to raw.events, each before those that read it.
_NEEDED: Final = """
with recursive needed (oid, depth) as (
    select to_regclass('intermediate.' || name)::oid, 0 from unnest(%s::text[]) as name
    union
    select d.refobjid, n.depth + 1
    from needed as n
    join pg_rewrite as r on r.ev_class = n.oid
    join pg_depend as d
        on d.objid = r.oid and d.classid = 'pg_rewrite'::regclass and d.refclassid = 'pg_class'::regclass
    join pg_class as c on c.oid = d.refobjid and c.relkind = 'v'
    where d.refobjid <> n.oid and d.refobjid <> 'raw.events'::regclass
)
select c.relname, pg_get_viewdef(c.oid)
from (select oid, max(depth) as depth from needed group by oid) as n
join pg_class as c on c.oid = n.oid
order by n.depth desc, c.relname
"""
# Names in these schemas are written without them in a view's definition, so in the copy they mean the copies.
_PATH: Final = "raw, staging, intermediate"
_COPY: Final = """
copy pg_temp.events (line_number, source, kind, symbol, event_time, vendor_id, payload_hash, payload, received_at,
    load_id, is_accepted) from stdin
"""
# What Postgres may say about one row's content; anything else is about the server and stops the work.
_REFUSED: Final = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.StatementTooComplex,
)


@dataclass(frozen=True, slots=True)
class Typed:
    """Rows of one kind as CSV without a header: times in UTC without a zone, NULL as an empty field."""

    kind: str
    csv: bytes


class TypedRows:
    """Makes typed rows out of events, some thousand at a time, in the session `conn`, which is for this alone."""

    def __init__(self, conn: psycopg.Connection, columns: Mapping[str, Sequence[str]]) -> None:
        """`columns`: for each kind the columns wanted. Raises TransformError where the models were never built."""
        self._conn, self._columns = conn, columns
        with conn.transaction():
            conn.execute(f"set local search_path = {_PATH}")
            views = conn.execute(_NEEDED, [list(VIEWS.values())]).fetchall()
            missing = sorted(set(VIEWS.values()) - {name for name, _ in views})
            if missing:
                raise TransformError(
                    f"the warehouse has no view {', '.join(missing)}: `quantstream up` or `quantstream provision` "
                    "builds the models"
                )
            conn.execute("create temporary table events on commit delete rows as select * from raw.events limit 0")
            for name, definition in views:
                copy = sql.SQL("create temporary view {} as {}").format(
                    sql.Identifier(name), sql.SQL(definition.rstrip().rstrip(";"))
                )
                conn.execute(copy)
        self.hash = sha256("\n".join(f"{name}: {definition}" for name, definition in views).encode()).hexdigest()
        """Of the views' definitions: another hash may make other columns of the same lines."""

    def typed(self, rows: Sequence[Row]) -> Iterator[Typed]:
        """The rows' typed columns, one piece per kind and source. A row may be missing: ask how many came."""
        with self._conn.transaction():
            self._fill(rows)
            for kind, source in sorted({(row.event.kind, row.event.source) for row in rows}):
                wanted = sql.SQL("copy (select {} from {} where source = {}) to stdout (format csv)").format(
                    sql.SQL(", ").join(map(_in_utc, self._columns[kind])),
                    sql.Identifier("pg_temp", VIEWS[kind]),
                    sql.Literal(source),
                )
                with self._conn.cursor().copy(wanted) as copy:
                    yield Typed(kind, b"".join(copy))

    def _fill(self, rows: Sequence[Row]) -> None:
        """COPY the rows; those that the server refuses are found by halving and left out."""
        try:
            with self._conn.transaction(), self._conn.cursor() as cursor, cursor.copy(_COPY) as copy:
                for number, _, event, payload, payload_hash in rows:
                    copy.write_row((
                        number, event.source, event.kind, event.symbol, event.event_time, event.vendor_id, payload_hash,
                        payload, event.received_at, 0, False,
                    ))  # fmt: skip
        except _REFUSED:
            if len(rows) > 1:
                middle = len(rows) // 2
                self._fill(rows[:middle])
                self._fill(rows[middle:])


def _in_utc(column: str) -> sql.Composable:
    name = sql.Identifier(column)
    if column.endswith(("_at", "_time")):
        return sql.SQL("{} at time zone 'UTC'").format(name)
    return sql.SQL("{}").format(name)
