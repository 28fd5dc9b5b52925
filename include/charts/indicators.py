"""Indicators as lines over candles. Pure: a frame of candles in, one column per line out, both over the same candles.

The marts have them (`columns` says where). They are computed here for candles that the marts take no indicators of:
those of a source that somebody asks for. By the same formulas: 20 candles are the last 20, however far apart, and a
line has no value (NaN) until there are enough. But for one: a session is the UTC day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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
    """`columns` of `marts.indicators_<resolution>` by the words of their legend, and `lines` that are computed.

    `look_back` candles before the first one shown make its value what it is over the whole history. `of_day`: it begins
    anew at each midnight (UTC), so all candles of the first one's day count.
    """

    columns: Mapping[str, str]
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


def columns_of(names: Iterable[str]) -> dict[str, str]:
    """The marts' columns of these indicators, by the words of their legend."""
    found: dict[str, str] = {}
    for name in names:
        found |= INDICATORS[name].columns
    if f"SMA {_BAND}" in found:
        found.pop(MEAN, None)  # the same line
    return found


def draw_lines(candles: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The lines of these indicators, by the words of their legend."""
    import pandas as pd

    found: Lines = {}
    for name in names:
        found |= INDICATORS[name].lines(candles)
    return pd.DataFrame({words: found[words] for words in columns_of(names)}, index=candles.index)


def _sma(candles: pd.DataFrame) -> Lines:
    return {f"SMA {n}": candles["close"].rolling(n).mean() for n in (_FAST, _SLOW)}


def _ema(candles: pd.DataFrame) -> Lines:
    """Begins with the mean of the first n closes."""
    close = candles["close"]
    found: Lines = {}
    for n in (_EMA_FAST, _EMA_SLOW):
        seeded = close.where(close.rolling(n).count() >= n)
        seeded.iloc[n - 1 : n] = close.iloc[:n].mean()
        found[f"EMA {n}"] = seeded.ewm(span=n, adjust=False).mean()
    return found


def _bollinger(candles: pd.DataFrame) -> Lines:
    window = candles["close"].rolling(_BAND)
    mean, distance = window.mean(), _DEVIATIONS * window.std(ddof=0)
    return {UPPER: mean + distance, MEAN: mean, LOWER: mean - distance}


def _vwap(candles: pd.DataFrame) -> Lines:
    """The mean of high, low and close, weighted by volume, since midnight (UTC).

    A candle whose volume is not known does not count.
    """
    import pandas as pd

    price = (candles["high"] + candles["low"] + candles["close"]) / 3
    volume = candles["volume"].fillna(0)
    days = pd.DatetimeIndex(candles.index).floor("D")
    paid, units = (price * volume).groupby(days).cumsum(), volume.groupby(days).cumsum()
    return {"VWAP": paid / units.where(units > 0)}


INDICATORS: Final[Mapping[str, Indicator]] = {
    "sma": Indicator({f"SMA {n}": f"sma_{n}" for n in (_FAST, _SLOW)}, _sma, _SLOW - 1),
    # what lies so far back weighs less than a double can tell: (1 - 2 / 27) ** 520 = 4e-18
    "ema": Indicator({f"EMA {n}": f"ema_{n}" for n in (_EMA_FAST, _EMA_SLOW)}, _ema, 20 * _EMA_SLOW),
    "bollinger": Indicator(
        {UPPER: "bollinger_upper", MEAN: "bollinger_middle", LOWER: "bollinger_lower"}, _bollinger, _BAND - 1
    ),
    "vwap": Indicator({"VWAP": "vwap_session"}, _vwap, of_day=True),
}
