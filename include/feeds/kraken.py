"""Kraken spot, WebSocket v2: the channel `trade` (ids consecutive per pair), with the last 50 trades at its start.

The feed calls a pair BTC/USD that REST calls XBTUSD. A trade is kept as the feed sends it, which is not as REST does
(`qty` for volume, `buy` for b, an ISO time for seconds since 1970); its natural key is the same.
"""

from __future__ import annotations

import json
from typing import Any, Final

import orjson

from include.feeds.base import BadFrameError, Feed, Frame, Row, from_iso, text, whole

_ASSETS: Final = {"XBT": "BTC", "XDG": "DOGE"}
_QUOTES: Final = ("USDT", "USDC", "USD", "EUR", "GBP", "CAD", "AUD", "CHF", "JPY", "XBT", "ETH")


class KrakenFeed(Feed):
    """`ids` are REST's names of pairs, such as XBTUSD. A snapshot's trades are rows like all others."""

    name = "kraken"
    quiet_seconds = 15.0  # a heartbeat comes every second in which nothing else does
    pause_seconds = 5.0  # asked for by the vendor; 150 connections in 10 minutes and address
    ping = '{"method":"ping"}'

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._vendors = {pair_name(vendor): vendor for vendor in self.vendors}

    def subscribe(self) -> list[str]:
        return [self._message("subscribe")]

    def unsubscribe(self) -> list[str]:
        return [self._message("unsubscribe")]

    def decode(self, frame: str | bytes) -> Any:
        """Numbers with a point stay the text that came: 0.10 is not 0.1 and never 0.1000000000000000055."""
        return json.loads(frame, parse_float=str)

    def read(self, found: dict[str, Any]) -> Frame:
        if found.get("channel") == "trade":
            return self._trades(found["data"], is_update=found.get("type") == "update")
        if found.get("channel") in ("heartbeat", "status") or found.get("method") in ("pong", "unsubscribe"):
            return Frame()
        if found.get("method") == "subscribe":
            if found["success"] is True:
                return Frame(confirmed=frozenset({self._vendor(found["result"]["symbol"])}))
            pair = str(found.get("symbol"))
            return Frame(refused={self._vendors.get(pair, ""): str(found.get("error", "refused"))})
        if said := found.get("error") or found.get("Error"):
            return Frame(refused={"": str(said)})
        raise BadFrameError(f"a frame of the channel {found.get('channel')!r:.40} was not asked for")

    def _trades(self, data: list[dict[str, Any]], *, is_update: bool) -> Frame:
        rows: list[Row] = []
        rejected: list[tuple[str, Any]] = []
        for trade in data:
            try:
                rows.append(self._trade(trade))
            except BadFrameError as bad:
                rejected.append((str(bad), trade))
            except KeyError as missing:
                rejected.append((f"the trade has no {missing.args[0]!r}", trade))
        clock = max((row.at for row in rows if row.at), default=None)
        return Frame(tuple(rows), tuple(rejected), clock if is_update else None)  # a snapshot is about the past

    def _trade(self, trade: dict[str, Any]) -> Row:
        at = from_iso(trade["timestamp"], "timestamp")
        number = whole(trade["trade_id"], "trade_id")
        return Row("trades", self._vendor(trade["symbol"]), trade, at, number)

    def _vendor(self, pair: Any) -> str:
        vendor = self._vendors.get(text(pair, "symbol"))
        if vendor is None:
            raise BadFrameError(f"the pair {pair!r:.40} was not asked for")
        return vendor

    def _message(self, method: str) -> str:
        params: dict[str, Any] = {"channel": "trade", "symbol": list(self._vendors)}
        if method == "subscribe":
            params["snapshot"] = True
        return orjson.dumps({"method": method, "params": params}).decode()


def pair_name(vendor: str) -> str:
    """The feed's name of a pair that REST calls XBTUSD: BTC/USD. What has no known end is left as it is."""
    for quote in _QUOTES:
        base = vendor.removesuffix(quote)
        if base and base != vendor:
            return f"{_ASSETS.get(base, base)}/{_ASSETS.get(quote, quote)}"
    return vendor
