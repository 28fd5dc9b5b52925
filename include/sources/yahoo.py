"""Yahoo Finance's chart endpoint: the price now, and the vendor's own bars, one call for each instrument.

It is the API of Yahoo's own pages: without a key, without documentation and without a promise. The other one that
people use (/v7/finance/quote, many symbols in one call) wants a cookie and a crumb of a browser's session, so it is
left alone. What the answers mean is in yahoo_chart.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote

from include.errors import ConfigError
from include.events import Kind, Window
from include.instruments import Instrument
from include.sources.asking import Reply, through
from include.sources.base import Batch, Source
from include.sources.gate import Limits
from include.sources.http import VendorHttp
from include.sources.yahoo_chart import Ask, refusal, transform

_MINUTES_BACK: Final = timedelta(days=29)  # Yahoo keeps 30 days of minutes, counted from when it is asked
_MINUTES_A_CALL: Final = timedelta(days=7)
_BEFORE: Final = timedelta(minutes=5)  # the bars of the last minutes are still being revised
_AROUND: Final = timedelta(hours=1)
_ANSWERED: Final = (200, 400, 404, 422)  # the last three with a body that says what is wrong with this symbol
_ADVICE: Final = "Yahoo refuses this address or this client for now; see docs/vendors/yahoo.md"
# Yahoo answers 429 to clients that name no browser at all; this one says what it is behind the usual first word.
_HEADERS: Final = {"User-Agent": "Mozilla/5.0 (compatible; quantstream)"}


class Yahoo(Source[tuple[Ask, ...], Reply[Ask]]):
    """Quotes, 1-minute bars, splits and dividends. Needs no key; Yahoo's own limits are not published."""

    name = "yahoo"

    @property
    def limits(self) -> Limits:
        """Our own restraint: users report refusals above some 2,000 calls an hour from one address."""
        return Limits(per_minute=60)

    def query(self, window: Window, instruments: Sequence[Instrument]) -> tuple[Ask, ...]:
        kinds: frozenset[Kind] = frozenset({"quote", "bar", "action"})
        # Equities: the whole session, which is there after the close too. Crypto: "1d" would begin anew at midnight.
        around = {
            "period1": _seconds(window.start - _AROUND),
            "period2": _seconds(window.end + timedelta(minutes=1)),
        }
        return tuple(
            self._ask(one, "1m", kinds, window, around if one.asset_class == "crypto" else {"range": "1d"}, _BEFORE)
            for one in instruments
        )

    def history(self, window: Window, instruments: Sequence[Instrument], kind: Kind) -> tuple[Ask, ...]:
        """Bars (of 1 minute in the last 29 days, else of 1 day) or actions."""
        if kind not in ("bar", "action"):
            raise ConfigError(f"yahoo has no history of {kind}s; it has bars, and actions (splits and dividends)")
        minutes = kind == "bar" and _has_minutes(window, datetime.now(UTC))
        parts = list(_parts(window, _MINUTES_A_CALL)) if minutes else [window]
        return tuple(
            self._ask(one, "1m" if minutes else "1d", frozenset({kind}), part, _period(part))
            for one in instruments
            for part in parts
        )

    def history_until(self, window: Window, kind: Kind, now: datetime) -> datetime:
        """A day's bar is whole when the day is over."""
        forming = timedelta(days=1) if kind == "bar" and not _has_minutes(window, now) else timedelta()
        return super().history_until(window, kind, now - forming)

    def extract(self, query: tuple[Ask, ...]) -> Iterator[Reply[Ask]]:
        yield from through("Yahoo", self._replies(query), query[-1].window.end, _ADVICE)

    def transform(self, query: tuple[Ask, ...], raw: Reply[Ask], received_at: datetime) -> Batch:
        return transform(raw, received_at)

    def _replies(self, query: tuple[Ask, ...]) -> Iterator[Reply[Ask]]:
        http = VendorHttp(
            "Yahoo",
            self.settings.yahoo_url,
            self.gate,
            seconds=self.settings.http_timeout_seconds,
            headers=_HEADERS,
            advice=_ADVICE,
        )
        with http:
            for number, ask in enumerate(query, start=1):
                answer = http.get(f"/v8/finance/chart/{quote(ask.ticker, safe='')}", ask.params, accept=_ANSWERED)
                yield Reply(ask, number, answer.data, answer.body, refusal(ask, answer.data))

    def _ask(
        self,
        instrument: Instrument,
        interval: str,
        kinds: frozenset[Kind],
        window: Window,
        span: dict[str, str],
        before: timedelta | None = None,
    ) -> Ask:
        params = {"interval": interval, **span, "includePrePost": "true"}
        if "action" in kinds:
            params["events"] = "div,split"
        return Ask(instrument.symbol, instrument.ids[self.name], interval, params, kinds, window, before)


def _has_minutes(window: Window, now: datetime) -> bool:
    return window.start >= now - _MINUTES_BACK


def _period(window: Window) -> dict[str, str]:
    return {"period1": _seconds(window.start), "period2": _seconds(window.end)}


def _seconds(at: datetime) -> str:
    return str(int(at.timestamp()))


def _parts(window: Window, length: timedelta) -> Iterator[Window]:
    """The window in pieces of at most that length."""
    start = window.start
    while start < window.end:
        end = min(start + length, window.end)
        yield Window(start, end)
        start = end
