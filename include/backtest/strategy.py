"""What a strategy is: a name, parameters with bounds, the columns and the history it needs, and a pure function.

The function sees candles up to now and says what it wants to hold after the close of each: 1 long, -1 short, 0 nothing.
It says nothing of fills, costs or money; those are the same for all strategies (include/backtest/fills.py).
"""

from __future__ import annotations

import difflib
import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from include.errors import ConfigError, QuantStreamError

if TYPE_CHECKING:
    import pandas as pd

Params = Mapping[str, Any]

PRICES: Final = ("open", "high", "low", "close", "volume", "vwap")
"""What every candle has; any other column that a strategy needs is one of marts.indicators_<resolution>."""
MOST_COMBINATIONS: Final = 500


class StrategyError(QuantStreamError):
    """A strategy's function looks ahead, or gives something other than positions."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number of a strategy. Its type is that of the default; `grid` is what a walk-forward tries if nobody says."""

    name: str
    default: int | float
    low: float
    high: float
    text: str
    grid: tuple[int | float, ...] = ()

    def parse(self, text: str) -> int | float:
        """The value. Raises ConfigError naming it, and what is allowed."""
        kind = type(self.default)
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not self.low <= value <= self.high:
            what = "a whole number" if kind is int else "a number"
            raise ConfigError(f"{self.name} = {text!r}: it is {what} from {self.low:g} to {self.high:g} ({self.text})")
        return value


@dataclass(frozen=True, slots=True)
class Strategy:
    """`signals` gets candles (UTC index, columns `needs`, one row per candle) and the parameters.

    It gives -1, 0 or 1 for each row, from that row and earlier ones alone. `warm_up` is how many candles it takes until
    the first signal can be; `look_back` how many earlier candles make its signals what they are over all history
    (None: the same). `objection` says what is wrong with parameters that are fine each by itself, or nothing.
    """

    name: str
    text: str
    parameters: tuple[Parameter, ...]
    signals: Callable[[pd.DataFrame, Params], pd.Series[float]]
    warm_up: Callable[[Params], int]
    look_back: Callable[[Params], int] | None = None
    needs: tuple[str, ...] = ("close",)
    objection: Callable[[Params], str] = field(default=lambda _: "")

    @property
    def defaults(self) -> Params:
        return {parameter.name: parameter.default for parameter in self.parameters}

    def history(self, params: Params) -> int:
        """How many candles before the first one are read."""
        return (self.look_back or self.warm_up)(params)

    def positions(self, candles: pd.DataFrame, params: Params, *, short: bool) -> pd.Series[float]:
        """What it wants to hold after each candle; without `short` nothing is held where it would be short."""
        wanted = self.signals(candles[list(self.needs)], params).fillna(0.0)
        return wanted if short else wanted.clip(lower=0.0)


def by_name(*strategies: Strategy) -> Mapping[str, Strategy]:
    """The strategies by their names, which are all different."""
    found = {strategy.name: strategy for strategy in strategies}
    if len(found) < len(strategies):
        raise ValueError("two strategies have the same name")
    return found


def find(strategies: Mapping[str, Strategy], name: str) -> Strategy:
    """Raises ConfigError naming the strategies that there are."""
    if name in strategies:
        return strategies[name]
    near = difflib.get_close_matches(name, strategies, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise ConfigError(f"--strategy {name}: there is none of this name{hint}; known are {', '.join(strategies)}")


def parse_params(strategy: Strategy, text: str) -> Params:
    """`fast=10,slow=30` over the defaults. Raises ConfigError for what is unknown, out of bounds or contradictory."""
    given = dict(_named(strategy, "--params", part) for part in re.split(r"[,\s]+", text.strip()) if part)
    params = {one.name: one.parse(given[one.name]) if one.name in given else one.default for one in strategy.parameters}
    if said := strategy.objection(params):
        raise ConfigError(f"--params {text}: {said}")
    return params


def parse_grid(strategy: Strategy, text: str, params: Params) -> list[Params]:
    """`fast=5,10 slow=20,50`: all combinations that make sense, in this order; what is not named is as in `params`.

    Without a text the strategy's own grid. Raises ConfigError where nothing or too much is left to try.
    """
    given = dict(_named(strategy, "--grid", part) for part in text.split())
    tried: list[Iterable[int | float]] = []
    for one in strategy.parameters:
        if one.name in given:
            tried.append(dict.fromkeys(map(one.parse, given[one.name].split(","))))
        else:
            tried.append(one.grid if one.grid and not text else (params[one.name],))
    names = [one.name for one in strategy.parameters]
    found = [dict(zip(names, values, strict=True)) for values in itertools.product(*tried)]
    found = [one for one in found if not strategy.objection(one)]
    if not found or len(found) > MOST_COMBINATIONS:
        raise ConfigError(
            f"--grid {text}: {len(found):,} combinations make sense; from 1 to {MOST_COMBINATIONS} can be tried"
        )
    return list(found)


def say(params: Params) -> str:
    """`fast=5 slow=20`."""
    return " ".join(f"{name}={value:g}" for name, value in params.items())


def check_signals(strategy: Strategy, candles: pd.DataFrame, params: Params) -> None:
    """Raises StrategyError for what is no position, and for one that is another once later candles are there."""
    whole = strategy.positions(candles, params, short=True)
    if not (whole.index.equals(candles.index) and whole.isin((-1.0, 0.0, 1.0)).all()):
        raise StrategyError(
            f"the strategy {strategy.name} gives {len(whole):,} values from {whole.min():g} to {whole.max():g} for "
            f"{len(candles):,} candles; its function gives -1, 0 or 1 for each of them, with their index"
        )
    for end in _cuts(len(candles)):
        known = strategy.positions(candles.iloc[:end], params, short=True)
        if len(differing := known.index[known.to_numpy() != whole.iloc[:end].to_numpy()]):
            moment = differing[0]
            raise StrategyError(
                f"the strategy {strategy.name} looks ahead: after the candle of {moment:%Y-%m-%d %H:%M} UTC it wants "
                f"{known[moment]:+g}, and {whole[moment]:+g} once later candles are known; its function may use no "
                "later row (no shift(-1), no mean of the whole column, no centred window)"
            )


def _cuts(count: int) -> Iterator[int]:
    """Where the check cuts: after quarters of the rows, and before the last one."""
    yield from sorted({count // 4, count // 2, count * 3 // 4, count - 1} - {0})


def _named(strategy: Strategy, option: str, part: str) -> tuple[str, str]:
    name, is_there, value = part.partition("=")
    known = [one.name for one in strategy.parameters]
    if not is_there or name not in known:
        raise ConfigError(f"{option} {part}: write NAME=VALUE; {strategy.name} has {', '.join(known)}")
    return name, value
