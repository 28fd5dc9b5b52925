"""What is read from the marts for a chart, as the analyst."""

from __future__ import annotations

import math
from datetime import datetime

import psycopg
import pytest

from include.charts import series as reading
from include.charts.series import Alert, Request, Series, read
from include.errors import ConfigError
from include.settings import Settings
from include.warehouse.candles import NoCandlesError, resolutions
from include.warehouse.db import connect
from tests.charts.pictures import alert, at, candle, closes, store

pytestmark = pytest.mark.stack


def shown(found: Series) -> list[str]:
    """`10:00 simulator 5`: when, whose, and the close."""
    return [f"{start:%H:%M} {row.source} {row.close:g}" for start, row in found.candles.iterrows()]


def clocks(found: Series) -> list[str]:
    return [f"{start:%H:%M}" for start in found.candles.index]


def test_the_last_candles_are_shown_in_order(conn: psycopg.Connection, analyst: psycopg.Connection) -> None:
    store(conn, closes(range(130), "10:00"))
    assert clocks(read(analyst, Request("BTC-USD", candles=3))) == ["12:07", "12:08", "12:09"]
    assert len(read(analyst, Request("BTC-USD")).candles) == 120
    assert clocks(read(analyst, Request("BTC-USD", candles=2, end=at("10:05")))) == ["10:03", "10:04"]


def test_a_range_is_shown_whole_and_its_end_is_not_in_it(conn: psycopg.Connection, analyst: psycopg.Connection) -> None:
    store(conn, closes(range(130), "10:00"))
    assert len(read(analyst, Request("BTC-USD", start=at("10:00"))).candles) == 130
    assert clocks(read(analyst, Request("BTC-USD", start=at("10:01"), end=at("10:03")))) == ["10:01", "10:02"]
    assert clocks(read(analyst, Request("BTC-USD", start=at("10:01"), candles=1))) == ["12:09"]


def test_numbers_currency_and_what_is_not_known(conn: psycopg.Connection, analyst: psycopg.Connection) -> None:
    store(conn, [candle("10:00", "2 4 1 3", None, source="coinbase")])
    found = read(analyst, Request("BTC-USD"))
    row = found.candles.iloc[0]
    assert (row.open, row.high, row.low, row.close) == (2, 4, 1, 3)
    assert math.isnan(row.volume)
    assert found.currency == "USD"
    assert found.title == "BTC-USD 1m · coinbase · 2026-03-02 10:00 to 10:01 UTC"


def test_each_minute_is_of_the_first_source_in_order_that_has_it_final(
    conn: psycopg.Connection, analyst: psycopg.Connection
) -> None:
    store(
        conn,
        [
            candle("10:00", "1", source="coinbase"), candle("10:00", "2", source="kraken"),
            candle("10:01", "3", source="binance"), candle("10:01", "4", source="kraken"),
            candle("10:02", "5", source="coinbase")._replace(is_final=False), candle("10:02", "6", source="kraken"),
            candle("10:03", "7", source="coinbase")._replace(is_final=False), candle("10:03", "8", source="aaa"),
            candle("10:04", "9", source="coinbase")._replace(is_final=False),
        ],
    )  # fmt: skip
    found = read(analyst, Request("BTC-USD"))
    assert shown(found) == ["10:00 coinbase 1", "10:01 kraken 4", "10:02 kraken 6", "10:03 aaa 8", "10:04 coinbase 9"]
    assert "coinbase, 2 of kraken, 1 of aaa" in found.title
    assert shown(read(analyst, Request("BTC-USD", source="kraken"))) == [
        "10:00 kraken 2",
        "10:01 kraken 4",
        "10:02 kraken 6",
    ]


@pytest.mark.parametrize(
    ("newest", "expected"),
    [("coinbase", ["10:01 coinbase 2"]), ("simulator", ["10:00 simulator 1", "10:01 coinbase 2"])],
)
def test_what_was_invented_does_not_fill_up_what_is_real(
    conn: psycopg.Connection, analyst: psycopg.Connection, newest: str, expected: list[str]
) -> None:
    store(conn, [candle("10:00", "1", source="simulator"), candle("10:01", "2", source="coinbase")])
    conn.execute(
        "insert into marts.indicators_1m (symbol, candle_start, source, is_fallback, close, is_final) "
        "values ('BTC-USD', %s, %s, false, 2, true)",
        [at("10:01"), newest],
    )
    assert shown(read(analyst, Request("BTC-USD"))) == expected
    assert shown(read(analyst, Request("BTC-USD", source="simulator"))) == ["10:00 simulator 1"]


def test_the_first_value_shown_looks_back_on_what_is_not(conn: psycopg.Connection, analyst: psycopg.Connection) -> None:
    store(conn, closes(range(1, 31), "10:00"))
    lines = read(analyst, Request("BTC-USD", candles=5, indicators=("sma", "ema"))).lines
    assert lines["SMA 20"].tolist() == [16.5, 17.5, 18.5, 19.5, 20.5]
    assert lines["EMA 26"].isna().tolist() == [False] * 5
    whole = read(analyst, Request("BTC-USD", candles=30, indicators=("sma", "ema"))).lines
    assert whole["SMA 20"].isna().tolist() == [True] * 19 + [False] * 11  # nothing is made up where history begins
    assert lines["EMA 26"].tolist() == whole["EMA 26"].tolist()[-5:]


def test_lines_are_those_of_the_marts_where_they_are_of_these_candles(
    conn: psycopg.Connection, analyst: psycopg.Connection
) -> None:
    store(conn, closes([1, 2, 3], "10:00", minutes=5), resolution="5m")

    def lines(**asked: object) -> dict[str, list[float]]:
        request = Request("BTC-USD", "5m", indicators=("sma", "bollinger", "vwap"), candles=2, **asked)  # type: ignore[arg-type]
        return {name: line.dropna().tolist() for name, line in read(analyst, request).lines.items()}

    conn.execute(
        "insert into marts.indicators_5m (symbol, candle_start, source, close, sma_5, vwap_session, bollinger_upper) "
        "select symbol, candle_start, source, close, 10 * close, 7, null from marts.candles_5m"
    )
    told = {"SMA 5": [20.0, 30.0], "SMA 20": [], "Bollinger +2σ": [], "Bollinger -2σ": [], "VWAP": [7.0, 7.0]}
    computed: dict[str, list[float]] = {name: [] for name in told}
    assert lines() == told
    assert lines(source="simulator") == computed
    conn.execute("update marts.indicators_5m set close = 4 where close = 3")  # the candle was made anew meanwhile
    assert lines() == computed


def test_vwap_counts_from_midnight_on(conn: psycopg.Connection, analyst: psycopg.Connection) -> None:
    store(
        conn,
        [
            candle("23:59", "900", 9),
            candle("+1 00:00", "10", 1),
            candle("+1 00:01", "20", 3),
            candle("+1 00:02", "25", 6),
        ],
    )
    for indicators in [("vwap",), ("vwap", "sma")]:  # as far back as midnight, and further
        found = read(analyst, Request("BTC-USD", candles=1, indicators=indicators))
        assert found.lines["VWAP"].tolist() == [(10 + 60 + 150) / 10]


def test_alerts_of_the_instrument_in_the_range_come_with_it(
    conn: psycopg.Connection, analyst: psycopg.Connection
) -> None:
    store(conn, closes([1, 2], "10:00", minutes=5), resolution="5m")
    alert(conn, "09:59", "zscore", "up")
    alert(conn, "10:00", "sma_cross", "BUY")
    alert(conn, "10:09", "zscore", "down")
    alert(conn, "10:10", "zscore", "up")
    alert(conn, "10:01", "zscore", "up", symbol="ETH-USD")
    alert(conn, "10:02", "gap", "up", category="operations")
    found = read(analyst, Request("BTC-USD", "5m"))
    assert found.alerts == (Alert(at("10:00"), "sma_cross", "BUY"), Alert(at("10:09"), "zscore", "down"))


def test_resolutions_are_those_of_which_there_is_a_table(conn: psycopg.Connection, analyst: psycopg.Connection) -> None:
    conn.execute("create table marts.candles_3h (like marts.candles_5m)")
    conn.execute("create table marts.candles_45m (like marts.candles_5m)")
    found = list(resolutions(analyst))
    assert found == sorted(found, key=lambda name: reading.step_of(name))
    assert {"1m", "5m", "45m", "3h"} <= set(found)
    assert not {"1m_filled"} & set(found)
    store(conn, closes([7], "10:00"), resolution="3h")
    assert shown(read(analyst, Request("BTC-USD", "3h"))) == ["10:00 simulator 7"]


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (Request("BTC-USD", "7m"), "--resolution 7m: there are candles of 1m, 5m"),
        (Request("BTC-USD", "1m; drop"), "--resolution 1m; drop: there are candles of 1m, 5m"),
        (Request("btc-usd"), "btc-usd: not among the instruments (did you mean BTC-USD?); known are AAPL, "),
        (Request("DOGE"), "DOGE: not among the instruments; known are AAPL, "),
        (
            Request("BTC-USD", source="kraken"),
            "--source kraken: has no 1m candle of BTC-USD; binance, simulator have some",
        ),
        (
            Request("BTC-USD", start=at("11:00"), end=at("12:00")),
            "no 1m candle of BTC-USD starts between 2026-03-02 11:00 UTC and 2026-03-02 12:00 UTC; "
            "there are some from 2026-03-02 10:00 UTC to 2026-03-02 10:02 UTC",
        ),
        (
            Request("BTC-USD", source="binance", end=at("10:00")),
            "no 1m candle of BTC-USD of binance starts before 2026-03-02 10:00 UTC; "
            "there are some from 2026-03-02 10:02 UTC to 2026-03-02 10:02 UTC",
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else f"{value.symbol} {value.resolution} {value.source}",
)
def test_what_is_not_there_is_refused_with_what_is(
    conn: psycopg.Connection, analyst: psycopg.Connection, request_: Request, said: str
) -> None:
    store(conn, [*closes([1, 2], "10:00"), candle("10:02", "3", source="binance")])
    store(conn, [], symbol="ETH-USD")
    with pytest.raises(ConfigError) as refused:
        read(analyst, request_)
    assert said in str(refused.value)


def test_more_candles_than_a_chart_holds_are_refused_with_the_ways_out(
    conn: psycopg.Connection, analyst: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MOST", 3)
    store(conn, closes([1, 2, 3, 4], "10:00"))
    assert len(read(analyst, Request("BTC-USD", start=at("10:01"))).candles) == 3
    with pytest.raises(ConfigError, match=r"more than 3 candles of 1m; take a shorter one, a coarser --resolution"):
        read(analyst, Request("BTC-USD", start=at("10:00")))


def test_an_instrument_without_candles_yet_is_told_from_one_that_is_not_known(
    conn: psycopg.Connection, analyst: psycopg.Connection
) -> None:
    store(conn, closes([1]))
    store(conn, [], symbol="ETH-USD")
    with pytest.raises(NoCandlesError, match=r"no 1m candle of ETH-USD yet; `quantstream backfill --symbols ETH-USD"):
        read(analyst, Request("ETH-USD"))


def test_an_empty_warehouse_says_how_it_is_filled(analyst: psycopg.Connection) -> None:
    with pytest.raises(NoCandlesError, match=r"the warehouse has no 1m candle yet; `make up` brings"):
        read(analyst, Request("BTC-USD"))


def test_so_does_one_in_which_dbt_has_not_run_yet(settings: Settings) -> None:
    with connect(settings, role="analyst") as conn, pytest.raises(NoCandlesError, match="no 1m candle yet"):
        read(conn, Request("BTC-USD"))


def test_times_are_utc(conn: psycopg.Connection, analyst: psycopg.Connection) -> None:
    store(conn, closes([1], "10:00"))
    assert read(analyst, Request("BTC-USD")).starts == [datetime.fromisoformat("2026-03-02T10:00+00:00")]
