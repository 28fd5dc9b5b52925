"""Raw objects for tests: events as landing writes them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import psycopg

from include.aws import client
from include.events import Event
from include.lake import raw
from include.settings import Settings

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def trade(symbol: str, at: str, price: Any, size: Any = 1, vendor_id: str = "", **more: Any) -> bytes:
    """A trade of the simulator, received when it happened: `trade("BTC-USD", "2026-03-02T10:00", 100.5)`."""
    time = datetime.fromisoformat(at).replace(tzinfo=UTC)
    payload = {"price": price, "size": size, "side": "buy"} | more
    return _stamped(Event("simulator", "trade", symbol, time, vendor_id, payload, time))


def quote(symbol: str, at: str, price: Any, **more: Any) -> bytes:
    """A line with a quote of the simulator."""
    time = datetime.fromisoformat(at).replace(tzinfo=UTC)
    received_at, source = more.pop("received_at", time), more.pop("source", "simulator")
    return _stamped(Event(source, "quote", symbol, time, "", {"price": price} | more, received_at))


def put(settings: Settings, day: str, name: str, lines: Iterable[bytes], hour: str = "12") -> str:
    """An object of an arrival day; its key."""
    key = f"raw/dt={day}/hh={hour}/{name}.jsonl.gz"
    raw.put_once(client(settings, "s3"), settings.bucket, key, raw.encode(lines))
    return key


def ledger(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    assert settings.warehouse_dsn is not None
    with psycopg.connect(settings.warehouse_dsn.get_secret_value(), autocommit=True) as conn:
        return conn.execute(query.encode()).fetchall()


def _stamped(event: Event) -> bytes:
    return raw.line(event.to_json(), "1", event.received_at)
