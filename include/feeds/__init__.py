"""Feeds: one file per vendor's WebSocket, pure but for `line.py`, which holds the connection."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Final

from include.errors import ConfigError

if TYPE_CHECKING:
    from include.feeds.base import Feed, Stream

_CLASSES: Final = {
    "binance": "include.feeds.binance:BinanceFeed",
    "coinbase": "include.feeds.coinbase:CoinbaseFeed",
    "kraken": "include.feeds.kraken:KrakenFeed",
}

NAMES: Final = tuple(_CLASSES)
"""Exchanges whose trades can be collected as they happen."""


def make(name: str, vendors: Sequence[str], streams: Sequence[Stream]) -> Feed:
    """The feed of that name for these instruments; only its own module is imported.

    Raises ConfigError for a name that is none.
    """
    if name not in _CLASSES:
        raise ConfigError(f"there is no feed of {name!r}; there are {', '.join(NAMES)}")
    module, _, attribute = _CLASSES[name].partition(":")
    feed: Feed = getattr(import_module(module), attribute)(vendors, streams)
    return feed
