"""What the recorded answers of Yahoo, Alpha Vantage and Polygon become, each sent once more by a local server."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from include.errors import SourceError
from include.events import Kind, Window
from include.instruments import Instrument
from include.settings import Settings
from include.sources.alphavantage import AlphaVantage
from include.sources.base import Batch, Source
from include.sources.polygon import Polygon
from include.sources.polygon_results import Ask as PolygonAsk
from include.sources.yahoo import Yahoo
from include.sources.yahoo_chart import Ask as YahooAsk
from tests.faults.proxy import Answer, FaultProxy
from tests.sources.asked import coin, share, whole
from tests.sources.payloads import Payload

Parse = Callable[[Path], Batch]


def _settings(url: str) -> Settings:
    given: dict[str, Any] = {
        "yahoo_url": url, "alphavantage_url": url, "polygon_url": url, "polygon_plan": "advanced",
        "alphavantage_plan": "premium", "alphavantage_api_key": "key", "polygon_api_key": "key",
    }  # fmt: skip
    return Settings(_env_file=None, **given)


def _asked(source: Source[Any, Any], query: Any) -> Batch:
    return whole(source.transform(query, reply, datetime.now(UTC)) for reply in source.extract(query))


def _served(path: Path, made: type[Source[Any, Any]], query: Callable[[Any], Any]) -> Batch:
    """Ask a server that answers with the file; errors with the status in its name."""
    status = re.search(r"(?:error_|_)([2-5]\d\d)_|_([45]\d\d)\.json", path.name)
    code = int(status[1] or status[2]) if status else 200
    with FaultProxy() as server:
        server.add(Answer(code, path.read_bytes(), {"Content-Type": "application/json"}), times=None)
        source = made(_settings(server.url))
        return _asked(source, query(source))


def _day(text: str, days: int = 1) -> Window:
    start = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return Window(start, start + timedelta(days=days))


def _chart(ticker: str, interval: str, window: Window) -> Parse:
    """A call for everything that a chart holds."""
    kinds: frozenset[Kind] = frozenset({"quote", "bar", "action"})
    ask = YahooAsk(ticker, ticker, interval, {}, kinds, window)
    return lambda path: _served(path, Yahoo, lambda _: (ask,))


def _vantage(instrument: Instrument, window: Window, history: Kind | None = None) -> Parse:
    def query(source: Any) -> Any:
        return source.history(window, (instrument,), history) if history else source.query(window, (instrument,))

    return lambda path: _served(path, AlphaVantage, query)


def _polygon(kind: Kind, ticker: str, window: Window) -> Parse:
    ask = PolygonAsk(kind, "/", {}, {ticker: ticker}, window.end, window)
    return lambda path: _served(path, Polygon, lambda _: (ask,))


_CHART = "GET /v8/finance/chart/"
_QUERY = "GET /query?function="
_MSFT, _BTC = share("alphavantage", "MSFT"), coin("alphavantage", "BTC-CNY", "BTC", "CNY")
_ADVICE = "check QUANTSTREAM_ALPHAVANTAGE_PLAN and QUANTSTREAM_ALPHAVANTAGE_API_KEY"
_YAHOO = "Yahoo: refused all that was asked for:"
_REFUSES = "Yahoo refuses this address or this client for now; see docs/vendors/yahoo.md"
_V7 = "the answer is no chart but the keys quoteResponse"

PAYLOADS: list[Payload] = [
    Payload(
        "yahoo/chart_AAPL_1m_2024-10-02.json",
        _CHART + "AAPL?interval=1m",
        _chart("AAPL", "1m", _day("2024-10-02")),
        "389 bars, 1 quote; 1 rejected: a row of 2024-10-03T20:00:00Z, outside of what was asked for",
    ),
    Payload(
        "yahoo/chart_TSLA_30m_2021-11-22.json",
        _CHART + "TSLA?interval=30m&includePrePost=true",
        _chart("TSLA", "30m", _day("2021-11-22")),
        "30 bars, 1 quote",
    ),
    Payload(
        "yahoo/chart_AAPL_1d_2020-08-31_2020-11-07_split_dividend.json",
        _CHART + "AAPL?interval=1d&events=div,split",
        _chart("AAPL", "1d", _day("2020-08-31", 68)),
        "2 actions, 49 bars, 1 quote",
    ),
    Payload(
        "yahoo/chart_BTC-USD_1d_2020-01-01.json",
        _CHART + "BTC-USD?interval=1d",
        _chart("BTC-USD", "1d", _day("2020-01-01", 2)),
        "2 bars, 1 quote; 1 rejected: a row of 2020-01-03T00:00:00Z, outside of what was asked for",
    ),
    Payload(
        "yahoo/chart_error_400_BFLY.json",
        _CHART + "BFLY?interval=1d",
        _chart("BFLY", "1d", _day("2020-01-01", 2)),
        f"{_YAHOO} BFLY: Bad Request: Data doesn't exist for startDate = 1577836800, endDate = 1578009600; {_REFUSES}",
        SourceError,
    ),
    Payload(
        "yahoo/chart_error_404_SIX.json",
        _CHART + "SIX?interval=1d",
        _chart("SIX", "1d", _day("2020-01-01", 2)),
        f"{_YAHOO} SIX: Not Found: No data found, symbol may be delisted; {_REFUSES}",
        SourceError,
    ),
    Payload(
        "yahoo/quote_AAPL_BABA.json",
        "GET /v7/finance/quote?symbols=AAPL,BABA (not asked: it wants a crumb)",
        _chart("AAPL", "1m", _day("2025-02-14")),
        f"{_YAHOO} AAPL: {_V7}; {_REFUSES}",
        SourceError,
    ),
    Payload(
        "yahoo/quote_BTC-USD.json",
        "GET /v7/finance/quote?symbols=BTC-USD (not asked: it wants a crumb)",
        _chart("BTC-USD", "1m", _day("2025-02-17")),
        f"{_YAHOO} BTC-USD: {_V7}; {_REFUSES}",
        SourceError,
    ),
    Payload(
        "yahoo/quote_unknown_symbol_empty_result.json",
        "GET /v7/finance/quote?symbols=SIX (not asked: it wants a crumb)",
        _chart("SIX", "1m", _day("2025-02-17")),
        f"{_YAHOO} SIX: {_V7}; {_REFUSES}",
        SourceError,
    ),
    Payload(
        "errors_transcribed/yahoo_401_invalid_crumb.json",
        _CHART + "AAPL",
        _chart("AAPL", "1m", _day("2025-02-17")),
        'Yahoo: answered 401 (\'{"finance":{"result":null,"error":{"code":"Unauthorized","description":'
        f'"Invalid Crumb"}}}}}}\'); {_REFUSES}',
        SourceError,
    ),
    Payload(
        "alphavantage/global_quote_MSFT.json",
        _QUERY + "GLOBAL_QUOTE&symbol=MSFT",
        _vantage(_MSFT, _day("2018-10-06")),
        "1 quote",
    ),
    Payload(
        "alphavantage/currency_exchange_rate.json",
        _QUERY + "CURRENCY_EXCHANGE_RATE&from_currency=BTC&to_currency=CNY",
        _vantage(_BTC, _day("2017-12-20")),
        "1 quote",
    ),
    Payload(
        "alphavantage/time_series_intraday_1min_MSFT_compact.json",
        _QUERY + "TIME_SERIES_INTRADAY&symbol=MSFT&interval=1min",
        _vantage(_MSFT, _day("2017-12-18"), "bar"),
        "100 bars",
    ),
    Payload(
        "alphavantage/sma_15min_MSFT.json",
        _QUERY + "SMA&symbol=MSFT&interval=15min (not asked: indicators are computed here)",
        _vantage(_MSFT, _day("2017-12-18"), "bar"),
        "Alpha Vantage: refused all that was asked for: MSFT: the answer has no 'Time Series (1min)' but Meta Data, "
        f"Technical Analysis: SMA; {_ADVICE}",
        SourceError,
    ),
    Payload(
        "errors_transcribed/alphavantage_200_note_per_minute.json",
        _QUERY + "GLOBAL_QUOTE&symbol=MSFT",
        _vantage(_MSFT, _day("2018-10-06")),
        'Alpha Vantage: says that we ask too often (\'{ "Note": "Thank you for using Alpha Vantage! Our standard API '
        "call frequency is 5 calls per minute and 500 calls per da') and asks for a break of 60 s (attempt 4 of 4, "
        "given up)",
        SourceError,
    ),
    Payload(
        "errors_transcribed/alphavantage_200_error_message.json",
        _QUERY + "TIME_SERIES_INTRADAY&symbol=MSFT",
        _vantage(_MSFT, _day("2017-12-18"), "bar"),
        "Alpha Vantage: refused all that was asked for: MSFT: Invalid API call. Please retry or visit the "
        f"documentation (https://www.alphavantage.co/documentation/) for TIME_SERIES_INTRADAY.; {_ADVICE}",
        SourceError,
    ),
    Payload(
        "polygon/snapshot_tickers.json",
        "GET /v2/snapshot/locale/us/markets/stocks/tickers?tickers=BCAT",
        _polygon("quote", "BCAT", _day("2023-05-18")),
        "1 bar, 1 quote",
    ),
    Payload(
        "polygon/aggs_AAPL_1day_2005-04-01_2005-04-04.json",
        "GET /v2/aggs/ticker/AAPL/range/1/day/2005-04-01/2005-04-04",
        _polygon("bar", "AAPL", _day("2005-04-01", 4)),
        "2 bars",
    ),
    Payload(
        "polygon/trades_v3_AAPL.json",
        "GET /v3/trades/AAPL",
        _polygon("trade", "AAPL", _day("2022-04-28")),
        "2 trades",
    ),
    Payload(
        "polygon/last_trade_AAPL.json",
        "GET /v2/last/trade/AAPL (not asked: a snapshot has it)",
        _polygon("trade", "AAPL", _day("2022-04-28")),
        "1 trade",
    ),
    Payload(
        "polygon/rsi_AAPL_minute_w20.json",
        "GET /v1/indicators/rsi/AAPL (not asked: indicators are computed here)",
        _polygon("bar", "AAPL", _day("2022-08-19")),
        "Polygon: refused all that was asked for: AAPL: results are the values of an indicator, not bars; check "
        "QUANTSTREAM_POLYGON_PLAN and QUANTSTREAM_POLYGON_API_KEY",
        SourceError,
    ),
    Payload(
        "errors_transcribed/polygon_429.json",
        "GET /v2/aggs/ticker/AAPL/range/1/minute",
        _polygon("bar", "AAPL", _day("2022-08-19")),
        'Polygon: answered 429 (\'{"status":"ERROR","request_id":"aabbccddeeff00112233445566778899","error":'
        "\"You\\'ve exceeded the maximum requests per minu') (attempt 4 of 4, given up)",
        SourceError,
    ),
]
