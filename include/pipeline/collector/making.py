"""A row of a feed -> the event that the vendor's REST source makes of the same thing, by the same functions."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import import_module

from include.events import Event
from include.feeds.base import Row

_1970 = datetime(1970, 1, 1, tzinfo=UTC)


class Maker:
    """Makes one exchange's events. It remembers the last price of each instrument, for quotes."""

    def __init__(self, exchange: str) -> None:
        self.exchange = exchange
        self._source = import_module(f"include.sources.{exchange}")
        self._last_price: dict[str, str] = {}

    def event(self, row: Row, symbol: str, received_at: datetime) -> Event | None:
        """The event of a row; None for a quote while no trade has told the last price.

        Raises ValueError with the reason why it is no event.
        """
        if row.stream == "bars":
            return self._event("bar_event", row.fields, symbol, received_at)
        if row.stream == "quotes":
            return self._quote(row, symbol, received_at)
        if self.exchange == "binance":
            self._last_price[row.vendor] = row.fields["p"]
            if row.number is None:
                return _single(row, symbol, received_at)
        return self._event("trade_event", row.fields, symbol, received_at)

    def _quote(self, row: Row, symbol: str, received_at: datetime) -> Event | None:
        """The best bid and ask, with the last price and the time that a ticker has and `bookTicker` has not."""
        price = self._last_price.get(row.vendor)
        if price is None:
            return None
        closed = (received_at - _1970) // timedelta(milliseconds=1)
        return self._event("quote_event", row.fields | {"lastPrice": price, "closeTime": closed}, symbol, received_at)

    def _event(self, name: str, fields: object, symbol: str, received_at: datetime) -> Event:
        event: Event = getattr(self._source, name)(fields, symbol, received_at)
        return event


def _single(row: Row, symbol: str, received_at: datetime) -> Event:
    """A single trade of Binance: its id counts otherwise than an aggregate's, so it is marked with `t`."""
    assert row.at is not None  # noqa: S101  # a trade has its time
    event = Event("binance", "trade", symbol, row.at, "", row.fields, received_at)
    return replace(event, vendor_id=f"t{row.fields['t']}")
