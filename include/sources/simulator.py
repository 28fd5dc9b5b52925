"""A market made of noise, the default source: one quote per symbol and minute, shocks included.

A quote is a function of (seed, symbol, minute) alone. No state is carried, so a backfill of any window gives the quotes
that were seen live, and it does not matter which other symbols are asked for. Log price = level + market + class + own
noise; equities are quoted around the clock so that there is always something to see.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import floor, log10
from typing import Any, Final, NamedTuple

import numpy as np

from include.events import Event, Window
from include.instruments import Instrument
from include.sources import shocks
from include.sources.base import Batch, Source
from include.sources.noise import Floats, Ints, bits, key, keys, normal, uniform, volatility, walk

# Where the price of a known symbol lives, in its currency; others get one between 2 and 500.
_LEVELS: Final = {
    "BTC-USD": 64_000.0, "ETH-USD": 3_100.0, "SOL-USD": 150.0, "XRP-USD": 0.55, "ADA-USD": 0.42, "DOGE-USD": 0.14,
    "AVAX-USD": 28.0, "DOT-USD": 6.2, "LINK-USD": 14.5, "LTC-USD": 78.0, "BCH-USD": 390.0, "UNI-USD": 8.1,
    "ATOM-USD": 6.9, "XLM-USD": 0.11, "NEAR-USD": 5.3, "AAPL": 215.0, "MSFT": 425.0, "NVDA": 122.0, "AMZN": 185.0,
    "GOOGL": 172.0, "TSLA": 235.0, "JPM": 208.0, "BAC": 41.0, "XOM": 116.0, "SPY": 548.0,
}  # fmt: skip


class _Market(NamedTuple):
    """How a class of assets moves: usual move of a day, its parts (their squares add up to 1), spread, turnover."""

    day_move: float
    market: float
    of_class: float
    own: float
    half_spread: tuple[float, float]  # share of the price, from and to
    day_turnover: tuple[float, float]  # in the currency, from and to


_MARKETS: Final = {
    "crypto": _Market(0.02, 0.55, 0.63, 0.55, (2e-4, 8e-4), (5e7, 2e9)),
    "equity": _Market(0.01, 0.60, 0.50, 0.62, (0.5e-4, 2e-4), (5e8, 1e10)),
}


@dataclass(frozen=True, slots=True)
class Query:
    """Whole minutes, given by their starts, of some instruments."""

    window: Window
    instruments: tuple[Instrument, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """Quotes of one hour at the most: (vendor id, time, payload). `complete_until`: nothing earlier follows."""

    quotes: list[tuple[str, datetime, dict[str, Any]]]
    complete_until: datetime


class Simulator(Source[Query, Answer]):
    """Quotes of the minutes that begin in the window, each stamped within its minute's last second."""

    name = "simulator"

    def query(self, window: Window, instruments: Sequence[Instrument]) -> Query:
        return Query(window, tuple(instruments))

    def extract(self, query: Query) -> Iterator[Answer]:
        exchange = _Exchange(self.settings.simulator_seed, query.instruments)
        minutes = np.array([int(minute.timestamp()) // 60 for minute in query.window.minutes()], dtype=np.int64)
        for hour in np.unique(minutes // 60):
            end = datetime.fromtimestamp((int(hour) + 1) * 3600, UTC)
            yield Answer(exchange.quotes(int(hour), minutes[minutes // 60 == hour]), min(end, query.window.end))

    def transform(self, query: Query, raw: Answer, received_at: datetime) -> Batch:
        symbols = {instrument.ids[self.name]: instrument.symbol for instrument in query.instruments}
        events = [
            Event(self.name, "quote", symbols[vendor], at, "", payload, received_at, raw.complete_until)
            for vendor, at, payload in raw.quotes
        ]
        return Batch(events, list(range(1, len(events) + 1)))


class _Exchange:
    """The simulated market of some instruments: rows are instruments, columns minutes."""

    def __init__(self, seed: int, instruments: Sequence[Instrument]) -> None:
        self.seed = seed
        self.ids = [instrument.ids["simulator"] for instrument in instruments]
        self.own = keys("own", seed, each=self.ids)
        self.factors = keys("factor", seed, each=["market", *_MARKETS])
        self.row_of_class = np.array([1 + list(_MARKETS).index(one.asset_class) for one in instruments])
        self.markets = [_MARKETS[instrument.asset_class] for instrument in instruments]
        traits = [np.random.Generator(np.random.PCG64(key("traits", one))).random(4) for one in self.ids]
        level, self.beta, spread, turnover = np.array(traits).T[:, :, None]
        self.beta = 0.7 + 0.6 * self.beta
        self.level = 2.0 * 250.0**level
        for row, one in enumerate(self.ids):
            self.level[row] = _LEVELS.get(one, self.level[row, 0])
        self.half_spread = _between(self._column("half_spread"), spread)
        self.day_volume = _between(self._column("day_turnover"), turnover) / self.level
        digits = [2 if one.asset_class == "equity" else 5 - floor(log10(level)) for one, level in
                  zip(instruments, self.level[:, 0], strict=True)]  # fmt: skip
        self.ticks = 10.0 ** np.maximum(np.array(digits), 2)[:, None]  # ticks in one unit of the currency

    def _column(self, name: str) -> Floats:
        return np.array([getattr(market, name) for market in self.markets], dtype=np.float64)

    def log_price(self, minutes: Ints) -> Floats:
        """Log price at whole minutes, without shocks."""
        common, own = walk(self.factors, minutes), walk(self.own, minutes)
        moves = (
            self._column("market")[:, None] * common[[0]]
            + self._column("of_class")[:, None] * common[self.row_of_class]
        ) * self.beta + self._column("own")[:, None] * own
        return np.asarray(np.log(self.level) + moves * (self._column("day_move")[:, None] / np.sqrt(1440.0)))

    def quotes(self, hour: int, minutes: Ints) -> list[tuple[str, datetime, dict[str, Any]]]:
        """The quotes of some minutes (given by their starts) of one hour, by minute and then by instrument."""
        day, now = hour - hour % 24, hour % 24
        of_hour = np.arange(60, dtype=np.int64)
        plan = shocks.schedule(self.seed, self.ids, day + np.arange(24))
        effect = plan.price_effect(now, of_hour)
        price = self._rounded(np.exp(self.log_price(hour * 60 + 1 + of_hour) + effect))  # as the minute ends
        spread = self.half_spread * volatility(self.own, hour * 60 + of_hour) * np.where(effect, 4.0, 1.0)
        bid = np.maximum(np.floor(price * (1 - spread) * self.ticks), 1) / self.ticks
        ask = np.ceil(price * (1 + spread) * self.ticks) / self.ticks
        volume = self._volume_of_day(hour, plan)
        previous_close = self._rounded(np.exp(self.log_price(np.array([day * 60]))))

        columns = minutes - hour * 60
        frozen = plan.during(now, shocks.FROZEN_FEED, columns)
        shown = np.where(frozen, plan.start[:, [now]] - 1, columns)  # a frozen feed repeats its last quote
        rows = np.arange(len(self.ids))[:, None]
        fields = [array[rows, shown].T.tolist() for array in (price, bid, ask, volume)]
        present = ~plan.during(now, shocks.GAP, columns).T
        malformed = np.where(plan.during(now, shocks.MALFORMED_ROW, columns), 1 + bits(self.own, minutes, 7) % 3, 0).T
        late = (59_000 + (uniform(self.own, minutes, 8) * 1000).astype(np.int64)).T.tolist()  # milliseconds
        found = []
        for column, minute in enumerate(minutes.tolist()):
            start = datetime.fromtimestamp(minute * 60, UTC)
            for row in np.flatnonzero(present[column]).tolist():
                last, bought, sold, traded = (field[column][row] for field in fields)
                payload = {
                    "price": last, "bid": bought, "ask": sold,
                    "previous_close": float(previous_close[row, 0]), "day_volume": traded,
                }  # fmt: skip
                if how := int(malformed[column, row]):
                    payload = _malformed(payload, how)
                found.append((self.ids[row], start + timedelta(milliseconds=late[column][row]), payload))
        return found

    def _volume_of_day(self, hour: int, plan: shocks.Schedule) -> Floats:
        """Traded since 00:00 UTC, as each minute of the hour ends; an hour's volume is split by minutes' weights."""
        day, now = hour - hour % 24, hour % 24
        hours = self.day_volume / 24 * np.exp(0.4 * normal(self.own, day + np.arange(24), 9))
        shocked = np.where(plan.kind == shocks.VOLUME_SHOCK, (plan.size - 1) * hours / 60, 0.0)  # a minute more
        before = (hours + shocked * plan.length)[:, :now].sum(axis=1, keepdims=True)
        weights = np.exp(0.5 * normal(self.own, hour * 60 + np.arange(60), 10))
        share = weights.cumsum(axis=1) / weights.sum(axis=1, keepdims=True)
        shocked_minutes = plan.during(now, shocks.VOLUME_SHOCK, np.arange(60)).cumsum(axis=1)
        return np.asarray((before + hours[:, [now]] * share + shocked[:, [now]] * shocked_minutes).round(2))

    def _rounded(self, prices: Floats) -> Floats:
        return np.asarray(np.maximum(np.round(prices * self.ticks), 1) / self.ticks)


def _between(bounds: Floats, share: Floats) -> Floats:
    """Per row between its two bounds, evenly in log terms."""
    low, high = bounds[:, [0]], bounds[:, [1]]
    return np.asarray(low * (high / low) ** share)


def _malformed(payload: dict[str, Any], how: int) -> dict[str, Any]:
    if how == 1:
        return payload | {"price": "n/a"}
    if how == 2:
        return payload | {"price": -payload["price"]}
    return {name: value for name, value in payload.items() if name != "price"}
