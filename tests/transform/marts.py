"""Reading the marts in tests."""

from __future__ import annotations

from typing import Any

import psycopg

from include.settings import Settings
from include.transform.batch import close_batch
from include.transform.runner import BuildResult, build_all, build_changed
from include.warehouse.db import connect

TABLES = (
    "instruments", "quotes", "trades", "candles_1m", "candles_5m", "indicators_1m", "indicators_5m",
    "latest_quotes", "source_divergence", "corporate_actions",
)  # fmt: skip


def build(settings: Settings) -> BuildResult:
    """Build what the accepted loads changed, as the step does, without the audit of the marts."""
    result = build_changed(settings)
    with connect(settings) as conn, conn.transaction():
        close_batch(conn, result.loads)
    return result


def rebuild(settings: Settings) -> BuildResult:
    """Build everything anew from raw."""
    return build_all(settings, full_refresh=True)


def rows(conn: psycopg.Connection, query: str) -> list[tuple[Any, ...]]:
    return conn.execute(query).fetchall()  # type: ignore[call-overload, no-any-return]


def snapshot(conn: psycopg.Connection) -> dict[str, list[str]]:
    """All rows of all marts as text, so that 1.0 and 1.00 differ."""
    return {
        table: [row[0] for row in rows(conn, f"select m::text from marts.{table} as m order by 1")] for table in TABLES
    }
