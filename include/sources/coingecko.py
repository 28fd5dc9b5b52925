"""CoinGecko's /coins/markets: the latest price of many coins in one answer, by coin id.

A quote is dated with the vendor's `last_updated`, and its payload is the vendor's object, unchanged. There is no
history here: whatever the window, the answer is about now.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import orjson

from include.errors import ConfigError, SourceError
from include.events import Event, Window
from include.instruments import Instrument
from include.settings import Settings
from include.sources.base import Batch, Rejected, Source
from include.sources.http import get_json

PAGE: Final = 250  # coins in one answer, the vendor's limit
_PUBLIC: Final = "https://api.coingecko.com/api/v3"
_URLS: Final = {"public": _PUBLIC, "demo": _PUBLIC, "pro": "https://pro-api.coingecko.com/api/v3"}
_KEY_HEADERS: Final = {"demo": "x-cg-demo-api-key", "pro": "x-cg-pro-api-key"}


@dataclass(frozen=True, slots=True)
class Page:
    """One request: which coins in which currency. `first_line` numbers its objects within the whole answer."""

    currency: str
    symbols: dict[str, str]  # the vendor's id -> our symbol
    first_line: int
    complete_until: datetime | None  # on the last page only: then all are in


@dataclass(frozen=True, slots=True)
class Answer:
    """A page and the objects that came for it."""

    page: Page
    coins: list[Any]


class CoinGecko(Source[tuple[Page, ...], Answer]):
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

    def query(self, window: Window, instruments: Sequence[Instrument]) -> tuple[Page, ...]:
        pages: list[Page] = []
        for currency in sorted({instrument.currency for instrument in instruments}):
            coins = [one for one in instruments if one.currency == currency]
            for first in range(0, len(coins), PAGE):
                symbols = {one.ids[self.name]: one.symbol for one in coins[first : first + PAGE]}
                pages.append(Page(currency.lower(), symbols, 1 + len(pages) * PAGE, None))
        last = pages[-1]
        return (*pages[:-1], Page(last.currency, last.symbols, last.first_line, window.end))

    def extract(self, query: tuple[Page, ...]) -> Iterator[Answer]:
        seconds = self.settings.http_timeout_seconds
        advice = "check QUANTSTREAM_COINGECKO_PLAN and QUANTSTREAM_COINGECKO_API_KEY"
        with httpx.Client(headers={"User-Agent": "quantstream", **self._headers}) as client:
            for page in query:
                params = {
                    "vs_currency": page.currency, "ids": ",".join(page.symbols), "per_page": str(PAGE), "page": "1",
                    "precision": "full",
                }  # fmt: skip
                url = f"{self.url}/coins/markets"
                coins = get_json(
                    client, url, params, vendor="CoinGecko", seconds=seconds, advice=advice, secret=self._key
                )
                if not isinstance(coins, list):
                    raise SourceError(f"CoinGecko: the answer is no list of coins but {orjson.dumps(coins)[:120]!r}")
                if not coins:
                    ids = list(page.symbols)
                    raise SourceError(
                        f"CoinGecko: knows none of the {len(ids)} coins asked for ({', '.join(ids[:3])}, ...); "
                        f"check the column coingecko in {self.settings.instruments_file}"
                    )
                yield Answer(page, coins)

    def transform(self, query: tuple[Page, ...], raw: Answer, received_at: datetime) -> Batch:
        batch, page = Batch(), raw.page
        for number, coin in enumerate(raw.coins, start=page.first_line):
            try:
                symbol, at = _envelope(coin, page.symbols)
            except ValueError as error:
                batch.rejected.append(Rejected(number, str(error), orjson.dumps(coin), kind="quote"))
            else:
                event = Event(self.name, "quote", symbol, at, "", coin, received_at, page.complete_until)
                batch.events.append(event)
                batch.lines.append(number)
        return batch


def _envelope(coin: Any, symbols: dict[str, str]) -> tuple[str, datetime]:
    """Symbol and time of one object. Raises ValueError with the reason; what its prices are is the audit's business."""
    if not isinstance(coin, dict):
        raise ValueError(f"not an object but {type(coin).__name__}")
    identity, updated = coin.get("id"), coin.get("last_updated")
    if not isinstance(identity, str) or identity not in symbols:
        raise ValueError(f"id is {identity!r:.60}, which was not asked for")
    try:
        at = datetime.fromisoformat(updated)  # type: ignore[arg-type]  # a wrong type raises TypeError
    except (TypeError, ValueError):
        raise ValueError(f"last_updated is {updated!r:.60}; it must be an ISO 8601 time") from None
    if at.tzinfo is None:
        raise ValueError(f"last_updated is {updated!r:.60}; it must carry its time zone")
    return symbols[identity], at.astimezone(UTC)
