"""The crypto exchanges in the marts: a trade that came over REST and over the feed is one trade."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from include.events import iso
from include.settings import Settings
from include.sources import binance, coinbase, kraken
from include.warehouse.db import connect
from tests.transform.events import accept, at
from tests.transform.marts import build, rows

NOON = at("12:00:00")
TRADED = at("11:59:10.500499")
LATER = NOON + timedelta(seconds=5)


def seconds(micro: int = 0) -> float:
    return TRADED.replace(microsecond=micro).timestamp()


def test_a_trade_of_rest_and_of_the_feed_is_one_trade_with_the_takers_side(marts_settings: Settings) -> None:
    aggregate: dict[str, Any] = {
        "a": 7, "p": "64000.1", "q": "0.5", "f": 8, "l": 9, "T": int(seconds() * 1000) + 500, "m": True, "M": True,
    }  # fmt: skip
    match = {"trade_id": 7, "side": "buy", "size": "0.5", "price": "64000.10", "time": iso(TRADED)}
    told = {
        "symbol": "BTC/USD", "side": "sell", "price": "64000.1", "qty": "0.5", "ord_type": "market", "trade_id": 7,
        "timestamp": iso(TRADED),
    }  # fmt: skip
    row = ["64000.10000", "0.50000000", seconds(500_000) + 0.0004991, "s", "m", "", 7]
    with connect(marts_settings) as conn:
        accept(
            conn,
            [
                binance.trade_event(aggregate, "BTC-USD", NOON),
                binance.trade_event(aggregate | {"e": "aggTrade", "E": 1, "s": "BTCUSDT"}, "BTC-USD", LATER),
                coinbase.trade_event(match, "BTC-USD", NOON),
                coinbase.trade_event(match | {"type": "match", "sequence": 1, "price": "64000.1"}, "BTC-USD", LATER),
                kraken.trade_event(row, "BTC-USD", NOON),
                kraken.trade_event(told, "BTC-USD", LATER),
            ],
        )
        build(marts_settings)
        found = rows(conn, "select source, side, price::float, size::float from marts.trades order by source")
    assert found == [
        ("binance", "sell", 64000.1, 0.5),
        ("coinbase", "sell", 64000.1, 0.5),
        ("kraken", "sell", 64000.1, 0.5),
    ]


def test_a_minute_of_the_exchanges_is_a_candle_of_their_bars_and_their_quotes(marts_settings: Settings) -> None:
    start = int(at("11:59:00").timestamp())
    kline = [start * 1000, "10", "12", "9", "11", "2.5", start * 1000 + 59_999, "26.25", 42, "1", "10", "0"]
    ticker = {
        "a": ["11.2", "1", "1"],
        "b": ["11.1", "1", "1"],
        "c": ["11.15", "0.1"],
        "v": ["5", "9"],
        "p": ["11", "10"],
    }
    with connect(marts_settings) as conn:
        accept(
            conn,
            [
                binance.bar_event(kline, "BTC-USD", NOON),
                coinbase.bar_event([start, 9, 12, 10, 11, 2.5], "BTC-USD", NOON),
                kraken.bar_event([start, "10", "12", "9", "11", "10.5", "2.5", 42], "BTC-USD", NOON),
                kraken.quote_event(ticker, "BTC-USD", NOON, NOON),
            ],
        )
        build(marts_settings)
        candles = rows(
            conn,
            "select source, open::float, high::float, low::float, close::float, volume::float, vwap::float, "
            "trade_count from marts.candles_1m where basis = 'bar' order by source",
        )
        quotes = rows(conn, "select bid::float, ask::float, day_volume::float, volume_24h::float from marts.quotes")
    assert candles == [
        ("binance", 10, 12, 9, 11, 2.5, 10.5, 42),
        ("coinbase", 10, 12, 9, 11, 2.5, None, None),
        ("kraken", 10, 12, 9, 11, 2.5, 10.5, 42),
    ]
    assert quotes == [(11.1, 11.2, 5, 90)]
