"""Kraken: bars and tickers each minute, trades of the past (and bars of its last 720 minutes); no key.

Errors come with status 200, in the list `error`. An answer names a pair in its own way (`XXBTZUSD`), whatever name it
was asked by (`XBTUSD`, `XBT/USD`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from math import isfinite
from typing import Any, Final

from include.errors import MisfitError, SourceError
from include.events import Event, Kind, Window
from include.instruments import Instrument
from include.sources.asking import epoch
from include.sources.base import Calls
from include.sources.crypto import (
    MINUTE,
    Ask,
    CryptoExchange,
    Page,
    UnfinishedError,
    UnknownInstrumentError,
    an_object,
    iso_time,
    millis,
    named,
    trade_number,
    vendor_clock,
)
from include.sources.gate import Limits
from include.sources.http import Answer, RateLimitedError, VendorHttp

CANDLES: Final = 720  # that the vendor keeps, whatever is asked for
CANDLE: Final = ("time", "open", "high", "low", "close", "vwap", "volume", "count")
TRADE: Final = ("price", "volume", "time", "side", "type", "misc", "trade_id")
_LEGACY: Final = re.compile(r"[XZ]([A-Z0-9]{3})[XZ]([A-Z0-9]{3})")  # XXBTZUSD
_LIMIT: Final = re.compile(r"Too many requests|Rate limit|Throttled", re.IGNORECASE)
_UNKNOWN: Final = re.compile(r"EQuery:(Unknown|Invalid) asset pair|EGeneral:Invalid arguments:pair", re.IGNORECASE)


class Kraken(CryptoExchange):
    """About one call a second per IP address and pair; kept to one a second in all."""

    name = "kraken"
    vendor = "Kraken"
    spacing = 1.0

    @property
    def limits(self) -> Limits:
        return Limits(per_minute=60)

    def history_calls(self, window: Window, instruments: Sequence[Instrument], kind: Kind) -> Calls | None:
        return Calls(len(instruments), len(instruments)) if kind == "bar" else None

    def _http(self) -> VendorHttp:
        return VendorHttp("Kraken", self.settings.kraken_url, self.gate, seconds=self.settings.http_timeout_seconds)

    def _pages(self, http: VendorHttp, ask: Ask) -> Iterator[Page]:
        if ask.kind == "quote":
            yield from self._quotes(http, ask)
        elif ask.kind == "bar":
            yield from self._bars(http, ask)
        else:
            yield from self._trades(http, ask)

    def _quotes(self, http: VendorHttp, ask: Ask) -> Iterator[Page]:
        answer = self._get(http, "Ticker", pair=",".join(ask.symbols))
        found = answer.data["result"]
        if isinstance(found, dict) and any(_asked_as(key, ask.symbols) is None for key in found):
            names = self._other_names(http, ask)
            found = {names.get(key, key): ticker for key, ticker in found.items()}
        yield Page(found, answer.body, vendor_clock(answer))

    def _other_names(self, http: VendorHttp, ask: Ask) -> dict[str, str]:
        """The vendor's key of each pair asked for -> the name it was asked by, from the vendor's own list."""
        pairs = self._get(http, "AssetPairs", pair=",".join(ask.symbols)).data["result"]
        return {
            key: pair[name]
            for key, pair in (pairs.items() if isinstance(pairs, dict) else ())
            for name in ("altname", "wsname")
            if isinstance(pair, dict) and pair.get(name) in ask.symbols
        }

    def _bars(self, http: VendorHttp, ask: Ask) -> Iterator[Page]:
        since = millis(ask.window.start - MINUTE) // 1000  # whether a bar of that time is meant makes no difference
        answer = self._get(http, "OHLC", pair=ask.id, interval="1", since=str(since))
        found = answer.data["result"]
        yield Page(found, answer.body)
        rows = _of_only_pair(found)
        try:
            first = epoch("time", rows[0][0]) if len(rows) >= CANDLES else ask.window.start
        except (ValueError, LookupError, TypeError):
            return  # `transform` says what is wrong with it
        if first > ask.window.start:
            raise UnfinishedError(
                f"it has candles of a minute of {ask.id} from {first:%Y-%m-%d %H:%M} on only, the last {CANDLES}; "
                "ask for the trades of what is before, candles are made of them as well",
                answer.body,
            )

    def _trades(self, http: VendorHttp, ask: Ask) -> Iterator[Page]:
        """Forward by nanoseconds. A page starts at the instant the page before ended at: more trades may share it."""
        since, seen, instant = millis(ask.window.start) * 1_000_000 - 1, -1, ask.window.start
        while True:
            answer = self._get(http, "Trades", pair=ask.id, since=str(since))
            found = answer.data["result"]
            yield Page(found, answer.body)
            try:
                rows = [row for _, row in self._rows(ask, found)]
            except ValueError as error:
                raise UnfinishedError(f"no trades of {ask.id}: {error}", answer.body) from None
            if not rows:
                return
            number, at = self._place(ask, rows[-1])
            if at >= ask.window.end:
                return
            if number <= seen:  # nothing new: the newest trades once more, or a page that was had already
                if self._place(ask, rows[0])[1] < instant:
                    raise UnfinishedError(f"sends the same page of trades of {ask.id} again", answer.body)
                return
            cursor = found["last"] if isinstance(found.get("last"), str) else ""
            if not cursor.isdecimal() or int(cursor) <= since:
                said = f"last is {found.get('last')!r:.60}, which leads to no further trades of {ask.id}"
                raise UnfinishedError(said, answer.body)
            since, seen, instant = int(cursor) - 1, number, at

    def _get(self, http: VendorHttp, what: str, **params: str) -> Answer:
        self._wait()
        answer = http.get(f"/0/public/{what}", params, check=_check)
        if said := _errors(answer.data["error"]):
            raise UnknownInstrumentError(said, answer.body)
        return answer

    def _rows(self, ask: Ask, data: Any) -> list[tuple[Any, Any]]:
        if not isinstance(data, dict):
            raise ValueError(f"result is no object but {type(data).__name__}")
        if ask.kind == "quote":
            return [(_asked_as(key, ask.symbols) or key, ticker) for key, ticker in data.items()]
        pairs = [key for key in data if key != "last"]
        if len(pairs) != 1 or not isinstance(data[pairs[0]], list):
            raise ValueError(f"result holds no list of one pair but {', '.join(data)[:60] or 'nothing'}")
        return [(ask.id, row) for row in data[pairs[0]]]

    def _event(self, kind: Kind, row: Any, symbol: str, received_at: datetime, at: datetime | None) -> Event:
        if kind == "quote":
            return quote_event(row, symbol, received_at, at)
        return bar_event(row, symbol, received_at) if kind == "bar" else trade_event(row, symbol, received_at)


def quote_event(row: Any, symbol: str, received_at: datetime, at: datetime | None = None) -> Event:
    """A quote of one ticker, as sent. It carries no time: `at` is when the vendor answered, else when we received it.

    Raises ValueError with the reason why it is none.
    """
    return Event("kraken", "quote", symbol, at or received_at, "", an_object(row), received_at)


def bar_event(row: Any, symbol: str, received_at: datetime) -> Event:
    """A bar of a minute of one OHLC row, its values under the names of `CANDLE`. Raises ValueError likewise."""
    bar = named(CANDLE, row)
    return Event("kraken", "bar", symbol, epoch("time", bar["time"]), "", bar, received_at)


def trade_event(row: Any, symbol: str, received_at: datetime) -> Event:
    """A trade of a REST row (under the names of `TRADE`) or of an object of the feed's channel `trade` (version 2).

    Both are kept as sent, and the two differ: REST has seconds as a number and `b`, the feed a text and `buy`. The
    natural key is the same: the vendor's id is `trade_id`, and the time is cut to the millisecond, because REST rounds
    nanoseconds to a float and the feed cuts them. Raises ValueError likewise.
    """
    trade = named(TRADE, row) if isinstance(row, list) else an_object(row)
    at = iso_time("timestamp", trade["timestamp"]) if "timestamp" in trade else _seconds(trade.get("time"))
    at = at.replace(microsecond=at.microsecond // 1000 * 1000)
    return Event(
        "kraken", "trade", symbol, at, str(trade_number("trade_id", trade.get("trade_id"))), trade, received_at
    )


def _check(answer: Answer) -> None:
    """Raises RateLimitedError, MisfitError, and SourceError for an error that is not about a pair."""
    listed = answer.data.get("error") if isinstance(answer.data, dict) else None
    said = _errors(listed) if isinstance(listed, list) else ""
    if not isinstance(listed, list) or (not said and "result" not in answer.data):
        raise MisfitError("Kraken: the answer holds neither errors nor a result", answer.body)
    if _LIMIT.search(said):
        raise RateLimitedError(f"answered {said}")
    if said and not _UNKNOWN.search(said):
        raise SourceError(f"Kraken: answered {said}")


def _errors(listed: list[Any]) -> str:
    """The errors as a text; warnings (`WGeneral:...`) come with a result and are none."""
    return ", ".join(str(one) for one in listed if not str(one).startswith("W"))[:200]


def _asked_as(key: str, symbols: Mapping[str, str]) -> str | None:
    """The name by which the pair of this key was asked for, as far as the vendor's old way of naming says."""
    old = _LEGACY.fullmatch(key)
    names = (key, old[1] + old[2] if old else key)
    return next((name for name in names if name in symbols), None)


def _of_only_pair(found: Any) -> list[Any]:
    """The rows of an answer about one pair, whatever its key; none if it has another form."""
    rows = [rows for key, rows in found.items() if key != "last"] if isinstance(found, dict) else []
    return rows[0] if len(rows) == 1 and isinstance(rows[0], list) else []


def _seconds(value: Any) -> datetime:
    """The time of seconds with a fraction, exact to the millisecond: the float's own digits count, not its binary."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value):
        raise ValueError(f"time is {value!r:.60}; it must be seconds since 1970")
    return epoch("time", int(Decimal(repr(value)) * 1000), per_second=1000)
