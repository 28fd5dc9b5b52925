"""Mutes: who is not to be told about what, and until when."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

_COLUMNS: Final = "mute_id, symbol, rule, asset_class, severity, from_at, until_at, reason, made_by"


def read_mutes(conn: psycopg.Connection, at: datetime) -> list[dict[str, Any]]:
    """Those that hold at this moment (UTC) or will, by number; rows by column."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            f"select {_COLUMNS} from ops.mutes where until_at > %s order by mute_id",  # noqa: S608
            [at],
        ).fetchall()


def add_mute(
    conn: psycopg.Connection,
    *,
    symbol: str | None,
    rule: str | None,
    asset_class: str | None,
    severity: str | None,
    from_at: datetime,
    until_at: datetime,
    reason: str | None,
    by: str,
) -> int:
    """Mute what all that is given matches, in `[from_at, until_at)` (UTC); its number."""
    row = conn.execute(
        "insert into ops.mutes (symbol, rule, asset_class, severity, from_at, until_at, reason, made_by) "
        "values (%s, %s, %s, %s, %s, %s, %s, %s) returning mute_id",
        [symbol, rule, asset_class, severity, from_at, until_at, reason, by],
    ).fetchone()
    assert row is not None  # noqa: S101  # an insert gives a row
    return int(row[0])


def end_mute(conn: psycopg.Connection, mute_id: int, at: datetime) -> bool:
    """The mute ends at that moment (UTC); whether there was one that held longer."""
    return (
        conn.execute(
            "update ops.mutes set until_at = greatest(from_at, %(at)s), kept_at = null "
            "where mute_id = %(id)s and until_at > %(at)s",
            {"id": mute_id, "at": at},
        ).rowcount
        > 0
    )
