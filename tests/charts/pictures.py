"""Candles and alerts as lines of text, and put into the marts as transforms leave them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import psycopg

from include.charts.series import Alert, Series, make_series
from include.warehouse.candles import Candle

DAY = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday


def at(text: str) -> datetime:
    """`"10:00"` on the day, `"+1 10:00"` on the next one; UTC."""
    days, _, clock = text.rpartition(" ")
    hours, minutes = clock.split(":")
    return DAY + timedelta(days=int(days or 0), hours=int(hours), minutes=int(minutes))


def candle(clock: str, prices: str, volume: float | None = None, *, source: str = "simulator") -> Candle:
    """`candle("10:00", "open high low close")`, or one price for all four."""
    numbers = [float(price) for price in prices.split()]
    opened, high, low, close = numbers if len(numbers) == 4 else numbers * 4
    return Candle(at(clock), source, opened, high, low, close, volume)


def closes(numbers: Iterable[float], start: str = "10:00", minutes: int = 1) -> list[Candle]:
    """Candles one after another that have only their close to tell."""
    first = at(start)
    return [
        Candle(first + timedelta(minutes=n * minutes), "simulator", close, close, close, close)
        for n, close in enumerate(map(float, numbers))
    ]


def series(candles: list[Candle], *alerts: tuple[str, str, str], resolution: str = "1m", **others: object) -> Series:
    """A series to draw; alerts as (clock, rule, direction)."""
    told = [Alert(at(clock), rule, direction) for clock, rule, direction in alerts]
    return make_series("BTC-USD", resolution, candles, alerts=told, currency="USD", **others)  # type: ignore[arg-type]


def store(
    conn: psycopg.Connection, candles: Iterable[Candle], *, symbol: str = "BTC-USD", resolution: str = "1m"
) -> None:
    """Into `marts.candles_<resolution>`, the instrument known with the fallback `kraken` behind `coinbase`."""
    conn.execute(
        "insert into ops.instruments (symbol, asset_class, currency, calendar, primary_source, fallbacks) "
        "values (%s, 'crypto', 'USD', '24/7', 'coinbase', '{kraken}') on conflict (symbol) "
        "do update set primary_source = excluded.primary_source, fallbacks = excluded.fallbacks",
        [symbol],
    )
    for one in candles:
        conn.execute(
            f"insert into marts.candles_{resolution} (symbol, source, candle_start, open, high, low, close, volume, "
            "basis, is_final) values (%s, %s, %s, %s, %s, %s, %s, %s, 'bar', %s)",
            [
                symbol, one.source, one.candle_start, one.open, one.high, one.low, one.close, one.volume,
                one.is_final,
            ],
        )  # fmt: skip


def alert(
    conn: psycopg.Connection,
    clock: str,
    rule: str,
    direction: str,
    *,
    symbol: str = "BTC-USD",
    category: str = "market",
) -> None:
    conn.execute(
        "insert into marts.alerts (alert_key, rule, category, symbol, candle_start, severity, direction, message) "
        "values (gen_random_uuid(), %s, %s, %s, %s, 'info', %s, 'said')",
        [rule, category, symbol, at(clock), direction],
    )
