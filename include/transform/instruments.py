"""Keeping `ops.instruments` equal to the file of instruments."""

from __future__ import annotations

import hashlib
from typing import Final

import psycopg

from include.instruments import load_instruments
from include.settings import Settings

OUTDATED: Final = "outdated"


def sync_instruments(conn: psycopg.Connection, settings: Settings) -> None:
    """Bring the file into `ops.instruments` if it changed.

    An instrument that the file no longer lists goes, unless there are events of it. If a known one has another primary
    source now, the indicators are noted as outdated. Raises ConfigError if the file is wrong.
    """
    path = settings.instruments_file
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    if recall(conn, "instruments") == digest:
        return
    rows = [
        (one.symbol, one.asset_class, one.currency, one.calendar, one.primary_source) for one in load_instruments(path)
    ]
    with conn.transaction():
        before: dict[str, str] = dict(conn.execute("select symbol, primary_source from ops.instruments").fetchall())
        with conn.cursor() as cursor:
            cursor.executemany(
                "insert into ops.instruments (symbol, asset_class, currency, calendar, primary_source) "
                "values (%s, %s, %s, %s, %s) on conflict (symbol) do update set asset_class = excluded.asset_class, "
                "currency = excluded.currency, calendar = excluded.calendar, primary_source = excluded.primary_source",
                rows,
            )
        conn.execute(
            "delete from ops.instruments as i where symbol <> all(%s) "
            "and not exists (select 1 from raw.market_events as e where e.symbol = i.symbol)",
            [[row[0] for row in rows]],
        )
        if any(before.get(row[0], row[4]) != row[4] for row in rows):
            remember(conn, "indicators", OUTDATED)
        remember(conn, "instruments", digest)


def recall(conn: psycopg.Connection, name: str) -> str | None:
    """What the warehouse was built from, as it was noted."""
    noted = conn.execute("select hash from ops.built_from where name = %s", [name]).fetchone()
    return str(noted[0]) if noted else None


def remember(conn: psycopg.Connection, name: str, digest: str) -> None:
    """Note in the warehouse what it was built from."""
    conn.execute(
        "insert into ops.built_from (name, hash) values (%s, %s) on conflict (name) do update set hash = excluded.hash",
        [name, digest],
    )
