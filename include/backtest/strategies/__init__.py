"""All strategies. One of your own is a file here, with a `STRATEGY` in it, and its name in a line below."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Final

from include.backtest.strategy import Strategy, by_name

_FILES: Final = (
    "sma_cross",
    "ema_cross",
    "macd_cross",
    "rsi_reversion",
    "bollinger_reversion",
    "vwap_reversion",
)

STRATEGIES: Final[Mapping[str, Strategy]] = by_name(
    *(importlib.import_module(f"{__name__}.{file}").STRATEGY for file in _FILES)
)
