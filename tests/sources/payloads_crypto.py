"""What the recorded answers of CoinGecko, Binance and Kraken become, each sent once more by a local server."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from include.errors import ConfigError, MisfitError, SourceError
from include.events import Window
from include.instruments import Instrument
from include.pipeline.pull import pull
from include.settings import Settings
from include.sources import NAMES
from include.sources.base import Batch, Source
from include.sources.binance import Binance
from include.sources.coingecko import Ask as Coins
from include.sources.coingecko import CoinGecko
from include.sources.crypto import Ask, Query
from include.sources.kraken import Kraken
from tests.faults.proxy import Answer, FaultProxy
from tests.sources.asked import coin, whole
from tests.sources.payloads import Payload

Parse = Callable[[Path], Batch]


def _served(body: bytes, status: int, made: type[Source[Any, Any]], query: Callable[[Any], Any]) -> Batch:
    """Ask a server that answers with this, once, and then with nothing more."""
    with FaultProxy() as server:
        server.add(Answer(status, body, {"Content-Type": "application/json"}), times=4 if status == 429 else 1)
        server.add(Answer(200, b"[]"), times=None)
        urls: dict[str, Any] = {f"{name}_url": server.url for name in ("coingecko", "binance", "kraken")}
        source = made(Settings(_env_file=None, **urls))
        asked = query(source)
        return whole(source.transform(asked, reply, datetime.now(UTC)) for reply in source.extract(asked))


def _always(query: Any) -> Callable[[Any], Any]:
    return lambda _: query


def _status(path: Path) -> int:
    found = re.search(r"_(\d{3})(?:_|\.)", path.name) if path.parent.name == "errors_transcribed" else None
    return int(found[1]) if found else 200


def _day(text: str, days: int = 1) -> Window:
    start = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return Window(start, start + timedelta(days=days))


def _past(made: type[Source[Any, Any]], kind: Any, instrument: Instrument, window: Window) -> Parse:
    return lambda path: _served(
        path.read_bytes(), _status(path), made, lambda source: source.history(window, (instrument,), kind)
    )


def _quotes(made: type[Source[Any, Any]], *names: str) -> Parse:
    """The one call of a minute that brings the quotes of all."""
    asked = Query((Ask("quote", {name: name for name in names}, _MINUTE),), _MINUTE.end)
    return lambda path: _served(path.read_bytes(), _status(path), made, _always(asked))


def _coins(*names: str) -> Parse:
    asked = (Coins("usd", {name: name for name in names}, _MINUTE),)
    return lambda path: _served(path.read_bytes(), _status(path), CoinGecko, _always(asked))


def _packed(path: Path) -> Batch:
    """All rows in one answer; the vendor sends 1000."""
    body = gzip.decompress(path.read_bytes())
    xrp = coin("binance", "XRP-ETH", "XRPETH", "ETH")
    return _served(body, 200, Binance, lambda source: source.history(_day("2019-10-11"), (xrp,), "trade"))


def _capture(path: Path) -> Batch:
    """The REST answers at the head of a capture: `<address> -> <epoch seconds>: <body>`, one a line."""
    got = Batch()
    for line in path.read_text().splitlines():
        _, arrow, rest = line.partition(" -> ")
        if arrow:
            asked = Query((Ask("quote", {"NKNUSDT": "NKN-USD"}, _MINUTE),), None)
            body = rest.partition(": ")[2].encode()
            whole([_served(body, 200, Binance, _always(asked))], got)
    return got


def _not_a_source(path: Path) -> Batch:
    pull(Settings(_env_file=None), path.parent.name, _MINUTE)
    raise AssertionError("it is one")


_MINUTE = Window(datetime(2026, 3, 14, 11, 59, tzinfo=UTC), datetime(2026, 3, 14, 12, tzinfo=UTC))
_BTC = coin("binance", "BTC-USD", "BTCUSDT")
_NO_COINS = "CoinGecko: the answer is no list of coins but"
_BITCOIN = coin("coingecko", "BTC-USD", "bitcoin")

PAYLOADS: list[Payload] = [
    Payload(
        "coingecko/coins_markets.json",
        "GET /coins/markets?vs_currency=usd&ids=bitcoin,ethereum,steem",
        _coins("bitcoin", "ethereum", "steem"),
        "3 quotes",
    ),
    Payload(
        "coingecko/coins_bitcoin_market_chart.json",
        "GET /coins/bitcoin/market_chart?vs_currency=usd&days=1",
        _past(CoinGecko, "quote", _BITCOIN, _day("2023-01-06", 2)),
        "290 quotes",
    ),
    Payload(
        "coingecko/simple_price.json",
        "GET /simple/price, which is not asked for, as the answer to /coins/markets",
        _coins("bitcoin", "ethereum"),
        f'{_NO_COINS} \'{{"bitcoin":{{"usd":18109.977835707818,"usd_market_cap":348916\'',
        MisfitError,
    ),
    Payload(
        "coingecko/ping.json",
        "GET /ping, as the answer to /coins/markets",
        _coins("bitcoin"),
        f'{_NO_COINS} \'{{"gecko_says":"(V3) To the Moon!"}}\'',
        MisfitError,
    ),
    Payload(
        "coingecko/common_page_headers.json",
        "no body but the headers of one, as the answer to /coins/markets",
        _coins("bitcoin"),
        f'{_NO_COINS} \'{{"Cache-Control":["public, max-age=120"],"Expires":["Wed, 11\'',
        MisfitError,
    ),
    Payload(
        "binance/klines.json",
        "GET /api/v3/klines?symbol=BTCUSDT&interval=1m",
        _past(Binance, "bar", _BTC, _day("2021-10-22")),
        "10 bars",
    ),
    Payload(
        "binance/agg_trades.json",
        "GET /api/v3/aggTrades?symbol=BTCUSDT",
        _past(Binance, "trade", _BTC, _day("2021-10-22")),
        "10 trades",
    ),
    Payload(
        "binance/aggTrades_XRPETH_20191011.json.gz",
        "GET /api/v3/aggTrades?symbol=XRPETH, the pages of a day put together",
        _packed,
        "5,929 trades",
    ),
    Payload(
        "binance/ticker_price.json",
        "GET /api/v3/ticker/price, which is not asked for, as the answer to /api/v3/ticker/24hr",
        _quotes(Binance, "BTCUSDT", "ETHUSDT"),
        "Binance: the answer is no list of tickers but dict",
        MisfitError,
    ),
    Payload(
        "ws_captures/BINANCE.0",
        "GET /api/v3/exchangeInfo, which is not asked for, as the answer to /api/v3/ticker/24hr",
        _capture,
        "no event; 1 rejected: the answer is no list of tickers but dict",
    ),
    Payload(
        "ws_captures/BINANCE.http.0.0",
        "GET /api/v3/depth of four pairs, which is not asked for, as the answer to /api/v3/ticker/24hr",
        _capture,
        "no event; 4 rejected: the answer is no list of tickers but dict (4 times)",
    ),
    Payload("kraken/ticker.json", "GET /0/public/Ticker?pair=XBTUSDT", _quotes(Kraken, "XBTUSDT"), "1 quote"),
    Payload(
        "errors_transcribed/binance_400_-1121.json",
        "GET /api/v3/klines?symbol=BTCUSDT, a symbol that there is not",
        _past(Binance, "bar", _BTC, _day("2021-10-22")),
        "Binance: refused all that was asked for: Binance does not know BTCUSDT (Invalid symbol.); "
        "correct the column binance in instruments.csv; see docs/vendors/binance.md",
        SourceError,
    ),
    Payload(
        "errors_transcribed/binance_429_-1003.json",
        "any call, too many of them",
        _past(Binance, "bar", _BTC, _day("2021-10-22")),
        'Binance: answered 429 (\'{"code":-1003,"msg":"Too much request weight used; current limit is 1200 request '
        "weight per 1 MINUTE. Please use the web') (attempt 4 of 4, given up)",
        SourceError,
    ),
    Payload(
        "errors_transcribed/coingecko_429.json",
        "any call, too many of them",
        _coins("bitcoin"),
        'CoinGecko: answered 429 (\'{"status":{"error_code":429,"error_message":"You\\\'ve exceeded the Rate Limit. '
        "Please visit https://www.coingecko.com/en/a') (attempt 4 of 4, given up)",
        SourceError,
    ),
    *(
        Payload(
            f"bitfinex/BTCUSD_1m_2018_{name}.json",
            "GET /v2/candles/trade:1m:tBTCUSD/hist of Bitfinex, which is none of our sources",
            _not_a_source,
            f"there is no source 'bitfinex'; there are {', '.join(NAMES)}",
            ConfigError,
        )
        for name in ("01_18-01-16_08-00-00", "03_18-03-21_10-00-00")
    ),
]
