"""What a collector makes of the recorded feeds."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from include.errors import ConfigError
from include.feeds import make
from include.sources.base import Batch
from tests.collect.captures import BINANCE, COINBASE, frames, parsed
from tests.sources.payloads import Payload

_2021 = datetime(2021, 12, 12, 23, 17, 43, tzinfo=UTC)


def _binance(path: Path) -> Batch:
    return parsed("binance", frames(path), BINANCE)


def _coinbase(path: Path) -> Batch:
    return parsed("coinbase", frames(path), COINBASE)


def _single(path: Path) -> Batch:
    return parsed("binance", iter([(_2021, path.read_text())]), {"ETHUSDT": "ETH-USD"})


def _bitstamp(path: Path) -> Batch:
    make("bitstamp", ["ethusd"], ["trades"])
    raise AssertionError("there is no such feed")


PAYLOADS: list[Payload] = [
    Payload(
        "ws_captures/BINANCE.ws.1.0",
        "the feed of Binance, four pairs: aggTrade, kline (none closed), bookTicker (a quote once a trade came), depth",
        _binance,
        "42 quotes, 2 trades; 177 rejected: a frame of the kind 'depthUpdate' was not asked for (177 times)",
    ),
    Payload(
        "ws_captures/COINBASE.ws.28.0",
        "the feed of Coinbase: matches, ticker and level2 of ten products",
        _coinbase,
        "107 trades; 9836 rejected: a frame of the type 'snapshot' was not asked for (10 times); "
        "a frame of the type 'ticker' was not asked for (107 times); "
        "a frame of the type 'l2update' was not asked for (9719 times)",
    ),
    Payload(
        "ws_captures/BITSTAMP.ws.1.0",
        "the feed of Bitstamp, which is none of ours",
        _bitstamp,
        "there is no feed of 'bitstamp'; there are binance, coinbase, kraken",
        ConfigError,
    ),
    Payload("binance/ws_trade.json", "a frame of Binance's stream ethusdt@trade: a single trade", _single, "1 trade"),
]
