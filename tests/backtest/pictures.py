"""Candles in a line of text, and what strategies are run with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from include.backtest.fills import Costs
from include.backtest.run import Market, Setup
from include.backtest.strategies import STRATEGIES
from include.backtest.strategy import Strategy

START = datetime(2026, 3, 2, 10, tzinfo=UTC)


def frame(opens: Sequence[float], closes: Sequence[float]) -> pd.DataFrame:
    """A candle a minute from 10:00 on."""
    index = pd.date_range(START, periods=len(opens), freq="min")
    prices = pd.DataFrame({"open": opens, "close": closes}, index=index, dtype="float64")
    return prices.assign(high=prices.max(axis=1), low=prices.min(axis=1), volume=1.0, vwap=prices["close"])


def bars(text: str) -> pd.DataFrame:
    """`bars("10-11 11-12")`: open-close of each candle."""
    pairs = [part.split("-") for part in text.split()]
    return frame([float(opened) for opened, _ in pairs], [float(close) for _, close in pairs])


def wanted(text: str, candles: pd.DataFrame) -> pd.Series:
    """`wanted("+ + 0 -", candles)`: what is wanted after each candle."""
    return pd.Series([{"+": 1.0, "0": 0.0, "-": -1.0}[sign] for sign in text.split()], index=candles.index)


def walk(count: int, seed: int = 1, step: float = 0.002) -> pd.DataFrame:
    """A random walk from 100 on, the same for the same seed."""
    closes = 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, step, count)))
    return frame(np.concatenate([[100.0], closes[:-1]]), closes)


def market(candles: pd.DataFrame, start: datetime = START, symbol: str = "X") -> Market:
    return Market(symbol, candles, start, a_year=525_600)


def setup(strategy: Strategy | str = "sma_cross", *, fee: float = 0, short: bool = False, **params: float) -> Setup:
    found = STRATEGIES[strategy] if isinstance(strategy, str) else strategy
    return Setup(found, {**found.defaults, **params}, Costs(fee), 1_000.0, short)
