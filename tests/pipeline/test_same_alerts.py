"""However events come, live or backfilled, all rules find the same in the end as in all of them at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from include.events import Event
from include.pipeline.detect import detect
from include.settings import Settings
from include.transform.listings import sync_listings
from include.warehouse.db import connect
from tests.transform.events import DAY, accept, event
from tests.transform.marts import build
from tests.transform.test_order import forget

pytestmark = pytest.mark.stack

DAYS = 26  # a value at risk is told from twenty-one days
END = DAY + timedelta(days=DAYS)
NOW = END + timedelta(days=365)  # nobody was told: what somebody was told of keeps its key
LOADS = 4
SOURCES = ("replay", "simulator")
# Rules that speak often, of the few minutes that a day has here.
RULES = """
rules:
  change: {threshold: 2}
  move: {threshold: 1.5, minutes: 3}
  zscore: {threshold: 2}
  robust_zscore: {threshold: 3, window: 10}
  range_break: {threshold: 0.3, window: 60}
  vwap_deviation: {threshold: 0.7}
  bollinger_squeeze: {threshold: 0.9, window: 10}
  bollinger_break: {enabled: true, margin: 0}
  fat_finger: {threshold: 1.5, lasting: 1}
  volume_shock: {threshold: 2, deviations: 1, lasting: 1, window: 10}
  volatility_regime: {threshold: 1.5, window: 10}
  spread_blowout: {threshold: 2, minutes: 5}
  frozen_feed: {minutes: 2, window: 10, chance: 0.9}
  missing_data: {minutes: 1, window: 10, chance: 0.9}
  source_divergence: {threshold: 20, consecutive: 2}
  sma_cross: {enabled: true}
  ema_cross: {enabled: true}
  macd_cross: {enabled: true}
  rsi_extreme: {high: 70, low: 30}
  portfolio_drawdown: {threshold: 2, minutes: 300}
  portfolio_var: {confidence: 95, threshold: 0.5}
"""
POSITIONS = "portfolio,symbol,quantity,cost\nboth,AAPL,30,90\nboth,BTC-USD,40,90\n"
ALERTS = """
select concat_ws(' ', 'alert', rule, symbol, candle_start, last_candle, finding_count, severity, direction, value,
    peak_value, peak_candle, message, latest_message, status, resolved_at,
    alert_key, group_key, symbols::text)
from marts.alerts order by 1
"""


def days(chance: Random) -> list[Event]:
    """Trades and quotes of a coin around the clock, bars of a share when its exchange is open, and of two sources."""
    coin, share, events = 100.0, 100.0, []
    for day in range(DAYS):
        start = DAY + timedelta(days=day)
        for minute in sorted(chance.sample([*range(890, 910), *range(1425, 1440), *range(6)], 14)):
            coin *= 1 + chance.gauss(0, 0.01)
            spread = chance.choice([0.05, 0.05, 0.05, 0.4])
            sides = {"bid": round(coin - spread, 2), "ask": round(coin + spread, 2)}
            time = start + timedelta(minutes=minute)
            traded = {"price": round(coin, 2), "size": chance.choice([1, 2, 9])}
            events.append(event("trade", "BTC-USD", time, traded, vendor_id=str(minute)))
            quoted = {"price": traded["price"], **sides}
            for seconds in (1, 30):
                events.append(event("quote", "BTC-USD", time + timedelta(seconds=seconds), quoted, source="replay"))
        for minute in sorted(chance.sample(range(890, 905), 5)) if start.weekday() < 5 else []:
            share *= 1 + chance.gauss(0, 0.01)
            time = start + timedelta(minutes=minute)
            for source, price in (("replay", share), ("simulator", share * (1 + chance.choice([0, 0.004])))):
                prices = dict.fromkeys(("open", "high", "low", "close"), round(price, 2))
                events.append(event("bar", "AAPL", time, {"resolution": "1m", "volume": 10, **prices}, source=source))
    return events


@dataclass(frozen=True)
class Delivery:
    """A load, up to when the sources are complete with it, its lane, and whether detection runs after it."""

    events: list[Event]
    complete: datetime
    lane: str
    is_looked_at: bool


def deliveries(chance: Random) -> list[Delivery]:
    """The same events in four loads, a share of them not when their time is."""
    astray = chance.choice([0.01, 0.1, 1])
    loads: list[list[Event]] = [[] for _ in range(LOADS)]
    for one in days(chance):
        in_time = (one.event_time - DAY).days * LOADS // DAYS
        loads[chance.randrange(LOADS) if chance.random() < astray else in_time].append(one)
    return [
        Delivery(
            load, END if number == LOADS - 1 else DAY + timedelta(days=chance.randrange(DAYS)),
            chance.choice(["live", "history"]), number == LOADS - 1 or chance.random() < 0.5,
        )
        for number, load in enumerate(loads)
    ]  # fmt: skip


@examples(max_examples=3, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6))
def test_all_rules_find_the_same_however_events_come(marts_settings: Settings, tmp_path: Path, seed: int) -> None:
    (tmp_path / "detection.yml").write_text(RULES)
    (tmp_path / "portfolios.csv").write_text(POSITIONS)
    settings = marts_settings.model_copy(
        update={"detection_file": tmp_path / "detection.yml", "portfolios_file": tmp_path / "portfolios.csv"}
    )
    delivered = deliveries(Random(seed))
    with connect(settings) as conn:
        sync_listings(conn, settings)
        begin_anew(conn)
        for one in delivered:
            accept(conn, one.events, dict.fromkeys(SOURCES, one.complete), is_live=one.lane == "live")
            build(settings)
            if one.is_looked_at:
                detect(settings, now=NOW)
        in_pieces = lines(conn)
        conn.execute(
            "insert into ops.detect_queue (symbol, lane, spans) "
            "select s, 'history', tstzmultirange(tstzrange(%s, %s)) from unnest(array['AAPL', 'BTC-USD']) as s",
            [DAY, END],
        )
        detect(settings, now=NOW)
        assert unlike(conn, in_pieces) == [], "looked at again, all of it at once"
        begin_anew(conn)
        everything = [event for one in delivered for event in one.events]
        everything.sort(key=lambda one: one.event_time)
        accept(conn, everything, dict.fromkeys(SOURCES, END), is_live=False)
        build(settings)
        detect(settings, now=NOW)
        assert unlike(conn, in_pieces) == [], "delivered in order, as one load"


def lines(conn: psycopg.Connection) -> list[str]:
    """Every finding and every alert with what it says."""
    found = conn.execute(
        "select concat_ws(' ', 'finding', rule, symbol, source, candle_start, scope, direction, value, threshold, "
        "severity, message, measures) from ops.findings order by 1"
    ).fetchall()
    assert len(found) > 500
    return [one for (one,) in [*found, *conn.execute(ALERTS)]]


def unlike(conn: psycopg.Connection, before: list[str]) -> list[str]:
    """The lines that are not among those of before, and those of before that are gone."""
    now = lines(conn)
    return sorted([f"now: {one}" for one in {*now} - {*before}] + [f"before: {one}" for one in {*before} - {*now}])


def begin_anew(conn: psycopg.Connection) -> None:
    forget(conn)
    conn.execute("truncate marts.alerts, marts.alert_history, ops.outbox, ops.findings, ops.judged, ops.judged_days")
