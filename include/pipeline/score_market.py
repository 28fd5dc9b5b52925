"""The simulator's market as candles of one minute, without a warehouse: what its quotes become, and its labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from include.events import Window
from include.instruments import Instrument
from include.scoring.match import Label
from include.sources import shocks
from include.sources.exchange import Exchange

if TYPE_CHECKING:
    import pandas as pd

_HOUR: Final = 3600
_DAY_MINUTES: Final = 1440


def simulate(
    seed: int, instruments: Sequence[Instrument], window: Window, tick: Callable[[], None] = lambda: None
) -> dict[str, pd.DataFrame]:
    """Candles by symbol over whole hours: high, low, close, volume, previous_close, spread (basis points).

    One quote a minute, as at the default cadence: a minute without one has no candle, and the volume of the next one is
    all that was traded since. A malformed quote goes to the quarantine. `tick` is called for each hour.
    """
    import pandas as pd

    exchange = Exchange(seed, instruments)
    hours = range(int(window.start.timestamp()) // _HOUR, -(-int(window.end.timestamp()) // _HOUR))
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ("price", "spread", "volume", "before", "known")}
    for number in hours:
        hour = exchange.hour(number)
        seen = hour.seen(number * _HOUR + 60 * np.arange(1, 61))
        parts["price"].append(seen.price)
        parts["spread"].append((seen.ask - seen.bid) / (seen.ask + seen.bid) * 20_000)
        parts["volume"].append(seen.volume)
        parts["before"].append(np.repeat(hour.previous_close, 60, axis=1))
        parts["known"].append(seen.is_present & ~seen.is_malformed)
        tick()
    price, spread, traded, before, known = (np.concatenate(part, axis=1) for part in parts.values())
    minutes = hours[0] * 60 + np.arange(price.shape[1])
    starts = pd.DatetimeIndex(pd.to_datetime(minutes * 60, unit="s", utc=True))
    found = {}
    for row, one in enumerate(instruments):
        chosen = np.flatnonzero(known[row])
        close = price[row, chosen]
        found[one.symbol] = pd.DataFrame(
            {
                "high": close, "low": close, "close": close, "volume": _grown(traded[row, chosen], minutes[chosen]),
                "previous_close": before[row, chosen], "spread": spread[row, chosen],
            },
            index=starts[chosen],
        )  # fmt: skip
    return found


def labels_of(seed: int, instruments: Sequence[Instrument], window: Window) -> list[Label]:
    """What the simulator does on purpose in the window, by time."""
    symbols = {one.ids["simulator"]: one.symbol for one in instruments}
    return [
        Label(symbols[one.symbol], one.shock, one.starts_at, one.ends_at)
        for one in shocks.labels(seed, list(symbols), window)
        if window.start <= one.starts_at and one.ends_at <= window.end
    ]


def _grown(traded: np.ndarray, minutes: np.ndarray) -> np.ndarray:
    """Volume of each candle out of the day's volume so far; of a day's first minute it is not known."""
    days = minutes // _DAY_MINUTES
    before = np.append(np.nan, np.where(days[1:] == days[:-1], traded[:-1], np.nan))
    grown = traded - before
    return np.where(grown >= 0, grown, np.nan)
