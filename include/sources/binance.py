"""Binance spot: bars and 24-hour tickers each minute, bars and aggregate trades of the past; no key.

Prices are in the currency of the pair: the instruments map BTC-USD to BTCUSDT, so they are in USDT, not in USD.
A trade is an aggregate trade (fills of one order at one price), as in the stream `aggTrade`: both give the same event.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from include.errors import SourceError
from include.events import Event, Kind, Window
from include.instruments import Instrument
from include.sources.asking import epoch
from include.sources.base import Calls
from include.sources.crypto import (
    MINUTE,
    Ask,
    CryptoExchange,
    Page,
    Query,
    UnfinishedError,
    UnknownInstrumentError,
    an_object,
    listed,
    millis,
    named,
    trade_number,
    trades_in,
    vendor_clock,
)
from include.sources.gate import Limits
from include.sources.http import Answer, RateLimitedError, VendorHttp

PAGE: Final = 1000  # rows in one answer, the vendor's limit
KLINE: Final = (
    "openTime", "open", "high", "low", "close", "volume", "closeTime", "quoteVolume", "count", "takerBuyBaseVolume",
    "takerBuyQuoteVolume", "unused",
)  # fmt: skip
AGGREGATE_TRADE: Final = ("a", "p", "q", "f", "l", "T", "m", "M")
_WEIGHT_PER_MINUTE: Final = 6000
_KLINES_WEIGHT: Final = 2
_MINUTE: Final = 60_000  # ms
_HOUR: Final = 60 * _MINUTE  # with both times given the vendor takes no longer span
_UNKNOWN: Final = (-1121, -1100)  # invalid symbol; illegal characters in it
_TOO_MANY: Final = -1003


class Binance(CryptoExchange):
    """Weights count per IP address, whatever the key."""

    name = "binance"
    vendor = "Binance"

    @property
    def limits(self) -> Limits:
        return Limits(per_minute=_WEIGHT_PER_MINUTE)

    def history_calls(self, window: Window, instruments: Sequence[Instrument], kind: Kind) -> Calls | None:
        calls = -(-(window.end - window.start) // (PAGE * MINUTE)) * len(instruments)
        return Calls(calls, calls * _KLINES_WEIGHT) if kind == "bar" else None

    def trades_from(self, instrument: Instrument, trade_id: int, end: datetime) -> Query:
        """Aggregate trades from the one with this id on, up to `end`: what a feed missed, whatever the clocks say."""
        window = Window(datetime(1970, 1, 1, tzinfo=UTC), end)
        ask = Ask("trade", {instrument.ids[self.name]: instrument.symbol}, window, from_id=trade_id)
        return Query((ask,), None)

    def _http(self) -> VendorHttp:
        return VendorHttp("Binance", self.settings.binance_url, self.gate, seconds=self.settings.http_timeout_seconds)

    def _pages(self, http: VendorHttp, ask: Ask) -> Iterator[Page]:
        if ask.kind == "quote":
            symbols, weight = orjson.dumps(list(ask.symbols)).decode(), _ticker_weight(len(ask.symbols))
            yield _page(self._get(http, "/api/v3/ticker/24hr", weight, symbols=symbols))
        elif ask.kind == "bar":
            yield from self._bars(http, ask)
        elif ask.from_id is not None:
            yield from self._trades_from(http, ask, ask.from_id)
        else:
            yield from self._trades(http, ask)

    def _bars(self, http: VendorHttp, ask: Ask) -> Iterator[Page]:
        start, last = millis(ask.window.start), millis(ask.window.end) - _MINUTE
        for first in range(start, last + 1, PAGE * _MINUTE):
            until = min(first + (PAGE - 1) * _MINUTE, last)
            times = {"interval": "1m", "startTime": first, "endTime": until, "limit": PAGE}
            yield _page(self._get(http, "/api/v3/klines", _KLINES_WEIGHT, symbol=ask.id, **times))

    def _trades(self, http: VendorHttp, ask: Ask) -> Iterator[Page]:
        """The first page by time, the others by id, so that a page may end within a millisecond."""
        end = millis(ask.window.end)
        for first in range(millis(ask.window.start), end, _HOUR):
            times = {"startTime": first, "endTime": min(first + _HOUR, end) - 1, "limit": PAGE}
            answer = self._get(http, "/api/v3/aggTrades", 4, symbol=ask.id, **times)
            yield _page(answer)
            if rows := trades_in(answer, ask):
                number, at = self._place(ask, rows[-1])
                if at < ask.window.end:
                    yield from self._trades_from(http, ask, number + 1)
                return

    def _trades_from(self, http: VendorHttp, ask: Ask, number: int) -> Iterator[Page]:
        while True:
            answer = self._get(http, "/api/v3/aggTrades", 4, symbol=ask.id, fromId=number, limit=PAGE)
            yield _page(answer)
            rows = trades_in(answer, ask)
            if not rows:
                return
            last, at = self._place(ask, rows[-1])
            if at >= ask.window.end:
                return
            if last < number:
                raise UnfinishedError(f"sends the same page of trades of {ask.id} again", answer.body)
            number = last + 1

    def _rows(self, ask: Ask, data: Any) -> list[tuple[Any, Any]]:
        if ask.kind == "quote":
            return [(row.get("symbol") if isinstance(row, dict) else None, row) for row in listed(data, "tickers")]
        return [(ask.id, row) for row in listed(data, "klines" if ask.kind == "bar" else "trades")]

    def _event(self, kind: Kind, row: Any, symbol: str, received_at: datetime, at: datetime | None) -> Event:
        if kind == "bar":
            return bar_event(row, symbol, received_at)
        return (quote_event if kind == "quote" else trade_event)(row, symbol, received_at)

    def _get(self, http: VendorHttp, path: str, weight: int, **params: Any) -> Answer:
        self._wait()
        texts = {name: str(value) for name, value in params.items()}
        answer = http.get(path, texts, weight=weight, accept=(200, 400, 451), check=self._check)
        if answer.status != 200:
            raise UnknownInstrumentError(str(answer.data["msg"])[:80], answer.body)
        return answer

    def _check(self, answer: Answer) -> None:
        """Raises RateLimitedError for a limit, SourceError for an error that is not about a symbol."""
        if pause := _nearly_spent(answer):
            self.gate.pause(pause, "nearly all of the minute's weight is used, by us or others on this address")
        if answer.status == 200:
            return
        error = answer.data if isinstance(answer.data, dict) else {}
        code, said = error.get("code"), f"answered {answer.status} ({error.get('code')} {error.get('msg')!r:.120})"
        if code == _TOO_MANY:
            raise RateLimitedError(said)
        if answer.status == 451:
            said += "; it does not serve this place; QUANTSTREAM_BINANCE_URL=https://data-api.binance.vision may"
        if answer.status == 451 or code not in _UNKNOWN:
            raise SourceError(f"Binance: {said}")


def quote_event(row: Any, symbol: str, received_at: datetime) -> Event:
    """A quote of one object of the 24-hour ticker, as sent. Raises ValueError with the reason why it is none."""
    ticker = an_object(row)
    return Event("binance", "quote", symbol, _at("closeTime", ticker), "", ticker, received_at)


def bar_event(row: Any, symbol: str, received_at: datetime) -> Event:
    """A bar of a minute of one kline, its values under the names of `KLINE`. Raises ValueError likewise."""
    bar = named(KLINE, row)
    return Event("binance", "bar", symbol, _at("openTime", bar), "", bar, received_at)


def trade_event(row: Any, symbol: str, received_at: datetime) -> Event:
    """A trade of an aggregate trade, from REST or from the stream `aggTrade`. Raises ValueError likewise.

    The payload holds the fields that both have (`AGGREGATE_TRADE`) and nothing else, so that both give the same event:
    a frame of the stream also has `e`, `E` and `s`. The vendor's id is the aggregate trade's, `a`.
    """
    trade = an_object(row)
    number, at = trade_number("a", trade.get("a")), _at("T", trade)
    payload = {name: trade[name] for name in AGGREGATE_TRADE if name in trade}
    return Event("binance", "trade", symbol, at, str(number), payload, received_at)


def _at(name: str, fields: dict[str, Any]) -> datetime:
    return epoch(name, fields.get(name), per_second=1000)


def _page(answer: Answer) -> Page:
    return Page(answer.data, answer.body)


def _ticker_weight(symbols: int) -> int:
    return 2 if symbols <= 20 else 40 if symbols <= 100 else 80


def _nearly_spent(answer: Answer) -> float | None:
    """Seconds to the next minute of the vendor's clock if 95 % of the weight is used."""
    used, now = answer.headers.get("X-MBX-USED-WEIGHT-1M", ""), vendor_clock(answer)
    if now is None or not used.isdecimal() or int(used) < _WEIGHT_PER_MINUTE * 0.95:
        return None
    return 60.0 - now.second
