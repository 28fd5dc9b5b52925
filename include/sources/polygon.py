"""Polygon (now called Massive): snapshots of many tickers in one call, minute bars, trades.

The key travels in a header. Answers come in pages; `next_url` names the next one under either of the vendor's names
(api.polygon.io, api.massive.com), so only its path is taken and our own address is asked. What the answers mean is in
polygon_results.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote, urlsplit

from include.errors import ConfigError, MisfitError
from include.events import Kind, Window
from include.instruments import Instrument
from include.settings import Settings
from include.sources.asking import Reply, through
from include.sources.base import Batch, Calls, Source
from include.sources.delays import delay
from include.sources.gate import Limits
from include.sources.http import VendorHttp
from include.sources.polygon_results import Ask, refusal, transform

TICKERS: Final = 250  # in one snapshot; the vendor sets no limit, addresses have one
_PAGE: Final = "50000"  # rows, the vendor's limit
_SNAPSHOTS: Final = {
    "equity": "/v2/snapshot/locale/us/markets/stocks/tickers",
    "crypto": "/v2/snapshot/locale/global/markets/crypto/tickers",
}
_LIMITS: Final = {"basic": Limits(per_minute=5), "starter": Limits(), "advanced": Limits()}
_MINUTE: Final = timedelta(minutes=1)
_1970: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BEFORE: Final = timedelta(minutes=5)
_ANSWERED: Final = (200, 400, 403, 404)  # the last three: this ticker, or this market, is not to be had
_ADVICE: Final = "check QUANTSTREAM_POLYGON_PLAN and QUANTSTREAM_POLYGON_API_KEY"


class Polygon(Source[tuple[Ask, ...], Reply[Ask]]):
    """Quotes and minute bars; trades of the past on the advanced plan. Raises ConfigError without a key."""

    name = "polygon"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        secret = settings.polygon_api_key
        self._key = secret.get_secret_value().strip() if secret else ""
        if not self._key or not self._key.isascii() or not self._key.isprintable():
            raise ConfigError(
                "QUANTSTREAM_POLYGON_API_KEY is not set, or is no key; polygon needs the one that "
                "https://polygon.io/dashboard/keys shows"
            )
        self._delay = delay(self.name, settings)

    @property
    def limits(self) -> Limits:
        """5 calls a minute on the basic plan; the others are not counted by the vendor."""
        return _LIMITS[self.settings.polygon_plan]

    def query(self, window: Window, instruments: Sequence[Instrument]) -> tuple[Ask, ...]:
        """One call per market; on the basic plan, which has no snapshots, one per ticker for its last minute bars."""
        until = window.end - self._delay
        if self.settings.polygon_plan == "basic":
            bars = Window(window.start - self._delay - _BEFORE, until)
            return tuple(self._bars(one, bars, until) for one in instruments)
        asks = []
        for asset_class, path in _SNAPSHOTS.items():
            symbols = {one.ids[self.name]: one.symbol for one in instruments if one.asset_class == asset_class}
            tickers = list(symbols)
            for first in range(0, len(tickers), TICKERS):
                some = tickers[first : first + TICKERS]
                params = {"tickers": ",".join(some)}
                asks.append(Ask("quote", path, params, {one: symbols[one] for one in some}, until, window))
        return tuple(asks)

    def history(self, window: Window, instruments: Sequence[Instrument], kind: Kind) -> tuple[Ask, ...]:
        """Bars of 1 minute, as far back as the plan goes, or trades (advanced plan)."""
        until = min(window.end, max(window.start, datetime.now(UTC) - self._delay))
        if kind == "bar":
            return tuple(self._bars(one, window, until) for one in instruments)
        if kind != "trade":
            raise ConfigError(f"polygon has no history of {kind}s; it has bars and trades")
        if self.settings.polygon_plan != "advanced":
            raise ConfigError(
                f"QUANTSTREAM_POLYGON_PLAN = {self.settings.polygon_plan} has no trades; polygon sells them with its "
                "plan advanced, or ask for bars"
            )
        return tuple(self._trades(one, window, until) for one in instruments)

    def history_calls(self, window: Window, instruments: Sequence[Instrument], kind: Kind) -> Calls | None:
        """A page holds the bars of some 34 days; their minutes are counted, whether there was trade in them or not."""
        pages = -(-(window.end - window.start) // (int(_PAGE) * _MINUTE)) * len(self.history(window, instruments, kind))
        return Calls(pages, pages) if kind == "bar" else None

    def extract(self, query: tuple[Ask, ...]) -> Iterator[Reply[Ask]]:
        yield from through("Polygon", self._replies(query), query[-1].until, _ADVICE)

    def transform(self, query: tuple[Ask, ...], raw: Reply[Ask], received_at: datetime) -> Batch:
        return transform(raw, received_at)

    def _replies(self, query: tuple[Ask, ...]) -> Iterator[Reply[Ask]]:
        http = VendorHttp(
            "Polygon",
            self.settings.polygon_url,
            self.gate,
            seconds=self.settings.http_timeout_seconds,
            headers={"Authorization": f"Bearer {self._key}"},
            secret=self._key,
            advice=_ADVICE,
        )
        number = 0
        with http:
            for ask in query:
                page, seen = ask, {ask.path}
                while True:
                    number += 1
                    answer = http.get(page.path, page.params, accept=_ANSWERED)
                    said = refusal(ask, answer.status, answer.data)
                    yield Reply(ask, number, answer.data, answer.body, said)
                    if said or not (following := _next(answer.data)):
                        break
                    if following in seen:
                        raise MisfitError(
                            f"Polygon: its pages go in a circle: {following[:120]!r} came before", answer.body
                        )
                    seen.add(following)
                    page = replace(ask, path=following, params={})

    def _bars(self, one: Instrument, window: Window, until: datetime) -> Ask:
        ticker, last = one.ids[self.name], _milliseconds(window.end) - 1  # the vendor's end is inclusive
        path = f"/v2/aggs/ticker/{quote(ticker, safe=':')}/range/1/minute/{_milliseconds(window.start)}/{last}"
        params = {"adjusted": "false", "sort": "asc", "limit": _PAGE}
        return Ask("bar", path, params, {ticker: one.symbol}, until, window)

    def _trades(self, one: Instrument, window: Window, until: datetime) -> Ask:
        ticker = one.ids[self.name]
        params = {
            "timestamp.gte": f"{_microseconds(window.start)}000",
            "timestamp.lt": f"{_microseconds(window.end)}000",
            "order": "asc",
            "sort": "timestamp",
            "limit": _PAGE,
        }
        return Ask("trade", f"/v3/trades/{quote(ticker, safe=':')}", params, {ticker: one.symbol}, until, window)


def _next(data: Any) -> str:
    """Path and query of the next page; "" if there is none."""
    url = data.get("next_url") if isinstance(data, dict) else None
    if not isinstance(url, str) or not url:
        return ""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _milliseconds(at: datetime) -> int:
    return _microseconds(at) // 1000


def _microseconds(at: datetime) -> int:
    return (at - _1970) // timedelta(microseconds=1)
