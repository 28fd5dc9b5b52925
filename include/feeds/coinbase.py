"""Coinbase Exchange: the channels `matches` (every trade, ids consecutive per product) and `heartbeat`.

A match names the maker's side, as `GET /products/<id>/trades` does; staging turns it round. The feed shortens numbers
("14.7775"), REST writes eight decimals ("14.77750000"): they are written as REST does, so that both give one event.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from include.feeds.base import BadFrameError, Feed, Frame, Row, from_iso, text, whole

_CHANNELS: Final = ("matches", "heartbeat")
_DECIMALS: Final = 8


class CoinbaseFeed(Feed):
    """`ids` are products such as BTC-USD."""

    name = "coinbase"
    quiet_seconds = 15.0  # a heartbeat comes every second
    pause_seconds = 1.0  # 8 requests a second and address

    def subscribe(self) -> list[str]:
        """One message per product: a product that does not exist then fails alone."""
        return [self._message("subscribe", vendor) for vendor in self.vendors]

    def unsubscribe(self) -> list[str]:
        return [self._message("unsubscribe", vendor) for vendor in self.vendors]

    def read(self, found: dict[str, Any]) -> Frame:
        kind = found.get("type")
        if kind in ("match", "last_match"):
            fields = {
                "trade_id": found["trade_id"], "side": found["side"], "size": as_rest(found["size"], "size"),
                "price": as_rest(found["price"], "price"), "time": found["time"],
            }  # fmt: skip
            at, number = from_iso(found["time"], "time"), whole(found["trade_id"], "trade_id")
            row = Row("trades", text(found["product_id"], "product_id"), fields, at, number)
            return Frame((row,), clock=at if kind == "match" else None)
        if kind == "heartbeat":
            last = found["last_trade_id"]  # 0 where the server does not know it
            known = {text(found["product_id"], "product_id"): last} if isinstance(last, int) and last > 0 else {}
            return Frame(clock=from_iso(found["time"], "time"), last=known)
        if kind == "subscriptions":
            products = [set(channel["product_ids"]) for channel in found["channels"] if channel["name"] == "matches"]
            return Frame(confirmed=frozenset().union(*products))
        if kind == "error":
            return Frame(refused=self._refused(found))
        raise BadFrameError(f"a frame of the type {kind!r:.40} was not asked for")

    def _refused(self, found: dict[str, Any]) -> dict[str, str]:
        said = ": ".join(str(found[name]) for name in ("message", "reason") if found.get(name)) or "refused"
        return {vendor: said for vendor in self.vendors if vendor in said.split()} or {"": said}

    def _message(self, verb: str, vendor: str) -> str:
        return orjson.dumps({"type": verb, "product_ids": [vendor], "channels": list(_CHANNELS)}).decode()


def as_rest(value: Any, name: str) -> str:
    """A decimal with eight decimals at least. Raises BadFrameError for what is none."""
    if not isinstance(value, str) or not value.replace(".", "", 1).isdecimal():
        raise BadFrameError(f"{name} is {value!r:.60}; it must be a decimal number as text")
    integer, _, decimals = value.partition(".")
    return f"{integer}.{decimals.ljust(_DECIMALS, '0')}"
