"""Binance spot: combined streams of aggregate trades, closed one-minute klines and the best bid and ask.

An aggregate trade is known by its id `a`, as in `GET /api/v3/aggTrades`, so a trade from the feed and one fetched are
the same event. Single trades (`trade`) have ids of their own (`t`); they are understood but not asked for.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import orjson

from include.feeds.base import BadFrameError, Feed, Frame, Row, Stream, from_millis, text, whole

_NAMES: Final[dict[Stream, str]] = {"trades": "aggTrade", "bars": "kline_1m", "quotes": "bookTicker"}
_STREAMS: Final[dict[Any, Stream]] = {"kline": "bars", "bookTicker": "quotes"}
_AGGREGATE: Final = ("a", "p", "q", "f", "l", "T", "m", "M")  # the fields of REST's aggTrades
_SINGLE: Final = ("t", "p", "q", "T", "m", "M")
# A kline of REST is an array; these are the stream's names in the order of the array.
_KLINE: Final = ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q", "B")


class BinanceFeed(Feed):
    """`ids` are symbols such as BTCUSDT. A symbol that does not exist is taken without a word and stays silent."""

    name = "binance"
    streams = ("trades", "bars", "quotes")
    confirms = False  # what is asked for stands in the address
    lifetime = timedelta(hours=24)
    quiet_seconds = 120.0  # no heartbeat of its own; the library's pings notice a dead connection earlier

    def address(self, url: str) -> str:
        """`<url>/stream?streams=btcusdt@aggTrade/...`; names of streams are in small letters."""
        return f"{url.rstrip('/')}/stream?streams={'/'.join(self._names())}"

    def subscribe(self) -> list[str]:
        return []

    def unsubscribe(self) -> list[str]:
        return [orjson.dumps({"method": "UNSUBSCRIBE", "params": self._names(), "id": 1}).decode()]

    def read(self, found: dict[str, Any]) -> Frame:
        if "result" in found or "error" in found:  # the answer to a message of ours
            error = found.get("error")
            return Frame(refused={"": str(error.get("msg", error))}) if isinstance(error, dict) else Frame()
        data = found.get("data", found)  # a raw stream has no wrapping
        kind = data.get("e", "bookTicker" if {"u", "s", "b", "B", "a", "A"} <= set(data) else None)
        if _STREAMS.get(kind, "trades") not in self.wanted:
            raise BadFrameError(f"a frame of the kind {kind!r:.40} was not asked for")
        if kind == "aggTrade":
            return self._trade(data, _AGGREGATE, "a")
        if kind == "trade":
            return self._trade(data, _SINGLE, "t")
        if kind == "kline":
            return self._kline(data)
        if kind == "serverShutdown":
            return Frame(closing=True, clock=from_millis(data["E"], "E"))
        if kind == "bookTicker":
            return self._book(data)
        raise BadFrameError(f"a frame of the kind {kind!r:.40} was not asked for")

    def _trade(self, data: dict[str, Any], names: tuple[str, ...], id_name: str) -> Frame:
        fields = {name: data[name] for name in names if name != "M" or name in data}
        number = whole(data[id_name], id_name)
        at = from_millis(data["T"], "T")
        row = Row("trades", text(data["s"], "s"), fields, at, number if id_name == "a" else None)
        return Frame((row,), clock=from_millis(data["E"], "E"))

    def _kline(self, data: dict[str, Any]) -> Frame:
        kline, clock = data["k"], from_millis(data["E"], "E")
        if kline["i"] != "1m":
            raise BadFrameError(f"a kline of {kline['i']!r:.20} was not asked for")
        if kline["x"] is not True:
            return Frame(clock=clock)  # it still changes
        fields = [kline[name] for name in _KLINE]
        return Frame((Row("bars", text(data["s"], "s"), fields, from_millis(kline["t"], "k.t")),), clock=clock)

    def _book(self, data: dict[str, Any]) -> Frame:
        fields = {  # REST's names of the same
            "symbol": data["s"], "bidPrice": data["b"], "bidQty": data["B"], "askPrice": data["a"], "askQty": data["A"],
        }  # fmt: skip
        return Frame((Row("quotes", text(data["s"], "s"), fields, None),))  # it carries no time

    def _names(self) -> list[str]:
        return [f"{vendor.lower()}@{_NAMES[stream]}" for stream in self.wanted for vendor in self.vendors]
