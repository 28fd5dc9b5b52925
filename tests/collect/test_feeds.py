"""Frames of the three feeds: what they say, that REST says the same, and what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import ConfigError
from include.events import Event
from include.feeds import make
from include.feeds.base import BadFrameError, Feed
from include.feeds.coinbase import as_rest
from include.feeds.kraken import pair_name
from include.pipeline.collector.making import Maker
from include.sources import binance, coinbase, kraken
from tests.collect.payloads_feeds import PAYLOADS
from tests.collect.vendors import agg_frame, agg_trade, heartbeat, match
from tests.sources.payloads import Payload, summary

NOON = datetime(2026, 1, 2, 12, 0, 0, 123000, tzinfo=UTC)
LATER = datetime(2026, 1, 2, 12, 0, 1, tzinfo=UTC)
ALL = ("trades", "bars", "quotes")
KLINE = {
    "t": 1767355200000, "T": 1767355259999, "s": "BTCUSDT", "i": "1m", "f": 1, "L": 9, "o": "1.0", "c": "4.0",
    "h": "5.0", "l": "0.5", "v": "10.0", "n": 9, "x": True, "q": "20.0", "V": "6.0", "Q": "12.0", "B": "0",
}  # fmt: skip
KRAKEN_TRADE = {
    "symbol": "BTC/USD", "side": "buy", "price": 105899.4, "qty": 0.00009443, "ord_type": "market", "trade_id": 4665906,
    "timestamp": "2026-01-02T12:00:00.123456Z",
}  # fmt: skip


def feed(name: str) -> Feed:
    vendor = {"binance": "BTCUSDT", "coinbase": "BTC-USD", "kraken": "XBTUSD"}[name]
    return make(name, [vendor], ALL if name == "binance" else ("trades",))


def event(name: str, frame: str) -> Event:
    """The one event of a frame."""
    (row,) = feed(name).parse(frame).rows
    made = Maker(name).event(row, "BTC-USD", LATER)
    assert made is not None
    return made


def key(made: Event) -> tuple[object, ...]:
    """By which a second one is known as a duplicate."""
    return made.source, made.kind, made.symbol, made.event_time, made.vendor_id


def kraken_frame(*trades: dict[str, Any], kind: str = "update") -> str:
    return json.dumps({"channel": "trade", "type": kind, "data": trades})


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.file)
def test_a_recorded_feed_becomes_what_the_table_says(shared_data: Path, payload: Payload) -> None:
    path = shared_data / "payloads" / payload.file
    if payload.error is None:
        assert summary(payload.parse(path)) == payload.outcome
    else:
        with pytest.raises(payload.error) as raised:
            payload.parse(path)
        assert str(raised.value) == payload.outcome


def test_a_trade_of_binance_is_the_same_event_from_the_feed_and_from_rest() -> None:
    assert event("binance", agg_frame(7, NOON)) == binance.trade_event(agg_trade(7, NOON), "BTC-USD", LATER)


def test_a_closed_kline_of_binance_is_the_same_event_from_the_feed_and_from_rest() -> None:
    frame = json.dumps(
        {"stream": "btcusdt@kline_1m", "data": {"e": "kline", "E": 1767355260001, "s": "BTCUSDT", "k": KLINE}}
    )
    array = [1767355200000, "1.0", "5.0", "0.5", "4.0", "10.0", 1767355259999, "20.0", 9, "6.0", "12.0", "0"]
    assert event("binance", frame) == binance.bar_event(array, "BTC-USD", LATER)


def test_a_kline_that_still_changes_is_no_bar() -> None:
    data = {"e": "kline", "E": 1767355230001, "s": "BTCUSDT", "k": KLINE | {"x": False}}
    assert feed("binance").parse(json.dumps({"stream": "x", "data": data})).rows == ()


def test_the_best_bid_and_ask_are_a_quote_once_a_trade_told_the_price() -> None:
    book = {"u": 1, "s": "BTCUSDT", "b": "49999.00", "B": "1.0", "a": "50001.00", "A": "2.0"}
    source, maker = feed("binance"), Maker("binance")
    (quote,) = source.parse(json.dumps({"stream": "btcusdt@bookTicker", "data": book})).rows
    assert maker.event(quote, "BTC-USD", LATER) is None
    (trade,) = source.parse(agg_frame(7, NOON, price="50000.10")).rows
    maker.event(trade, "BTC-USD", LATER)
    made = maker.event(quote, "BTC-USD", LATER)
    assert made is not None and (made.kind, made.event_time) == ("quote", LATER)
    assert made.payload == {
        "symbol": "BTCUSDT", "bidPrice": "49999.00", "bidQty": "1.0", "askPrice": "50001.00", "askQty": "2.0",
        "lastPrice": "50000.10", "closeTime": 1767355201000,
    }  # fmt: skip


def test_a_single_trade_of_binance_has_an_id_of_its_own_kind() -> None:
    data = {"e": "trade", "E": 1, "s": "BTCUSDT", "t": 705291099, "p": "1", "q": "2", "T": 1767355200123, "m": True}
    assert event("binance", json.dumps(data)).vendor_id == "t705291099"


def test_a_trade_of_coinbase_is_the_same_event_from_the_feed_and_from_rest() -> None:
    rest = {
        "trade_id": 7, "side": "sell", "size": "0.04000000", "price": "14.77750000",
        "time": "2026-01-02T12:00:00.123000Z",
    }  # fmt: skip
    assert event("coinbase", match(7, NOON)) == coinbase.trade_event(rest, "BTC-USD", LATER)


def test_a_trade_of_kraken_has_the_natural_key_that_it_has_from_rest() -> None:
    rest = ["105899.40000", "0.00009443", 1767355200.1234567, "b", "m", "", 4665906]
    from_feed = event("kraken", kraken_frame(KRAKEN_TRADE))
    from_rest = kraken.trade_event(rest, "BTC-USD", LATER)
    assert (from_feed.event_time, from_feed.vendor_id) == (from_rest.event_time, from_rest.vendor_id)
    assert (from_feed.payload["price"], from_feed.payload["qty"]) == ("105899.4", "9.443e-05")


@pytest.mark.parametrize("fraction", ["", ".5", ".123", ".123456", ".123456789"])
def test_however_many_digits_coinbase_writes_a_trade_has_one_natural_key(fraction: str) -> None:
    frame = match(7, NOON).replace("12:00:00.123000Z", f"12:00:00{fraction}Z")
    rest = {"trade_id": 7, "side": "sell", "size": "0.04", "price": "14.7775", "time": f"2026-01-02T12:00:00{fraction}"}
    padded = rest["time"] if fraction else f"{rest['time']}."  # 26 characters: to the microsecond
    whole = coinbase.trade_event(rest | {"time": padded[:26].ljust(26, "0") + "Z"}, "BTC-USD", LATER)
    assert key(event("coinbase", frame)) == key(whole)


@given(st.integers(1_700_000_000 * 10**9, 1_900_000_000 * 10**9))
def test_a_trade_of_kraken_has_one_natural_key_unless_rounding_lifts_it_over_a_millisecond(nanoseconds: int) -> None:
    """REST writes seconds as a float, which is up to 120 ns off; the feed cuts to the microsecond."""
    seconds, rest = divmod(nanoseconds, 10**9)
    stamp = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06}Z"
    from_feed = event("kraken", kraken_frame(KRAKEN_TRADE | {"timestamp": stamp}))
    row = ["105899.40000", "0.00009443", nanoseconds / 10**9, "b", "m", "", 4665906]
    from_rest = kraken.trade_event(row, "BTC-USD", LATER)
    if 120 <= nanoseconds % 10**6 <= 10**6 - 120:
        assert key(from_feed) == key(from_rest)
    assert abs(from_feed.event_time - from_rest.event_time) <= timedelta(milliseconds=1)


def test_krakens_numbers_keep_the_digits_that_came() -> None:
    text = kraken_frame(KRAKEN_TRADE).replace("9.443e-05", "0.000094430")
    assert event("kraken", text).payload["qty"] == "0.000094430"


def test_one_bad_trade_of_a_message_does_not_take_the_others_along() -> None:
    bad = KRAKEN_TRADE | {"trade_id": 0}
    frame = feed("kraken").parse(kraken_frame(bad, KRAKEN_TRADE, kind="snapshot"))
    assert [row.number for row in frame.rows] == [4665906]
    assert [reason for reason, _ in frame.rejected] == ["trade_id is 0; it must be a whole number above 0"]


def test_a_heartbeat_of_coinbase_tells_the_time_and_the_latest_trade() -> None:
    frame = feed("coinbase").parse(heartbeat(9, NOON))
    assert (frame.clock, frame.last, frame.rows) == (NOON, {"BTC-USD": 9}, ())
    assert feed("coinbase").parse(heartbeat(0, NOON)).last == {}, "0 stands for not known"


def test_what_each_feed_is_asked() -> None:
    assert feed("binance").address("wss://host:9443/") == (
        "wss://host:9443/stream?streams=btcusdt@aggTrade/btcusdt@kline_1m/btcusdt@bookTicker"
    )
    assert json.loads(feed("coinbase").subscribe()[0]) == {
        "type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["matches", "heartbeat"],
    }  # fmt: skip
    assert json.loads(feed("kraken").subscribe()[0]) == {
        "method": "subscribe", "params": {"channel": "trade", "symbol": ["BTC/USD"], "snapshot": True},
    }  # fmt: skip
    assert json.loads(feed("binance").unsubscribe()[0])["method"] == "UNSUBSCRIBE"


@pytest.mark.parametrize(
    ("rest", "pair"),
    [
        ("XBTUSD", "BTC/USD"), ("ETHUSD", "ETH/USD"), ("XDGUSD", "DOGE/USD"), ("ETHXBT", "ETH/BTC"),
        ("USDTUSD", "USDT/USD"), ("SOLUSDT", "SOL/USDT"), ("ODD", "ODD"),
    ],
)  # fmt: skip
def test_the_names_of_krakens_pairs(rest: str, pair: str) -> None:
    assert pair_name(rest) == pair


@pytest.mark.parametrize(
    ("name", "frame", "refused"),
    [
        ("coinbase", {"type": "error", "message": "Failed to subscribe", "reason": "BTC-USD is not a valid product"},
         {"BTC-USD": "Failed to subscribe: BTC-USD is not a valid product"}),
        ("coinbase", {"type": "error", "message": "too many requests"}, {"": "too many requests"}),
        ("kraken", {"error": "Currency pair unknown", "method": "subscribe", "success": False, "symbol": "BTC/USD"},
         {"XBTUSD": "Currency pair unknown"}),
        ("kraken", {"Error": "Exceeded msg rate"}, {"": "Exceeded msg rate"}),
        ("binance", {"error": {"code": 2, "msg": "Invalid request"}, "id": 1}, {"": "Invalid request"}),
    ],
)  # fmt: skip
def test_a_refusal_names_whom_it_is_about(name: str, frame: dict[str, Any], refused: dict[str, str]) -> None:
    assert feed(name).parse(json.dumps(frame)).refused == refused


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("kraken", {"channel": "heartbeat"}),
        ("kraken", {"channel": "status", "type": "update", "data": [{"system": "online"}]}),
        ("kraken", {"method": "pong"}),
        ("binance", {"result": None, "id": 1}),
    ],
)
def test_what_only_keeps_a_connection_alive_says_nothing(name: str, frame: dict[str, Any]) -> None:
    found = feed(name).parse(json.dumps(frame))
    assert (found.rows, found.rejected, found.refused) == ((), (), {})


def test_binance_says_before_it_goes_away() -> None:
    assert feed("binance").parse('{"e":"serverShutdown","E":1767355200000}').closing


@pytest.mark.parametrize(
    ("name", "frame", "reason"),
    [
        ("binance", "<html>", "the frame is no JSON"),
        ("kraken", "{", "the frame is no JSON"),
        ("coinbase", "[1]", "the frame is no JSON object but list"),
        ("binance", '{"stream":"x","data":{"e":"depthUpdate"}}', "a frame of the kind 'depthUpdate' was not asked for"),
        ("binance", '{"data":7}', "the frame is not built as documented: 'int' object has no attribute 'get'"),
        ("binance", agg_frame(0, NOON), "a is 0; it must be a whole number above 0"),
        ("binance", '{"e":"aggTrade","E":1}', "the frame has no 'a'"),
        ("coinbase", '{"type":"l2update"}', "a frame of the type 'l2update' was not asked for"),
        ("coinbase", match(7, NOON).replace("14.7775", "-1"), "price is '-1'; it must be a decimal number as text"),
        ("coinbase", match(7, NOON).replace("12:00", "25:00"),
         "time is '2026-01-02T25:00:00.123000Z'; it must be an ISO 8601 time with its zone"),
        ("kraken", '{"channel":"book"}', "a frame of the channel 'book' was not asked for"),
    ],
)  # fmt: skip
def test_a_frame_that_is_none_says_why(name: str, frame: str, reason: str) -> None:
    with pytest.raises(BadFrameError) as raised:
        feed(name).parse(frame)
    assert str(raised.value) == reason


def test_eight_decimals_as_rest_writes_them() -> None:
    assert [as_rest(text, "n") for text in ("1", "1.5", "0.123456789")] == ["1.00000000", "1.50000000", "0.123456789"]


def test_a_feed_that_is_none_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match="there are binance, coinbase, kraken"):
        make("bitstamp", [], [])
