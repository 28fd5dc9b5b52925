"""Who fell silent while the source goes on is told once, while it lasts, and it is over with the next candle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from include.pipeline.silence import RULE, watch_silences
from include.settings import Settings
from include.warehouse.db import connect
from tests.transform.marts import make_room

pytestmark = pytest.mark.stack
T0 = datetime(2026, 1, 2, 20, 0, tzinfo=UTC)  # 15:00 in New York, a Friday: the exchange closes at minute 60


def minute(number: int) -> datetime:
    return T0 + timedelta(minutes=number)


@pytest.fixture
def conn(marts_settings: Settings) -> Iterator[psycopg.Connection]:
    with connect(marts_settings) as found:
        yield found


def put(conn: psycopg.Connection, minutes: Sequence[int], *symbols: str, source: str = "simulator") -> None:
    make_room(conn, "indicators_1m", map(minute, minutes))
    conn.cursor().executemany(
        "insert into marts.indicators_1m (symbol, candle_start, source, close, is_final) "
        "values (%s, %s, %s, 100, true)",
        [(symbol, minute(number), source) for symbol in symbols for number in minutes],
    )


def watch(conn: psycopg.Connection, until: int, *, minutes: int = 10, source: str = "simulator") -> int:
    """Look once the source is complete until then; its own sessions are always open if it is the simulator."""
    conn.execute(
        "insert into ops.watermarks values (%s, %s) on conflict (source) do update "
        "set complete_until = excluded.complete_until",
        [source, minute(until)],
    )
    with conn.transaction():
        return watch_silences(conn, minutes=minutes, always_open=["simulator"], now=minute(until))


def told(conn: psycopg.Connection) -> list[tuple[str, str]]:
    rows = conn.execute("select status, message from marts.alerts where rule = %s order by created_at", [RULE])
    return [(status, message) for status, message in rows]


def test_those_that_fell_silent_together_are_told_once_and_while_it_lasts(conn: psycopg.Connection) -> None:
    put(conn, range(60), "AAPL", "BTC-USD", "MSFT")
    put(conn, range(60, 75), "MSFT")
    assert watch(conn, 69) == 0  # nine minutes
    assert watch(conn, 70) == 1
    assert told(conn) == [
        (
            "open",
            "simulator answers, but has said nothing of AAPL, BTC-USD for 10 open minutes, since 2026-01-02 20:59 UTC",
        )
    ]
    assert watch(conn, 75) == 0  # said already
    put(conn, [75], "AAPL")
    assert watch(conn, 76) == 0
    assert [status for status, _ in told(conn)] == ["open"]  # BTC-USD is silent still
    put(conn, [76], "BTC-USD")
    assert watch(conn, 77) == 0
    assert [status for status, _ in told(conn)] == ["resolved"]
    events = conn.execute("select event from marts.alert_history order by seq").fetchall()
    assert [event for (event,) in events] == ["opened", "resolved"]
    assert conn.execute("select count(*) from ops.outbox").fetchone() == (1,)


def test_nobody_is_silent_when_the_exchange_is_closed_nor_where_candles_are_rare(conn: psycopg.Connection) -> None:
    conn.execute(
        "insert into ops.sessions values ('XNYS', '2026-01-02', %s, %s), ('XNYS', '2026-01-05', %s, %s)",
        [minute(-330), minute(60), T0 + timedelta(days=2, hours=18, minutes=30), T0 + timedelta(days=3, hours=1)],
    )
    put(conn, range(55), "AAPL", source="yahoo")  # five open minutes are without it
    put(conn, range(0, 60, 2), "MSFT", source="yahoo")  # every other minute, then none
    assert watch(conn, 600, source="yahoo") == 0
    assert watch(conn, 600, source="yahoo", minutes=5) == 1
    assert "AAPL for 5 open minutes" in told(conn)[0][1]


def test_a_source_that_is_behind_makes_nobody_silent(conn: psycopg.Connection) -> None:
    put(conn, range(60), "AAPL")
    put(conn, range(200), "BTC-USD", source="binance")
    assert watch(conn, 60) == 0
    assert watch(conn, 200, source="binance") == 0
    assert watch(conn, 200, minutes=0) == 0
