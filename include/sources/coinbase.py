"""Coinbase Exchange: candles and tickers each minute, candles and trades of the past; no key.

The vendor's `side` of a trade is the maker's; the staging model turns it into the aggressor's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from include.events import Event, Kind, Window, iso
from include.instruments import Instrument
from include.sources.asking import epoch
from include.sources.base import Calls, Order
from include.sources.crypto import (
    MINUTE,
    Ask,
    CryptoExchange,
    Page,
    UnfinishedError,
    UnknownInstrumentError,
    an_object,
    iso_time,
    listed,
    named,
    trade_number,
    trades_in,
)
from include.sources.gate import Limits
from include.sources.http import Answer, VendorHttp

PAGE: Final = 1000  # trades in one answer, the vendor's limit
CANDLE: Final = ("time", "low", "high", "open", "close", "volume")
TRADE: Final = ("trade_id", "side", "size", "price", "time")
_CANDLES: Final = 298  # per call: the vendor takes 300, and whether `end` is one of them makes no difference then


class Coinbase(CryptoExchange):
    """10 calls a second per IP address, 15 for a moment."""

    name = "coinbase"
    vendor = "Coinbase"
    spacing = 0.11
    quotes_at_once = False

    @property
    def limits(self) -> Limits:
        return Limits(per_minute=600)

    def history_order(self, kind: Kind) -> Order:
        return "backward" if kind == "trade" else "forward"

    def history_calls(self, window: Window, instruments: Sequence[Instrument], kind: Kind) -> Calls | None:
        calls = -(-(window.end - window.start) // (_CANDLES * MINUTE)) * len(instruments)
        return Calls(calls, calls) if kind == "bar" else None

    def _http(self) -> VendorHttp:
        return VendorHttp("Coinbase", self.settings.coinbase_url, self.gate, seconds=self.settings.http_timeout_seconds)

    def _pages(self, http: VendorHttp, ask: Ask) -> Iterator[Page]:
        if ask.kind == "quote":
            yield _page(self._get(http, ask, "ticker"))
        elif ask.kind == "bar":
            start = ask.window.start
            while start < ask.window.end:
                until = min(start + _CANDLES * MINUTE, ask.window.end)
                yield _page(self._get(http, ask, "candles", granularity="60", start=iso(start), end=iso(until)))
                start = until
        else:
            yield from self._trades(http, ask)

    def _trades(self, http: VendorHttp, ask: Ask) -> Iterator[Page]:
        """From the window's end back to its start: the vendor pages by trade number only, the newest first."""
        before = self._soon_after(http, ask)
        while True:
            answer = self._newest(http, ask, before, PAGE)
            yield _page(answer)
            rows = trades_in(answer, ask)
            if not rows:
                return
            oldest, at = self._place(ask, rows[-1])
            if at < ask.window.start:
                return
            if before is not None and oldest >= before:
                raise UnfinishedError(f"sends the same page of trades of {ask.id} again", answer.body)
            before = oldest  # as the header CB-AFTER says

    def _soon_after(self, http: VendorHttp, ask: Ask) -> int | None:
        """The number of a trade soon after the window, found by halving; None if the newest page reaches into it.

        A day of a busy product is hundreds of pages, too many to go through from now on.
        """
        rows = trades_in(self._newest(http, ask, None, PAGE), ask)
        if not rows:
            return None
        after, at = self._place(ask, rows[-1])
        if at < ask.window.end:
            return None
        within, step = 0, PAGE  # `after` is known to be after the window, `within` not to be
        while after - within > PAGE:
            number = max(after - step, (after + within) // 2) if within == 0 else (after + within) // 2
            if self._is_after(http, ask, number):
                after, step = number, step * 2
            else:
                within = number
        return after

    def _is_after(self, http: VendorHttp, ask: Ask, number: int) -> bool:
        """Whether the newest trade below this number happened at the window's end or later."""
        rows = trades_in(self._newest(http, ask, number, 1), ask)
        return bool(rows) and self._place(ask, rows[0])[1] >= ask.window.end

    def _newest(self, http: VendorHttp, ask: Ask, before: int | None, limit: int) -> Answer:
        """The newest trades, or the newest with numbers below `before`."""
        after = {} if before is None else {"after": str(before)}
        return self._get(http, ask, "trades", limit=str(limit), **after)

    def _get(self, http: VendorHttp, ask: Ask, what: str, **params: str) -> Answer:
        self._wait()
        answer = http.get(f"/products/{quote(ask.id, safe='')}/{what}", params, accept=(200, 400, 404))
        if answer.status != 200:
            said = answer.data.get("message") if isinstance(answer.data, dict) else None
            raise UnknownInstrumentError(f"answered {answer.status} {said!r:.80}", answer.body)
        return answer

    def _rows(self, ask: Ask, data: Any) -> list[tuple[Any, Any]]:
        if ask.kind == "quote":
            return [(ask.id, data)]
        return [(ask.id, row) for row in listed(data, "candles" if ask.kind == "bar" else "trades")]

    def _event(self, kind: Kind, row: Any, symbol: str, received_at: datetime, at: datetime | None) -> Event:
        if kind == "bar":
            return bar_event(row, symbol, received_at)
        return (quote_event if kind == "quote" else trade_event)(row, symbol, received_at)


def quote_event(row: Any, symbol: str, received_at: datetime) -> Event:
    """A quote of a ticker, as sent, dated with its last trade. Raises ValueError with the reason why it is none."""
    ticker = an_object(row)
    return Event("coinbase", "quote", symbol, iso_time("time", ticker.get("time")), "", ticker, received_at)


def bar_event(row: Any, symbol: str, received_at: datetime) -> Event:
    """A bar of a minute of one candle, its values under the names of `CANDLE`. Raises ValueError likewise."""
    bar = named(CANDLE, row)
    return Event("coinbase", "bar", symbol, epoch("time", bar["time"]), "", bar, received_at)


def trade_event(row: Any, symbol: str, received_at: datetime) -> Event:
    """A trade of REST or of the feed's channel `matches` (`match`, `last_match`). Raises ValueError likewise.

    The payload holds the fields that both have (`TRADE`) and nothing else, so that both give the same event: a match of
    the feed also has `type`, `sequence`, `product_id` and the orders' ids. The vendor's id is `trade_id`.
    """
    trade = an_object(row)
    number, at = trade_number("trade_id", trade.get("trade_id")), iso_time("time", trade.get("time"))
    payload = {name: trade[name] for name in TRADE if name in trade}
    return Event("coinbase", "trade", symbol, at, str(number), payload, received_at)


def _page(answer: Answer) -> Page:
    return Page(answer.data, answer.body)
