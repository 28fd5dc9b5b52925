"""How the vendors' servers answer and speak, in small: subscriptions, trades, and the REST side."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.faults.proxy import Fault, Forward, Request, Response


def coinbase(message: str) -> Iterable[str]:
    """Coinbase confirms a subscription, one product a message; PLUTO-USD it does not have."""
    asked = json.loads(message)
    if asked["type"] == "subscribe":
        (product,) = asked["product_ids"]
        if product == "PLUTO-USD":
            yield json.dumps(
                {"type": "error", "message": "Failed to subscribe", "reason": f"{product} is not a valid product"}
            )
            return
        channels = [{"name": name, "product_ids": [product]} for name in asked["channels"]]
        yield json.dumps({"type": "subscriptions", "channels": channels})


def kraken(message: str) -> Iterable[str]:
    """Kraken confirms each pair alone; what is not in its list gets an error. A ping gets a pong."""
    asked = json.loads(message)
    if asked["method"] == "ping":
        yield json.dumps({"method": "pong", "time_in": "2026-01-02T12:00:00.000001Z"})
    elif asked["method"] == "subscribe":
        for pair in asked["params"]["symbol"]:
            if pair.startswith("PLUTO"):
                said = f"Currency pair not supported {pair}"
                yield json.dumps({"error": said, "method": "subscribe", "success": False, "symbol": pair})
            else:
                result = {"channel": "trade", "snapshot": True, "symbol": pair}
                yield json.dumps({"method": "subscribe", "result": result, "success": True})


def millis(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def now() -> datetime:
    """To the millisecond, as Binance's clock is."""
    return datetime.fromtimestamp(int(datetime.now(UTC).timestamp() * 1000) / 1000, UTC)


def agg_trade(number: int, at: datetime, vendor: str = "BTCUSDT", price: str = "50000.10") -> dict[str, Any]:
    """A trade as REST's aggTrades has it."""
    return {
        "a": number, "p": price, "q": "0.00100000", "f": number * 2, "l": number * 2 + 1, "T": millis(at), "m": False,
        "M": True,
    }  # fmt: skip


def agg_frame(number: int, at: datetime, vendor: str = "BTCUSDT", **more: Any) -> str:
    """The same from the combined stream."""
    data = {"e": "aggTrade", "E": millis(at) + 1, "s": vendor, **agg_trade(number, at, vendor, **more)}
    return json.dumps({"stream": f"{vendor.lower()}@aggTrade", "data": data})


def match(number: int, at: datetime, product: str = "BTC-USD", kind: str = "match") -> str:
    """A trade of Coinbase's feed."""
    return json.dumps({
        "type": kind, "trade_id": number, "maker_order_id": "m", "taker_order_id": "t", "side": "sell", "size": "0.04",
        "price": "14.7775", "product_id": product, "sequence": number * 10, "time": iso(at),
    })  # fmt: skip


def heartbeat(last: int, at: datetime, product: str = "BTC-USD") -> str:
    return json.dumps(
        {"type": "heartbeat", "sequence": 90, "last_trade_id": last, "product_id": product, "time": iso(at)}
    )


def iso(at: datetime) -> str:
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass
class BinanceRest(Fault):
    """`GET /api/v3/aggTrades` over a list of trades that a test fills. `hides` are ids it does not have."""

    trades: list[dict[str, Any]] = field(default_factory=list)
    hides: set[int] = field(default_factory=set)
    asked: list[dict[str, str]] = field(default_factory=list)

    def act(self, request: Request, forward: Forward, closing: threading.Event) -> Response:
        query = {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}
        self.asked.append(query)
        found = [trade for trade in self.trades if trade["a"] not in self.hides and query["symbol"] == "BTCUSDT"]
        if "fromId" in query:
            found = [trade for trade in found if trade["a"] >= int(query["fromId"])]
        else:
            found = [one for one in found if int(query["startTime"]) <= one["T"] <= int(query["endTime"])]
        body = json.dumps(found[: int(query["limit"])]).encode()
        return Response(200, body, (("Content-Type", "application/json"),))
