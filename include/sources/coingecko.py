"""CoinGecko: the latest price of many coins in one answer each minute, and the prices of a coin in the past.

A quote of a minute is dated with the vendor's `last_updated`, and its payload is the vendor's object, unchanged;
whatever the window, that answer is about now. A quote of the past is one point of the vendor's chart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from math import ceil, floor
from typing import Any, Final
from urllib.parse import quote

import orjson

from include.errors import ConfigError, MisfitError, SourceError
from include.events import Event, Kind, Window
from include.instruments import Instrument
from include.settings import Settings
from include.sources.asking import Collected, Reply, epoch, through
from include.sources.base import Batch, Source
from include.sources.crypto import iso_time
from include.sources.gate import Limits
from include.sources.http import VendorHttp

PAGE: Final = 250  # coins in one answer, the vendor's limit
HOURLY: Final = timedelta(days=90)  # of longer spans the vendor gives one point a day
_PUBLIC: Final = "https://api.coingecko.com/api/v3"
_URLS: Final = {"public": _PUBLIC, "demo": _PUBLIC, "pro": "https://pro-api.coingecko.com/api/v3"}
_KEY_HEADERS: Final = {"demo": "x-cg-demo-api-key", "pro": "x-cg-pro-api-key"}
_LIMITS: Final = {"public": Limits(per_minute=5), "demo": Limits(per_minute=30), "pro": Limits(per_minute=500)}
_COLUMNS: Final = {"prices": "price", "market_caps": "market_cap", "total_volumes": "total_volume"}


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: which coins in which currency, now (`/coins/markets`) or, of one coin, in a window of the past."""

    currency: str
    symbols: Mapping[str, str]  # the vendor's id -> our symbol
    window: Window
    is_past: bool = False


class CoinGecko(Source[tuple[Ask, ...], Reply[Ask]]):
    """The public API without a key, or the demo or pro plan with one. Raises ConfigError if plan and key do not fit."""

    name = "coingecko"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.url = (settings.coingecko_url or _URLS[settings.coingecko_plan]).rstrip("/")
        header, secret = _KEY_HEADERS.get(settings.coingecko_plan), settings.coingecko_api_key
        self._key = secret.get_secret_value().strip() if secret else ""
        if bool(header) != bool(self._key) or not self._key.isascii() or not self._key.isprintable():
            raise ConfigError(
                f"QUANTSTREAM_COINGECKO_API_KEY does not fit QUANTSTREAM_COINGECKO_PLAN = {settings.coingecko_plan}: "
                "public goes without a key, demo and pro need the one that CoinGecko shows for that plan"
            )
        self._headers = {header: self._key} if header else {}

    @property
    def limits(self) -> Limits:
        """Per minute. Plans with a key also have a number of calls per month, which no day's budget can say."""
        return _LIMITS[self.settings.coingecko_plan]

    def query(self, window: Window, instruments: Sequence[Instrument]) -> tuple[Ask, ...]:
        asks: list[Ask] = []
        for currency in sorted({instrument.currency for instrument in instruments}):
            coins = [one for one in instruments if one.currency == currency]
            for first in range(0, len(coins), PAGE):
                symbols = {one.ids[self.name]: one.symbol for one in coins[first : first + PAGE]}
                asks.append(Ask(currency.lower(), symbols, window))
        return tuple(asks)

    def history(self, window: Window, instruments: Sequence[Instrument], kind: Kind) -> tuple[Ask, ...]:
        """Quotes, about 5 minutes apart in the last 24 hours, an hour apart before."""
        if kind != "quote":
            raise ConfigError(f"coingecko has no history of {kind}s, only of quotes")
        return tuple(
            Ask(one.currency.lower(), {one.ids[self.name]: one.symbol}, part, is_past=True)
            for one in instruments
            for part in _parts(window)
        )

    def extract(self, query: tuple[Ask, ...]) -> Iterator[Reply[Ask]]:
        until = query[-1].window.end
        yield from through("CoinGecko", self._replies(query), until, "see docs/vendors/coingecko.md")

    def transform(self, query: tuple[Ask, ...], raw: Reply[Ask], received_at: datetime) -> Batch:
        batch = Collected()
        if raw.refusal:
            batch.refuse(raw.line(0), raw.refusal, raw.raw, "quote", *raw.ask.symbols.values())
        elif raw.ask.is_past:
            _add_points(batch, raw, received_at)
        else:
            _add_coins(batch, raw, received_at)
        return batch

    def _replies(self, query: tuple[Ask, ...]) -> Iterator[Reply[Ask]]:
        http = VendorHttp(
            "CoinGecko",
            self.url,
            self.gate,
            seconds=self.settings.http_timeout_seconds,
            headers=self._headers,
            secret=self._key,
            advice="check QUANTSTREAM_COINGECKO_PLAN and QUANTSTREAM_COINGECKO_API_KEY",
        )
        with http:
            for number, ask in zip(count(1), query, strict=False):
                yield (self._past if ask.is_past else self._now)(http, ask, number)

    def _now(self, http: VendorHttp, ask: Ask, number: int) -> Reply[Ask]:
        params = {
            "vs_currency": ask.currency, "ids": ",".join(ask.symbols), "per_page": str(PAGE), "page": "1",
            "precision": "full",
        }  # fmt: skip
        answer = http.get("/coins/markets", params)
        if not isinstance(answer.data, list):
            said = orjson.dumps(answer.data)[:60].decode(errors="replace")
            raise MisfitError(f"CoinGecko: the answer is no list of coins but {said!r}", answer.body)
        if not answer.data:
            ids = list(ask.symbols)
            raise SourceError(
                f"CoinGecko: knows none of the {len(ids)} coins asked for ({', '.join(ids[:3])}, ...); "
                f"check the column coingecko in {self.settings.instruments_file}"
            )
        return Reply(ask, number, answer.data, answer.body)

    def _past(self, http: VendorHttp, ask: Ask, number: int) -> Reply[Ask]:
        (coin,) = ask.symbols
        start, end = floor(ask.window.start.timestamp()), ceil(ask.window.end.timestamp())
        params = {"vs_currency": ask.currency, "from": str(start), "to": str(end), "precision": "full"}
        answer = http.get(f"/coins/{quote(coin, safe='')}/market_chart/range", params, accept=(200, 404))
        refusal = ""
        if answer.status == 404:
            file = self.settings.instruments_file.name
            refusal = f"CoinGecko does not know {coin} (answered 404); correct the column coingecko in {file}"
        return Reply(ask, number, answer.data, answer.body, refusal)


def _parts(window: Window) -> Iterator[Window]:
    """The window in parts short enough for one point an hour."""
    start = window.start
    while start < window.end:
        end = min(start + HOURLY, window.end)
        yield Window(start, end)
        start = end


def _add_coins(batch: Collected, raw: Reply[Ask], received_at: datetime) -> None:
    for row, coin in enumerate(raw.data, start=1):
        try:
            symbol, at = _envelope(coin, raw.ask.symbols)
        except ValueError as error:
            batch.reject(raw.line(row), str(error), orjson.dumps(coin), "quote")
        else:
            event = Event("coingecko", "quote", symbol, at, "", coin, received_at, raw.complete_until)
            batch.add(raw.line(row), event)


def _envelope(coin: Any, symbols: Mapping[str, str]) -> tuple[str, datetime]:
    """Symbol and time of one object. Raises ValueError with the reason; what its prices are is the audit's business."""
    if not isinstance(coin, dict):
        raise ValueError(f"not an object but {type(coin).__name__}")
    identity = coin.get("id")
    if not isinstance(identity, str) or identity not in symbols:
        raise ValueError(f"id is {identity!r:.60}, which was not asked for")
    return symbols[identity], iso_time("last_updated", coin.get("last_updated"))


def _add_points(batch: Collected, raw: Reply[Ask], received_at: datetime) -> None:
    """The three columns of a chart become points: what stands beside the same time belongs together."""
    (symbol,) = raw.ask.symbols.values()
    columns = [raw.data.get(name) if isinstance(raw.data, dict) else None for name in _COLUMNS]
    if not all(isinstance(column, list) for column in columns):
        batch.unfinished[symbol] = f"the answer has no lists {', '.join(_COLUMNS)}"
        batch.reject(raw.line(0), batch.unfinished[symbol], raw.raw, "quote", symbol)
        return
    points: dict[datetime, dict[str, Any]] = {}
    row = 0
    for name, column in zip(_COLUMNS.values(), columns, strict=True):
        for pair in column or ():
            row += 1
            try:
                if not isinstance(pair, list) or len(pair) != 2:
                    raise ValueError(f"{name} is no pair of a time and a value")
                at = epoch(f"the time of {name}", pair[0], per_second=1000)
                if name != "price" and at not in points:
                    raise ValueError(f"{name} stands beside a time without a price")
            except ValueError as error:
                batch.reject(raw.line(row), str(error), orjson.dumps(pair), "quote", symbol)
            else:
                points.setdefault(at, {})[name] = pair[1]
    for row, (at, payload) in enumerate(points.items(), start=1):
        if raw.ask.window.start <= at < raw.ask.window.end:
            event = Event("coingecko", "quote", symbol, at, "", payload, received_at, raw.complete_until)
            batch.add(raw.line(row), event)
