"""Real candles, served as vendors' history and brought in by backfills: the outages in them, and their repair.

What is in the files, seen with the eye: all symbols of Bitfinex are silent on 2018-03-21; the trades of Coinbase stop
on 2018-04-04 at 16:48 until midnight (the quotes of those hours are there); of shares and GBPUSD nothing is missing but
closed hours and minutes in which nobody traded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from include.commands.local_exchange import LocalExchange
from include.events import Window
from include.pipeline.backfill import backfill
from include.settings import Settings
from include.warehouse.db import connect
from tests.gaps.pictures import gaps, search
from tests.history.conftest import make_history
from tests.history.vendor import MakeSettings, exchange, rows
from tests.transform.marts import build

pytestmark = [pytest.mark.data, pytest.mark.stack]
__all__ = ["make_history"]

TWO_WEEKS = Window(datetime(2018, 3, 15, tzinfo=UTC), datetime(2018, 3, 29, tzinfo=UTC))
IDS = {"BTCUSD": "BTCUSDT", "ETHUSD": "ETHUSDT", "XRPUSD": "XRPUSDT"}
SYMBOLS = ["BTC-USD", "ETH-USD", "XRP-USD"]
OUTAGES = [
    "BTC-USD 2018-03-21 09:32-10:05 outage",
    "BTC-USD 2018-03-21 10:06-10:30 outage",
    "BTC-USD 2018-03-21 10:53-11:51 outage",
    "ETH-USD 2018-03-21 09:32-10:53 outage",
    "ETH-USD 2018-03-21 10:54-11:47 outage",
    "ETH-USD 2018-03-21 11:50-12:13 outage",
    "ETH-USD 2018-03-21 12:14-12:32 outage",
    "XRP-USD 2018-03-21 09:31-12:32 outage",
]


class Noting(LocalExchange):
    """Writes down which minutes it is asked for, in ms: (id, from, to included)."""

    asked: list[tuple[str, int, int]]

    def answer(self, path: str, asked: Mapping[str, str]) -> tuple[int, Any]:
        if path == "/api/v3/klines":
            self.asked.append((asked["symbol"], int(asked["startTime"]), int(asked["endTime"])))
        return super().answer(path, asked)


class Aggregates(LocalExchange):
    """Polygon's minute bars, by its tickers."""

    def answer(self, path: str, asked: Mapping[str, str]) -> tuple[int, Any]:
        wanted = re.fullmatch(r"/v2/aggs/ticker/([^/]+)/range/1/minute/(\d+)/(\d+)", path)
        assert wanted, path
        self.calls += 1
        ticker, start, end = unquote(wanted[1]), int(wanted[2]), int(wanted[3])
        bars = [dict(zip("tohlcv", bar, strict=True)) for bar in self.bars[ticker] if start <= bar[0] <= end]
        return 200, {"status": "OK", "ticker": ticker, "results": bars} if bars else {"status": "OK", "resultsCount": 0}


def bars_of(file: Path, symbol: str, columns: str = "open, high, low, close, volume") -> list[tuple[Any, ...]]:
    import duckdb

    query = f"select epoch_ms(ts_utc::timestamptz) as at, {columns} from read_csv(?) where symbol = ? order by 1"
    return duckdb.connect().execute(query, [str(file), symbol]).fetchall()


def test_the_trades_of_coinbase_stop_for_seven_hours(make_history: MakeSettings, shared_data: Path) -> None:
    file = shared_data / "candles" / "coinbase_1min_trades_201804.csv.gz"
    local = LocalExchange(bars={"BTCUSDT": bars_of(file, "BTCUSD"), "ETHUSDT": bars_of(file, "ETHUSD")})
    with exchange(local=local) as (_, url):
        settings = make_history(binance_url=url)
        backfill(settings, "binance", days("2018-04-04", "2018-04-07"), symbols=["BTC-USD"])
        backfill(settings, "binance", days("2018-04-04", "2018-04-06"), symbols=["ETH-USD"])
    built(settings)
    search(settings)
    with connect(settings) as conn:
        assert gaps(conn) == ["BTC-USD 2018-04-04 16:48-00:00 outage", "ETH-USD 2018-04-04 16:53-00:00 outage"]


def test_of_shares_and_a_currency_only_closed_hours_and_quiet_minutes_are_absent(
    make_history: MakeSettings, shared_data: Path, tmp_path: Path
) -> None:
    """One of the shares is split seven for one on its last day."""
    shares = shared_data / "candles" / "us_equity_1min_trades.csv.gz"
    pounds = shared_data / "candles" / "gbpusd_1min_bid_ask_201202.csv.gz"
    listed = tmp_path / "instruments.csv"
    listed.write_text("symbol,asset_class,currency,calendar,primary_source,polygon\n" + "".join([
        *(f"{symbol},equity,USD,XNYS,polygon,{symbol}\n" for symbol in ("SPY", "BAC", "AAPL", "TWX")),
    ]))  # fmt: skip
    local = Aggregates(bars={
        **{symbol: bars_of(shares, symbol) for symbol in ("SPY", "BAC", "AAPL", "TWX")},
        "GBPUSD": bars_of(pounds, "GBPUSD", "open_bid, high_bid, low_bid, close_bid, 1"),
    })  # fmt: skip
    asked = {
        days("2013-10-04", "2013-10-12"): ["SPY", "BAC"],
        days("2014-06-05", "2014-06-10"): ["AAPL", "TWX"],
        days("2012-02-01", "2012-03-01"): ["GBPUSD"],
    }
    with exchange(local=local) as (_, url):
        settings = make_history(
            polygon_url=url, polygon_api_key="0" * 32, polygon_plan="starter", instruments_file=listed
        )
        with connect(settings) as conn:  # the file of instruments has shares and crypto alone
            conn.execute(
                "insert into ops.registered_instruments (symbol, asset_class, currency, calendar, primary_source) "
                "values ('GBPUSD', 'crypto', 'USD', 'FX', 'polygon')"
            )
        came = [backfill(settings, "polygon", window, symbols=symbols).events for window, symbols in asked.items()]
    assert came == [8305, 3503, 30116]  # the last bar of the pound is of March
    built(settings)
    search(settings)
    with connect(settings) as conn:
        assert gaps(conn) == []


def days(start: str, end: str) -> Window:
    return Window(*(datetime.fromisoformat(f"{day}T00:00Z") for day in (start, end)))


def vendor(folder: Path) -> Noting:
    import duckdb

    query = """
        select symbol, epoch_ms(ts_utc::timestamptz) as at, open, high, low, close, volume from read_parquet(?)
        where epoch_ms(ts_utc::timestamptz) >= ? and epoch_ms(ts_utc::timestamptz) < ? order by 1, 2
    """
    file = str(folder / "candles" / "bitfinex_1min_2018q1.parquet")
    start, end = (int(moment.timestamp() * 1000) for moment in (TWO_WEEKS.start, TWO_WEEKS.end))
    bars: dict[str, list[Any]] = {name: [] for name in IDS.values()}
    for symbol, *row in duckdb.connect().execute(query, [file, start, end]).fetchall():
        bars[IDS[symbol]].append(tuple(row))
    known = Noting(bars=bars)
    known.asked = []
    return known


def built(settings: Settings) -> None:
    while rows(settings, "select 1 from ops.loads where state = 'accepted' limit 1"):
        build(settings)


def test_the_outages_are_named_and_fetching_them_asks_for_nothing_else(
    make_history: MakeSettings, shared_data: Path
) -> None:
    local = vendor(shared_data)
    with exchange(local=local) as (_, url):
        settings = make_history(binance_url=url)
        backfill(settings, "binance", TWO_WEEKS, symbols=SYMBOLS)
        built(settings)
        assert search(settings, now=TWO_WEEKS.end).alerts == 0  # long ago
        with connect(settings) as conn:
            assert gaps(conn) == OUTAGES

        # the vendor found what it had lost of one symbol
        lost = [(at, 1, 1, 1, 1, 0) for at in range(minute("09:31"), minute("12:32"), 60_000)]
        kept = local.bars["XRPUSDT"]
        healed = LocalExchange(bars={"XRPUSDT": sorted([*kept, *lost])})
        local.bars |= healed.bars
        local._opens |= healed._opens
        local.asked.clear()
        backfill(settings, "binance", TWO_WEEKS, symbols=SYMBOLS, gaps=True)
        for symbol, start, end in local.asked:
            assert minute("09:31") <= start <= end < minute("12:32"), symbol
        built(settings)
        search(settings, now=TWO_WEEKS.end)
        with connect(settings) as conn:
            assert gaps(conn) == OUTAGES[:-1]


def minute(clock: str) -> int:
    return int(datetime.fromisoformat(f"2018-03-21 {clock}+00:00").timestamp() * 1000)
