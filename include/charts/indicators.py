"""Indicators as lines over candles. Pure: a frame of candles in, one column per line out, both over the same candles.

Each looks at the candles that there are, as `marts.indicators_1m` does: 20 candles are the last 20, however far apart.
A line has no value (NaN) until there are enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from include.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

    Lines = dict[str, "pd.Series[float]"]

_FAST, _SLOW = 5, 20
_EMA_FAST, _EMA_SLOW = 12, 26
_BAND, _DEVIATIONS = 20, 2
UPPER: Final = f"Bollinger +{_DEVIATIONS}σ"
MEAN: Final = f"Bollinger mean {_BAND}"
LOWER: Final = f"Bollinger -{_DEVIATIONS}σ"


@dataclass(frozen=True, slots=True)
class Indicator:
    """`look_back` candles before the first one shown make its value what it is over the whole history.

    `of_day`: it begins anew at each midnight (UTC), so all candles of the first one's day count.
    """

    lines: Callable[[pd.DataFrame], Lines]
    look_back: int = 0
    of_day: bool = False


def parse_indicators(text: str) -> tuple[str, ...]:
    """Names with commas, as in `sma,bollinger`. Raises ConfigError naming those that do not exist."""
    names = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    if unknown := [name for name in names if name not in INDICATORS]:
        raise ConfigError(f"--indicators {', '.join(unknown)}: allowed are {', '.join(INDICATORS)}")
    return names


def look_back(names: Iterable[str]) -> int:
    """How many earlier candles these indicators need."""
    return max((INDICATORS[name].look_back for name in names), default=0)


def draw_lines(candles: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """The lines of these indicators, by the words of their legend."""
    import pandas as pd

    found: Lines = {}
    for name in names:
        found |= INDICATORS[name].lines(candles)
    if f"SMA {_BAND}" in found:
        found.pop(MEAN, None)  # the same line
    return pd.DataFrame(found, index=candles.index)


def _sma(candles: pd.DataFrame) -> Lines:
    return {f"SMA {n}": candles["close"].rolling(n).mean() for n in (_FAST, _SLOW)}


def _ema(candles: pd.DataFrame) -> Lines:
    """Begins with the first close; said from the n-th close on."""
    return {
        f"EMA {n}": candles["close"].ewm(span=n, adjust=False, min_periods=n).mean() for n in (_EMA_FAST, _EMA_SLOW)
    }


def _bollinger(candles: pd.DataFrame) -> Lines:
    window = candles["close"].rolling(_BAND)
    mean, distance = window.mean(), _DEVIATIONS * window.std(ddof=0)
    return {UPPER: mean + distance, MEAN: mean, LOWER: mean - distance}


def _vwap(candles: pd.DataFrame) -> Lines:
    """What a unit cost since midnight (UTC): the candles' own vwap, where unknown the mean of high, low and close.

    A candle whose volume is not known does not count.
    """
    import pandas as pd

    typical = (candles["high"] + candles["low"] + candles["close"]) / 3
    price, volume = candles["vwap"].fillna(typical), candles["volume"].fillna(0)
    days = pd.DatetimeIndex(candles.index).floor("D")
    paid, units = (price * volume).groupby(days).cumsum(), volume.groupby(days).cumsum()
    return {"VWAP": paid / units.where(units > 0)}


INDICATORS: Final[Mapping[str, Indicator]] = {
    "sma": Indicator(_sma, _SLOW - 1),
    # what lies so far back weighs less than a double can tell: (1 - 2 / 27) ** 520 = 4e-18
    "ema": Indicator(_ema, 20 * _EMA_SLOW),
    "bollinger": Indicator(_bollinger, _BAND - 1),
    "vwap": Indicator(_vwap, of_day=True),
}
