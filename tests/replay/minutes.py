"""Minutes for the tests of replays: events into the stream, from there into the warehouse, and what is there then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from include.aws import client
from include.events import Event, Window
from include.pipeline.audit import audit
from include.pipeline.land import land
from include.pipeline.load import load
from include.settings import Settings
from include.stream.producer import put_records
from include.warehouse.db import connect

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)
TODAY = Window(NOW - 3 * HOUR, NOW + HOUR)


def quote(symbol: str, price: Any, seconds: int = 0, **fields: Any) -> Event:
    """A quote of a minute ago, or so many seconds later."""
    at = NOW - timedelta(seconds=60) + timedelta(seconds=seconds)
    source = fields.pop("source", "simulator")
    return Event(source, "quote", symbol, fields.pop("at", at), "", {"price": price, **fields}, at)


def send(settings: Settings, *events: Event | bytes) -> None:
    """Into the stream; bytes as they are."""
    records = [(one.symbol, one.to_json()) if isinstance(one, Event) else ("broken", one) for one in events]
    report = put_records(client(settings, "kinesis"), settings.stream, records)
    assert not report.failed, report


def minute(settings: Settings, *events: Event | bytes) -> None:
    """Into the stream, the lake and the warehouse, judged."""
    send(settings, *events)
    land(settings)
    load(settings)
    audit(settings)


def query(settings: Settings, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with connect(settings) as conn:
        return conn.execute(sql, values).fetchall()


def do(settings: Settings, sql: str, *values: Any) -> None:
    """A statement that gives no rows."""
    with connect(settings) as conn:
        conn.execute(sql, values)


def prices(settings: Settings) -> list[tuple[str, float]]:
    """The accepted events, (symbol, price), in the order of their prices."""
    return query(settings, "select symbol, (payload ->> 'price')::float as price from raw.market_events order by 2, 1")


def quarantine(settings: Settings) -> list[tuple[str, str]]:
    """What lies in quarantine: (how its reason begins, 'released' or 'open')."""
    return query(
        settings,
        "select left(reason, 7), case when released_by is null then 'open' else 'released' end "
        "from raw.rejected_events order by rejected_id",
    )


def keys(settings: Settings) -> list[str]:
    """The raw objects of the stream, in the order in which they were landed."""
    return [key for (key,) in query(settings, "select s3_key from ops.stream_ranges order by range_id")]
