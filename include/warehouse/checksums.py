"""Checksums of the marts: whether two warehouses tell analysts the same, whatever order their rows lie in.

What says when we did something (received, loaded, found, sent it) is left out: a replay does it at another time. So is
what operations had to say, and alerts that were told and then taken back; the others of the market are in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import sql

# About us and not about the market: when we saw it, and what became of it.
_OURS: Final = frozenset({"received_at", "loaded_at", "created_at", "updated_at", "found_at", "sent_at"})
_OURS_IN: Final[Mapping[str, frozenset[str]]] = {
    "alerts": frozenset(  # whether somebody was told, and what people did
        {
            "state", "status", "updates", "acknowledged_at", "acknowledged_by", "resolved_at", "resolved_by",
            "raised_to", "told_by", "escalations", "escalated_at", "latency_seconds",
        }
    )
}  # fmt: skip
_ONLY: Final[Mapping[str, str]] = {"alerts": "category = 'market' and not is_withdrawn"}

_COLUMNS: Final = """
select c.relname, array_agg(a.attname::text order by a.attname),
       array_agg(a.attname::text) filter (where a.atttypid = 'numeric'::regtype)
from pg_class as c
inner join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace = 'marts'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition
  and c.relname <> all(%s)
group by c.relname order by c.relname
"""

# What is made of the other marts as it is asked for: equal where they are. And what is about us: feeds, audits, what
# happened to alerts.
_NOT_COMPARED: Final = (
    "adjustments", "alert_history", "betas", "candles_1d_adjusted", "candles_1m_adjusted", "correlations",
    "correlations_1h", "correlations_rolling",
    "data_quality", "feed_health", "portfolio_history", "portfolio_value", "returns_1d", "session_summary",
    "source_comparison", "spread_statistics", "top_movers", "value_at_risk", "volume_by_hour",
)  # fmt: skip

# A sum, so that order does not count and a row that is there twice does; two hashes, so 128 bits.
_DIGEST: Final = """
select count(*), coalesce(sum(hashtextextended(line, 1)), 0), coalesce(sum(hashtextextended(line, 2)), 0)
from ({lines}) as lines
"""
_LINES: Final = "select row({columns})::text as line from marts.{mart} where {only}"
# Which minutes are missing is told, not in how many pieces: those are cut where the reason changes.
_GAPS: Final = """
select row(symbol, source, calendar, session_date, range_agg(tstzrange(gap_start, gap_end)))::text as line
from marts.gaps group by symbol, source, calendar, session_date
"""


@dataclass(frozen=True, slots=True)
class Checksum:
    """Rows of a mart, and a digest (32 hex digits) of what they say."""

    rows: int
    digest: str

    def __str__(self) -> str:
        return f"{self.rows} rows {self.digest}"


def mart_checksums(conn: psycopg.Connection) -> dict[str, Checksum]:
    """The checksum of each table and view in `marts` (analytics made of them apart), by name, all as of one moment.

    Equal numbers are equal however many zeros they end with; everything else counts exactly. `conn` must not be in a
    transaction.
    """
    with conn.transaction():
        conn.execute("set transaction isolation level repeatable read, read only")
        conn.execute("set local timezone to 'UTC'")
        conn.execute("set local extra_float_digits to 1")
        conn.execute("set local statement_timeout to 0")
        marts = conn.execute(_COLUMNS, [list(_NOT_COMPARED)]).fetchall()
        return {mart: _checksum(conn, mart, names, numerics or ()) for mart, names, numerics in marts}


def differences(before: Mapping[str, Checksum], after: Mapping[str, Checksum]) -> list[str]:
    """A line for each mart that is not the same; none if all are."""
    return [
        f"marts.{mart}: {before.get(mart, 'was not there')} before, {after.get(mart, 'is not there')} after"
        for mart in sorted({*before, *after})
        if before.get(mart) != after.get(mart)
    ]


def _checksum(conn: psycopg.Connection, mart: str, names: Sequence[str], numerics: Sequence[str]) -> Checksum:
    ours = _OURS | _OURS_IN.get(mart, frozenset())
    columns = sql.SQL(", ").join(
        sql.SQL("trim_scale({})" if name in numerics else "{}").format(sql.Identifier(name))
        for name in names
        if name not in ours
    )
    lines = sql.SQL(_GAPS if mart == "gaps" else _LINES).format(
        columns=columns, mart=sql.Identifier(mart), only=sql.SQL(_ONLY.get(mart, "true"))
    )
    row = conn.execute(sql.SQL(_DIGEST).format(lines=lines)).fetchone()
    assert row is not None  # noqa: S101  # an aggregate always gives a row
    rows, first, second = row
    return Checksum(rows, f"{int(first) % 2**64:016x}{int(second) % 2**64:016x}")
