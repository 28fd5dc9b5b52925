"""Alpha Vantage: the price now of shares and coins, and bars of the past, one call for each instrument.

All calls go to one address; `function` says what is wanted and the key travels as a parameter, so no address may ever
be shown. Refusals come with status 200 and a text: what each means is said in `_limit`. What the answers mean is in
alphavantage_series.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from include.errors import ConfigError, SourceError
from include.events import Kind, Window
from include.instruments import Instrument
from include.settings import Settings
from include.sources.alphavantage_series import NEW_YORK, Ask, refusal, transform
from include.sources.asking import Reply, through
from include.sources.base import Batch, Source
from include.sources.delays import QUARTER_HOUR
from include.sources.gate import Limits
from include.sources.http import Answer, RateLimitedError, VendorHttp

_LIMITS: Final = {"free": Limits(per_minute=5, per_day=25), "premium": Limits(per_minute=75)}
_DELAYS: Final = {"free": timedelta(days=1), "premium": QUARTER_HOUR}  # of shares; coins have none
_ADVICE: Final = "check QUANTSTREAM_ALPHAVANTAGE_PLAN and QUANTSTREAM_ALPHAVANTAGE_API_KEY"


class AlphaVantage(Source[tuple[Ask, ...], Reply[Ask]]):
    """Quotes, and bars of the past. Raises ConfigError without a key."""

    name = "alphavantage"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        secret = settings.alphavantage_api_key
        self._key = secret.get_secret_value().strip() if secret else ""
        if not self._key or not self._key.isascii() or not self._key.isprintable():
            raise ConfigError(
                "QUANTSTREAM_ALPHAVANTAGE_API_KEY is not set, or is no key; alphavantage needs the one that "
                "https://www.alphavantage.co/support/#api-key gives"
            )
        self._premium = settings.alphavantage_plan == "premium"

    @property
    def limits(self) -> Limits:
        """25 calls a day on the free plan: at one call for each instrument no minute pace, nor one of an hour."""
        return _LIMITS[self.settings.alphavantage_plan]

    def query(self, window: Window, instruments: Sequence[Instrument]) -> tuple[Ask, ...]:
        return tuple(self._now(one, window) for one in instruments)

    def history(self, window: Window, instruments: Sequence[Instrument], kind: Kind) -> tuple[Ask, ...]:
        """Bars: of 1 minute on the premium plan, of 1 day on the free one, which has no others."""
        if kind != "bar":
            raise ConfigError(f"alphavantage has no history of {kind}s, only of bars")
        return tuple(ask for one in instruments for ask in self._past(one, window))

    def history_until(self, window: Window, kind: Kind, now: datetime) -> datetime:
        return (now - _DELAYS[self.settings.alphavantage_plan]).replace(second=0, microsecond=0)

    def extract(self, query: tuple[Ask, ...]) -> Iterator[Reply[Ask]]:
        shares = any(ask.currency is None for ask in query)
        delay = _DELAYS[self.settings.alphavantage_plan] if shares else timedelta()
        first, last = query[-1].window.start, query[-1].window.end
        # The past may lie so far back that the delay is over.
        until = min(last, max(first, datetime.now(UTC) - delay)) if query[-1].series else last - delay
        yield from through("Alpha Vantage", self._replies(query), until, _ADVICE)

    def transform(self, query: tuple[Ask, ...], raw: Reply[Ask], received_at: datetime) -> Batch:
        return transform(raw, received_at)

    def _replies(self, query: tuple[Ask, ...]) -> Iterator[Reply[Ask]]:
        http = VendorHttp(
            "Alpha Vantage",
            self.settings.alphavantage_url,
            self.gate,
            seconds=self.settings.http_timeout_seconds,
            secret=self._key,
            secret_params={"apikey": self._key},
            advice=_ADVICE,
        )
        with http:
            for number, ask in enumerate(query, start=1):
                answer = http.get("/query", ask.params, check=_limit)
                yield Reply(ask, number, answer.data, answer.body, refusal(ask, answer.data))

    def _now(self, one: Instrument, window: Window) -> Ask:
        vendor = one.ids[self.name]
        if one.asset_class == "crypto":
            params = {"function": "CURRENCY_EXCHANGE_RATE", "from_currency": vendor, "to_currency": one.currency}
            return Ask(one.symbol, vendor, params, window, one.currency)
        params = {"function": "GLOBAL_QUOTE", "symbol": vendor} | self._entitlement()
        return Ask(one.symbol, vendor, params, window)

    def _past(self, one: Instrument, window: Window) -> Iterator[Ask]:
        vendor, currency = one.ids[self.name], one.currency if one.asset_class == "crypto" else None
        minutes = {"interval": "1min", "outputsize": "full"}
        if currency:
            params = {"symbol": vendor, "market": currency}
            if self._premium:
                params |= {"function": "CRYPTO_INTRADAY"} | minutes
                yield Ask(one.symbol, vendor, params, window, currency, "Time Series Crypto (1min)")
            else:
                params |= {"function": "DIGITAL_CURRENCY_DAILY"}
                yield Ask(one.symbol, vendor, params, window, currency, "Time Series (Digital Currency Daily)")
        elif self._premium:
            params = {"function": "TIME_SERIES_INTRADAY", "symbol": vendor, "adjusted": "false"} | minutes
            params |= self._entitlement()
            for month in _months(window):
                yield Ask(one.symbol, vendor, params | {"month": month}, window, series="Time Series (1min)")
        else:
            params = {"function": "TIME_SERIES_DAILY", "symbol": vendor}
            yield Ask(one.symbol, vendor, params, window, series="Time Series (Daily)")

    def _entitlement(self) -> dict[str, str]:
        return {"entitlement": "delayed"} if self._premium else {}  # without it the vendor answers with last evening's


def _limit(answer: Answer) -> None:
    """Raises RateLimitedError for a text that says we ask too often, SourceError for one that shuts everybody out.

    The wordings have changed over the years, and one text may name several limits; the shortest one is what hit us.
    """
    body: Any = answer.data
    if not isinstance(body, dict):
        return
    text = " ".join(str(body[name]) for name in ("Note", "Information", "Error Message") if name in body).lower()
    if "apikey" in text and "invalid" in text:
        raise SourceError(f"Alpha Vantage: the key is not accepted; {_ADVICE}")
    if "premium endpoint" in text:
        raise SourceError(f"Alpha Vantage: this call is not in the plan of the key; {_ADVICE}")
    if not ("Note" in body or "Information" in body):
        return
    if "per second" in text or "burst" in text:
        raise RateLimitedError("says that we ask too often for one second", 2.0)
    if "per day" in text and "per minute" not in text:
        raise RateLimitedError("says that the calls of the day are used up", _until_midnight())
    raise RateLimitedError("says that we ask too often", 60.0)


def _until_midnight() -> float:
    """Seconds until the vendor's next day, taken to be New York's, in which it dates what it sends."""
    now = datetime.now(NEW_YORK)
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight.timestamp() - now.timestamp()


def _months(window: Window) -> Iterator[str]:
    """The months of New York that the window touches, as the vendor writes them."""
    month = window.start.astimezone(NEW_YORK).strftime("%Y-%m")
    last = (window.end - timedelta(microseconds=1)).astimezone(NEW_YORK).strftime("%Y-%m")
    while month <= last:
        yield month
        year, number = int(month[:4]), int(month[5:])
        month = f"{year + number // 12:04}-{number % 12 + 1:02}"
