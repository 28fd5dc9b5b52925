"""Sources: one file per vendor, each `query -> extract -> transform`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from include.events import Kind
    from include.settings import Settings
    from include.sources.base import Source

_CLASSES: Final = {
    "simulator": "include.sources.simulator:Simulator",
    "coingecko": "include.sources.coingecko:CoinGecko",
    "yahoo": "include.sources.yahoo:Yahoo",
    "alphavantage": "include.sources.alphavantage:AlphaVantage",
    "polygon": "include.sources.polygon:Polygon",
    "binance": "include.sources.binance:Binance",
    "coinbase": "include.sources.coinbase:Coinbase",
    "kraken": "include.sources.kraken:Kraken",
}

NAMES: Final = tuple(_CLASSES)
"""Sources that can be pulled every minute. (`replay` reads files and is started by hand.)"""

ALWAYS_OPEN: Final = frozenset({"simulator"})
"""Those whose class says `always_open`: known here without importing it, because DAG files ask."""

HISTORY: Final[Mapping[str, tuple[Kind, ...]]] = {
    "simulator": ("quote", "trade"),
    "coingecko": ("quote",),
    "yahoo": ("bar", "action"),
    "alphavantage": ("bar",),
    "polygon": ("bar", "trade"),
    "binance": ("bar", "trade"),
    "coinbase": ("bar", "trade"),
    "kraken": ("trade", "bar"),  # it keeps bars of its last 720 minutes only, and all trades
}
"""The kinds of events that each source has a past of, the usual one first. Known here for the same reason."""


def make(name: str, settings: Settings) -> Source[Any, Any]:
    """The source of that name; only its own module is imported."""
    module, _, attribute = _CLASSES[name].partition(":")
    source: Source[Any, Any] = getattr(import_module(module), attribute)(settings)
    return source
