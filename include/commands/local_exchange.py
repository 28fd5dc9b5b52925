"""An exchange on loopback that speaks Binance's klines and aggTrades: for benchmarks, and for tests with real candles.

It answers out of arrays, a thousand rows a page as the real one does, and knows no limits. Faults are put before it by
a proxy.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import orjson

PAGE: Final = 1000
_MINUTE: Final = 60_000
_DAY: Final = 86_400_000
Row = Sequence[Any]


class LocalExchange:
    """What it knows, by the vendor's id (as in `BTCUSDT`).

    `bars` are rows `(open time in ms, open, high, low, close, volume)`, ascending; minutes may be absent. `trades` are
    rows `(id, time in ms, price, size, buyer is maker)`, by id, ids and times both ascending. `calls` counts requests.
    """

    def __init__(
        self, bars: Mapping[str, Sequence[Row]] | None = None, trades: Mapping[str, Sequence[Row]] | None = None
    ) -> None:
        self.bars, self.trades, self.calls = dict(bars or {}), dict(trades or {}), 0
        self._opens = {one: [row[0] for row in rows] for one, rows in self.bars.items()}
        self._ids = {one: [row[0] for row in rows] for one, rows in self.trades.items()}
        self._sold_at = {one: [row[1] for row in rows] for one, rows in self.trades.items()}

    def answer(self, path: str, asked: Mapping[str, str]) -> tuple[int, Any]:
        """Status and body of a request."""
        self.calls += 1
        symbol, limit = asked.get("symbol", ""), min(int(asked.get("limit", 500)), PAGE)
        if path == "/api/v3/klines" and symbol in self.bars:
            return 200, self._klines(symbol, int(asked["startTime"]), int(asked["endTime"]), limit)
        if path == "/api/v3/aggTrades" and symbol in self.trades:
            return 200, self._trades(symbol, asked, limit)
        if path == "/api/v3/ticker/24hr":
            return 200, []
        return 400, {"code": -1121, "msg": "Invalid symbol."}

    def _klines(self, symbol: str, start: int, end: int, limit: int) -> list[list[Any]]:
        opens, rows = self._opens[symbol], self.bars[symbol]
        first = bisect_left(opens, start)
        last = min(bisect_left(opens, end + 1), first + limit)
        return [_kline(*row) for row in rows[first:last]]

    def _trades(self, symbol: str, asked: Mapping[str, str], limit: int) -> list[dict[str, Any]]:
        rows = self.trades[symbol]
        if "fromId" in asked:
            first, last = bisect_left(self._ids[symbol], int(asked["fromId"])), len(rows)
        else:
            times = self._sold_at[symbol]
            first, last = bisect_left(times, int(asked["startTime"])), bisect_left(times, int(asked["endTime"]) + 1)
        return [_trade(*row) for row in rows[first : min(last, first + limit)]]


@contextmanager
def serving(exchange: LocalExchange, port: int = 0) -> Iterator[str]:
    """Serve it on loopback; the address, as in `http://127.0.0.1:8099`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            asked = {name: values[0] for name, values in parse_qs(url.query).items()}
            status, data = exchange.answer(url.path, asked)
            body = orjson.dumps(data)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _kline(at: int, first: Any, high: Any, low: Any, last: Any, volume: Any) -> list[Any]:
    prices = [str(value) for value in (first, high, low, last, volume)]
    return [at, *prices, at + _MINUTE - 1, str(float(volume) * float(last)), 1, "0", "0", "0"]


def _trade(number: int, at: int, price: Any, size: Any, is_maker: bool) -> dict[str, Any]:
    return {"a": number, "p": str(price), "q": str(size), "f": number, "l": number, "T": at, "m": is_maker, "M": True}


class MadeUpExchange(LocalExchange):
    """Bars and trades without end, made when they are asked for, the same each time: memory stays flat.

    Each of `symbols` has a bar of every minute, and from `start` on (UTC) `per_day` trades a day, evenly spaced; trade
    numbers count from 1.
    """

    def __init__(self, symbols: Sequence[str], start: datetime, per_day: int) -> None:
        super().__init__()
        self.symbols = {symbol: 50.0 * (1 + place) for place, symbol in enumerate(symbols)}
        self.start, self.step = round(start.timestamp() * 1000), _DAY / per_day
        self.bars = self.trades = dict.fromkeys(symbols, ())

    def _klines(self, symbol: str, start: int, end: int, limit: int) -> list[list[Any]]:
        import numpy as np

        opens = np.arange(-(-start // _MINUTE) * _MINUTE, end + 1, _MINUTE, dtype=np.int64)[:limit]
        edges = self._prices(symbol, np.append(opens, opens[-1:] + _MINUTE))
        first, last = edges[:-1], edges[1:]
        high, low = np.maximum(first, last) * 1.0004, np.minimum(first, last) * 0.9996
        volume = 10 + 5 * np.cos(opens / 7e6)
        columns = (array.round(4).tolist() for array in (first, high, low, last, volume))
        return [_kline(*row) for row in zip(opens.tolist(), *columns, strict=True)]

    def _trades(self, symbol: str, asked: Mapping[str, str], limit: int) -> list[dict[str, Any]]:
        import numpy as np

        if "fromId" in asked:
            numbers = np.arange(int(asked["fromId"]), int(asked["fromId"]) + limit, dtype=np.int64)
        else:
            begin = max(0, int(asked["startTime"]) - self.start)
            numbers = np.arange(int(np.ceil(begin / self.step)) + 1, int(np.ceil(begin / self.step)) + 1 + limit)
            numbers = numbers[self._times_of(numbers) <= int(asked["endTime"])]
        times = self._times_of(numbers)
        sizes = (0.01 + (numbers * 2654435761 % 1000) / 1000).round(3)
        columns = (array.tolist() for array in (numbers, times, self._prices(symbol, times).round(4), sizes))
        return [
            _trade(number, at, price, size, number % 2 == 0) for number, at, price, size in zip(*columns, strict=True)
        ]

    def _times_of(self, numbers: Any) -> Any:
        import numpy as np

        return self.start + np.floor((numbers - 1) * self.step).astype(np.int64)

    def _prices(self, symbol: str, times: Any) -> Any:
        """A price that moves by the minute and by the day; times in ms since 1970."""
        import numpy as np

        return self.symbols[symbol] * (1 + 0.05 * np.sin(times / 3.1e7) + 0.002 * np.sin(times / 1.3e5))
