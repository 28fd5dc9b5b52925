"""Adjusted candles: factors by hand, and the split of AAPL on 2014-06-09 in real bars."""

from __future__ import annotations

import csv
import gzip
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg
import pytest

from tests.analytics.pictures import asked, day_candles, minute_candles

ADJUSTED = (
    "select session_date::text, round(close::numeric, 6)::float8, volume, split_factor, dividend_factor "
    "from marts.candles_1d_adjusted where symbol = '{}' order by session_date"
)


def listed(conn: psycopg.Connection, *actions: tuple[object, ...]) -> None:
    conn.cursor().executemany(
        "insert into ops.listed_actions (symbol, ex_date, action, ratio, amount) values (%s, %s, %s, %s, %s)", actions
    )


def yahoo(conn: psycopg.Connection, symbol: str, time: str, received: str, what: str, payload: str) -> None:
    conn.execute(
        "insert into raw.market_events (source, kind, symbol, event_time, vendor_id, payload_hash, payload, "
        "received_at, load_id) values ('yahoo', 'action', %s, %s, %s, md5(%s)::uuid, %s, %s, 0)",
        [symbol, time, what, payload, payload, received],
    )


def test_candles_before_a_split_and_a_dividend_are_adjusted(marts: psycopg.Connection) -> None:
    days = [(date(2026, 3, day), close) for day, close in ((2, 100), (3, 104), (4, 51), (5, 50), (6, 49))]
    day_candles(marts, "MSFT", days)
    listed(marts, ("MSFT", "2026-03-04", "split", 2, None), ("MSFT", "2026-03-06", "dividend", None, 1))
    assert asked(marts, ADJUSTED.format("MSFT")) == [
        ("2026-03-02", 49.0, 20, 0.5, 0.98),  # 100 / 2 * (1 - 1 / 50)
        ("2026-03-03", 50.96, 20, 0.5, 0.98),
        ("2026-03-04", 49.98, 10, 1, 0.98),
        ("2026-03-05", 49.0, 10, 1, 0.98),
        ("2026-03-06", 49.0, 10, 1, 1),
    ]
    assert asked(marts, "select close from marts.candles_1d where symbol = 'MSFT' order by candle_start limit 2") == [
        (100,), (104,)
    ]  # fmt: skip


def test_both_on_one_day_and_a_dividend_of_yahoo_from_before_a_split(marts: psycopg.Connection) -> None:
    day_candles(marts, "NVDA", [(date(2026, 3, day), close) for day, close in ((2, 80), (3, 80), (4, 19), (5, 19))])
    # of 0.80 a share; Yahoo, asked after the split of 4:1, says 0.20. The split's own day pays 0.50 of the new shares.
    yahoo(marts, "NVDA", "2026-03-03 14:30Z", "2026-03-09Z", "dividend", '{"amount": 0.2}')
    yahoo(marts, "NVDA", "2026-03-04 14:30Z", "2026-03-09Z", "split", '{"numerator": 4, "denominator": 1}')
    yahoo(marts, "NVDA", "2026-03-04 14:30Z", "2026-03-09Z", "dividend", '{"amount": 0.5}')
    assert asked(
        marts, "select ex_date::text, split_ratio, dividend::float8, previous_close, split_factor, "
        "round(dividend_factor::numeric, 9)::float8 from marts.adjustments where symbol = 'NVDA' order by 1",
    ) == [("2026-03-03", None, 0.8, 80, 0.25, 0.96525), ("2026-03-04", 4, 0.5, 20, 0.25, 0.975)]  # fmt: skip


def test_a_listed_action_comes_before_that_of_a_source(marts: psycopg.Connection) -> None:
    yahoo(marts, "JPM", "2026-03-04 14:30Z", "2026-03-04 15:00Z", "split", '{"numerator": 3, "denominator": 1}')
    listed(marts, ("JPM", "2026-03-04", "split", 1.5, None), ("NOBODY", "2026-03-04", "split", 2, None))
    assert asked(marts, "select source, ratio from marts.corporate_actions where symbol = 'JPM' order by 1") == [
        ("file", 1.5), ("yahoo", 3)
    ]  # fmt: skip
    assert asked(marts, "select symbol, split_ratio from marts.adjustments where symbol in ('JPM', 'NOBODY')") == [
        ("JPM", 1.5)
    ]


def test_a_dividend_without_a_close_before_it_or_above_it_counts_as_none(marts: psycopg.Connection) -> None:
    day_candles(marts, "XOM", [(date(2026, 3, 4), 10), (date(2026, 3, 5), 10)])
    listed(marts, ("XOM", "2026-03-04", "dividend", None, 1), ("XOM", "2026-03-05", "dividend", None, 11))
    factors = "select previous_close, dividend_factor from marts.adjustments where symbol = 'XOM' order by 1"
    assert asked(marts, factors) == [(10, 1), (None, 1)]


@pytest.mark.data
def test_the_split_of_aapl_leaves_no_step(marts: psycopg.Connection, shared_data: Path) -> None:
    text = gzip.decompress((shared_data / "candles" / "us_equity_1min_trades.csv.gz").read_bytes()).decode()
    bars = [row for row in csv.DictReader(text.splitlines()) if row["symbol"] == "AAPL"]
    times = [datetime.fromisoformat(row["ts_utc"]).astimezone(UTC) for row in bars]
    minute_candles(marts, "AAPL", [(time, float(row["close"])) for time, row in zip(times, bars, strict=True)])
    listed(marts, ("AAPL", "2014-06-09", "split", 7, None))
    steps = (
        "select max(abs(step)) from (select close / lag(close) over (order by candle_start) - 1 as step "
        "from marts.{} where symbol = 'AAPL') as steps"
    )
    ((raw,),), ((adjusted,),) = (
        asked(marts, steps.format("candles_1m")),
        asked(marts, steps.format("candles_1m_adjusted")),
    )
    assert raw > 0.8
    assert adjusted < 0.005
    # before the opening of the 9th too: those trades are in new shares
    assert asked(
        marts, "select round(split_factor * 7)::int, min(candle_start)::date::text, count(*) "
        "from marts.candles_1m_adjusted where symbol = 'AAPL' group by 1 order by 1",
    ) == [(1, "2014-06-05", sum(time < datetime(2014, 6, 9, 4, tzinfo=UTC) for time in times)),
          (7, "2014-06-09", sum(time > datetime(2014, 6, 9, 4, tzinfo=UTC) for time in times))]  # fmt: skip
