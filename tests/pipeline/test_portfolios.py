"""What is said of a portfolio follows from all closes of its instruments, of that minute and of the days before."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from include.pipeline.detect import detect
from include.settings import Settings
from include.transform.listings import sync_listings
from include.warehouse.db import connect
from tests.analytics.pictures import day_candles, newest
from tests.transform.marts import make_room

pytestmark = pytest.mark.stack

DAY = datetime(2026, 3, 2, tzinfo=UTC)
NOW = DAY + timedelta(days=400)
RULES = """
rules:
  portfolio_drawdown: {threshold: 2, minutes: 300}
  portfolio_var: {confidence: 95}
"""
Closes = dict[tuple[str, datetime], float]


@pytest.fixture
def held(marts_settings: Settings, tmp_path: Path) -> Settings:
    """A portfolio of one share and one coin, and the rules on portfolios."""
    detection, portfolios = tmp_path / "detection.yml", tmp_path / "portfolios.csv"
    detection.write_text(RULES)
    portfolios.write_text("portfolio,symbol,quantity,cost\nboth,AAPL,1,90\nboth,BTC-USD,1,90\n")
    settings = marts_settings.model_copy(update={"detection_file": detection, "portfolios_file": portfolios})
    with connect(settings) as conn:
        sync_listings(conn, settings)
    return settings


def at(day: int, clock: str) -> datetime:
    hours, minutes = clock.split(":")
    return DAY + timedelta(days=day, hours=int(hours), minutes=int(minutes))


def come(conn: psycopg.Connection, closes: Closes) -> None:
    """These candles are there now, and queued, as the transform does it; a day closes at its last candle."""
    make_room(conn, "indicators_1m", (start for _, start in closes))
    days: dict[tuple[str, date], None] = {}
    for (symbol, start), close in closes.items():
        newest(conn, symbol, [(start, close)], close)
        days[symbol, start.date()] = None
        conn.execute(
            "insert into ops.detect_queue as q (symbol, lane, spans) "
            "values (%s, 'history', tstzmultirange(tstzrange(%s, %s))) "
            "on conflict (symbol, lane) do update set spans = q.spans + excluded.spans, version = q.version + 1",
            [symbol, start, start + timedelta(minutes=1)],
        )
    for symbol, day in days:
        conn.execute("delete from marts.candles_1d where symbol = %s and session_date = %s", [symbol, day])
        ((close,),) = conn.execute(
            "select close from marts.indicators_1m where symbol = %s and candle_start >= %s::date "
            "and candle_start < %s::date + 1 order by candle_start desc limit 1",
            [symbol, day, day],
        )
        day_candles(conn, symbol, [(day, close)])


def found(conn: psycopg.Connection) -> list[str]:
    rows = conn.execute(
        "select rule, to_char(candle_start, 'MM-DD HH24:MI'), message from ops.findings where scope = 'portfolio' "
        "order by candle_start, rule"
    )
    return [" ".join(row) for row in rows]


def test_a_late_close_counts_until_the_next_one_of_its_instrument(held: Settings) -> None:
    """The share's last close of Friday is what it is worth all weekend."""
    friday, sunday, monday = 4, 6, 7
    with connect(held) as conn:
        come(conn, {("AAPL", at(friday, "20:00")): 900, ("AAPL", at(monday, "14:30")): 900})
        come(conn, {("BTC-USD", at(friday, "20:00")): 100})
        come(conn, {("BTC-USD", at(sunday, "22:00")): 100, ("BTC-USD", at(sunday, "22:01")): 95})
        detect(held, now=NOW)
        assert found(conn) == []
        come(conn, {("AAPL", at(friday, "20:59")): 50})
        detect(held, now=NOW)
        assert found(conn) == [
            "portfolio_drawdown 03-06 20:59 worth 150.00, 85.0 % below its highest value 1,000.00 (limit 2 %)",
            "portfolio_drawdown 03-08 22:01 worth 145.00, 3.3 % below its highest value 150.00 (limit 2 %)",
        ]


def test_a_changed_daily_close_changes_the_value_at_risk_of_the_days_after(held: Settings) -> None:
    steady: Closes = {("AAPL", at(day, "15:00")): 100 + day % 2 for day in range(30)}
    steady |= {("BTC-USD", at(day, "15:00")): 100 for day in range(30)}
    with connect(held) as conn:
        come(conn, {**steady, ("BTC-USD", at(29, "15:00")): 97})
        detect(held, now=NOW)
        assert found(conn) == [
            "portfolio_var 03-31 15:00 worth 198.00, 1.0 % less than at the end of the day before; "
            "the value at risk of a day (95 %) is 0.5 %"
        ]
        come(conn, {("BTC-USD", at(3, "23:00")): 90, ("BTC-USD", at(5, "23:00")): 90})  # lively days, it turns out
        detect(held, now=NOW)
        assert found(conn) == []


def test_another_position_is_no_reason_to_look_at_the_past_again(held: Settings) -> None:
    """It counts from now on, as a changed threshold does."""
    with connect(held) as conn:
        come(conn, {("AAPL", at(day, "15:00")): 100 + day % 2 for day in range(30)})
        come(conn, {("BTC-USD", at(day, "15:00")): 97 if day == 29 else 100 for day in range(30)})
        detect(held, now=NOW)
        before = found(conn)
        assert len(before) == 1
        held.portfolios_file.write_text("portfolio,symbol,quantity,cost\nboth,AAPL,100,90\nboth,BTC-USD,1,90\n")
        sync_listings(conn, held)
        come(conn, {("BTC-USD", at(30, "15:00")): 100})
        detect(held, now=NOW)
        assert found(conn) == before


@examples(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6))
def test_in_any_pieces_and_any_order_the_same_is_found(held: Settings, seed: int) -> None:
    held.detection_file.write_text(RULES.replace("95", "95, threshold: 0.5"))
    chance = Random(seed)
    closes: Closes = {}
    price = {"AAPL": 100.0, "BTC-USD": 100.0}
    for day in range(28):
        for symbol in ("AAPL", "BTC-USD") if chance.random() < 0.7 else ("BTC-USD",):
            for minute in sorted(chance.sample(range(0, 1440, 60), 3)):
                price[symbol] *= 1 + chance.gauss(0, 0.01)
                closes[symbol, DAY + timedelta(days=day, minutes=minute)] = round(price[symbol], 2)
    late = dict(chance.sample(sorted(closes.items()), 3))
    pieces = [{key: close for key, close in closes.items() if key not in late}, *({key: late[key]} for key in late)]
    if chance.random() < 0.3:
        chance.shuffle(pieces)
    with connect(held) as conn:
        begin_anew(conn)
        for piece in pieces:
            come(conn, piece)
            detect(held, now=NOW)
        in_pieces = found(conn)
        begin_anew(conn)
        come(conn, closes)
        detect(held, now=NOW)
        assert found(conn) == in_pieces


def begin_anew(conn: psycopg.Connection) -> None:
    conn.execute(
        "truncate marts.alerts, marts.alert_history, ops.outbox, ops.findings, ops.judged, ops.judged_days, "
        "ops.detect_queue, marts.indicators_1m, marts.candles_1d"
    )
