"""The simulated exchange behind the source `simulator`: prices, quotes and trades, an hour at a time.

Everything is a function of (seed, symbol, time) alone. Log price = level + market + class + own noise, known at the
minutes' ends; inside a minute it goes from one to the other with a little noise, second by second. Quotes and trades
are read off that one path, whatever the cadence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import floor, log10
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from include.instruments import Instrument
from include.sources import shocks
from include.sources.noise import Floats, Ints, bits, key, keys, normal, uniform, volatility, walk

Said = tuple[str, datetime, str, dict[str, Any]]
"""What the exchange says: its name of the instrument, the time, its id of what it says (or ""), the payload."""

# Where the price of a known symbol lives, in its currency; others get one between 2 and 500.
_LEVELS: Final = {
    "BTC-USD": 64_000.0, "ETH-USD": 3_100.0, "SOL-USD": 150.0, "XRP-USD": 0.55, "ADA-USD": 0.42, "DOGE-USD": 0.14,
    "AVAX-USD": 28.0, "DOT-USD": 6.2, "LINK-USD": 14.5, "LTC-USD": 78.0, "BCH-USD": 390.0, "UNI-USD": 8.1,
    "ATOM-USD": 6.9, "XLM-USD": 0.11, "NEAR-USD": 5.3, "AAPL": 215.0, "MSFT": 425.0, "NVDA": 122.0, "AMZN": 185.0,
    "GOOGL": 172.0, "TSLA": 235.0, "JPM": 208.0, "BAC": 41.0, "XOM": 116.0, "SPY": 548.0,
}  # fmt: skip
_MINUTES: Final = np.arange(60, dtype=np.int64)
_JITTER: Final = 0.5  # noise inside a minute, of its usual move
_SMALLEST: Final = 1e-6  # size of a trade
_MOST_IDS: Final = 1_000_000  # trades of a minute


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


class Exchange:
    """The simulated market of some instruments: in its arrays rows are instruments, columns times."""

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
        self.minute_move = self._column("day_move")[:, None] / np.sqrt(1440.0)
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
        return np.asarray(np.log(self.level) + moves * self.minute_move)

    def hour(self, hour: int) -> Hour:
        """One hour, given by its number since 1970."""
        day = hour - hour % 24
        plan = shocks.schedule(self.seed, self.ids, day + np.arange(24))
        effect = plan.price_effect(hour % 24, _MINUTES)
        nervous = volatility(self.own, hour * 60 + _MINUTES) * np.where(effect, 4.0, 1.0)
        return Hour(
            self, hour, plan, self.log_price(hour * 60 + np.arange(61)), effect, self.half_spread * nervous,
            self._volume_of_day(hour, plan), self.rounded(np.exp(self.log_price(np.array([day * 60])))),
        )  # fmt: skip

    def rounded(self, prices: Floats) -> Floats:
        """Prices in whole ticks, at least one."""
        return np.asarray(np.maximum(np.round(prices * self.ticks), 1) / self.ticks)

    def _volume_of_day(self, hour: int, plan: shocks.Schedule) -> Floats:
        """Traded since 00:00 UTC, at the hour's 61 whole minutes; an hour's volume is split by minutes' weights."""
        day, now = hour - hour % 24, hour % 24
        hours = self.day_volume / 24 * np.exp(0.4 * normal(self.own, day + np.arange(24), 9))
        shocked = np.where(plan.kind == shocks.VOLUME_SHOCK, (plan.size - 1) * hours / 60, 0.0)  # a minute more
        before = (hours + shocked * plan.length)[:, :now].sum(axis=1, keepdims=True)
        weights = np.exp(0.5 * normal(self.own, hour * 60 + _MINUTES, 10))
        share = weights.cumsum(axis=1) / weights.sum(axis=1, keepdims=True)
        shocked_minutes = plan.during(now, shocks.VOLUME_SHOCK, _MINUTES).cumsum(axis=1)
        within = hours[:, [now]] * share + shocked[:, [now]] * shocked_minutes
        return np.concatenate([before, before + within], axis=1)


class Seen(NamedTuple):
    """Quotes as arrays of instruments (rows) and spans (columns). `volume`: traded since 00:00 UTC."""

    price: Floats
    bid: Floats
    ask: Floats
    volume: Floats
    is_present: npt.NDArray[np.bool_]
    is_malformed: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour of the exchange. A place is a minute of it (0 to 59) and a second of that (1 to 60: as it ends)."""

    exchange: Exchange
    number: int  # hours since 1970
    plan: shocks.Schedule
    level: Floats  # log price at the 61 whole minutes, without shocks
    effect: Floats  # of shocks, by minute
    spread: Floats  # half of it, as a share of the price, by minute
    volume: Floats  # of the day so far, at the 61 whole minutes
    previous_close: Floats

    def quotes(self, ends: Ints) -> list[Said]:
        """The quotes of spans that end at these seconds since 1970, within this hour; by time, then by instrument.

        Each is stamped within its span's last second.
        """
        own, seen = self.exchange.own, self.seen(ends)
        minutes, seconds = self._places(ends)
        fields = [array.T.tolist() for array in (seen.price, seen.bid, seen.ask, seen.volume)]
        closes = self.previous_close[:, 0].tolist()
        present = seen.is_present.T
        how = np.where(seen.is_malformed, 1 + bits(own, self.number * 60 + minutes, 7) % 3, 0).T
        share = np.where(seconds == 60, uniform(own, self.number * 60 + minutes, 8), uniform(own, ends, 11))
        late = ((share * 1000).astype(np.int64) - 1000).T.tolist()  # milliseconds after the span's end
        found: list[Said] = []
        for column, second in enumerate(ends.tolist()):
            end = datetime.fromtimestamp(second, UTC)
            for row in np.flatnonzero(present[column]).tolist():
                price, bid, ask, volume = (field[column][row] for field in fields)
                payload = {
                    "price": price, "bid": bid, "ask": ask, "previous_close": closes[row], "day_volume": volume,
                }  # fmt: skip
                if how[column, row]:
                    payload = _malformed(payload, int(how[column, row]))
                found.append((self.exchange.ids[row], end + timedelta(milliseconds=late[column][row]), "", payload))
        return found

    def seen(self, ends: Ints) -> Seen:
        """What those quotes are made of, as arrays of instruments and spans."""
        now = self.number % 24
        minutes, seconds = self._places(ends)
        frozen = self.plan.during(now, shocks.FROZEN_FEED, minutes)  # it repeats its last quote
        shown = np.where(frozen, self.plan.start[:, [now]] - 1, minutes), np.where(frozen, 60, seconds)
        return Seen(
            *self._book(*shown), self._traded(*shown).round(2), ~self.plan.during(now, shocks.GAP, minutes),
            self.plan.during(now, shocks.MALFORMED_ROW, minutes),
        )  # fmt: skip

    def _places(self, ends: Ints) -> tuple[Ints, Ints]:
        minutes = (ends - 1) // 60 - self.number * 60
        return minutes, ends - (self.number * 60 + minutes) * 60

    def trades(self, minute: int, counts: Ints, start: int = 0, end: int = 60_000_000) -> list[Said]:
        """The trades of a minute of the hour, of which it has `counts` by instrument; only those in `[start, end)`.

        `start` and `end` are microseconds of the minute. Ids rise with time, per instrument. Who buys pays the ask, who
        sells gets the bid; the sizes of a minute add up to what the day's volume grew. While a feed is frozen or has a
        gap there is no trade of it.
        """
        now, own = self.number % 24, self.exchange.own[:, 0]
        here = np.array([minute])
        silent = self.plan.during(now, shocks.FROZEN_FEED, here) | self.plan.during(now, shocks.GAP, here)
        counts = np.where(silent[:, 0], 0, counts)
        row = np.repeat(np.arange(len(counts)), counts)
        number = np.arange(row.size) - np.repeat(counts.cumsum() - counts, counts)
        identity = (self.number * 60 + minute) * _MOST_IDS + number
        at = (number + uniform(own[row], identity, 13)) / counts[row] * 60e6
        at = np.minimum(at.astype(np.int64), 59_999_999)
        weight = np.exp(0.8 * normal(own[row], identity, 14))
        grown = self.volume[:, minute + 1] - self.volume[:, minute]
        size = weight * (grown / np.maximum(np.bincount(row, weight, len(counts)), _SMALLEST))[row]

        chosen = np.flatnonzero((at >= start) & (at < end))
        chosen = chosen[np.argsort(at[chosen], kind="stable")]
        row, at, identity = row[chosen], at[chosen], identity[chosen]
        buys = (bits(own[row], identity, 15) & np.uint64(1)).astype(np.bool_)
        seconds = np.tile(np.arange(1, 61), (len(counts), 1))
        _, bid, ask = self._book(np.full_like(seconds, minute), seconds)
        price = np.where(buys, ask[row, at // 1_000_000], bid[row, at // 1_000_000])
        begin = datetime.fromtimestamp((self.number * 60 + minute) * 60, UTC)
        columns = (row, at, identity, price, np.maximum(size[chosen].round(6), _SMALLEST), buys)
        ids = self.exchange.ids
        return [
            (ids[which], begin + timedelta(microseconds=after), str(number),
             {"id": number, "price": paid, "size": amount, "side": "buy" if bought else "sell"})
            for which, after, number, paid, amount, bought in zip(*(one.tolist() for one in columns), strict=True)
        ]  # fmt: skip

    def _book(self, minutes: Ints, seconds: Ints) -> tuple[Floats, Floats, Floats]:
        """Price, bid and ask at places, given as arrays of rows and columns."""
        exchange, rows = self.exchange, np.arange(len(self.exchange.ids))[:, None]
        before, after = self.level[rows, minutes], self.level[rows, minutes + 1]
        share = seconds / 60
        noise = normal(exchange.own, (self.number * 60 + minutes) * 60 + seconds, 12) * np.sqrt(share * (1 - share))
        inside = before + (after - before) * share + noise * exchange.minute_move * _JITTER
        level = np.where(seconds == 60, after, inside) + self.effect[rows, minutes]
        price, spread, ticks = exchange.rounded(np.exp(level)), self.spread[rows, minutes], exchange.ticks
        bid = np.maximum(np.floor(price * (1 - spread) * ticks), 1) / ticks
        return price, bid, np.ceil(price * (1 + spread) * ticks) / ticks

    def _traded(self, minutes: Ints, seconds: Ints) -> Floats:
        """Traded since 00:00 UTC until places."""
        rows = np.arange(len(self.exchange.ids))[:, None]
        before, after = self.volume[rows, minutes], self.volume[rows, minutes + 1]
        return np.where(seconds == 60, after, before + (after - before) * (seconds / 60))


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
