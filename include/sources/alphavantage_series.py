"""Alpha Vantage's answers to events; pure. Field names are the vendor's, with their numbers ("05. price").

Times are texts in a zone that the answer names. A row of a series becomes the payload of a bar, with `time` (the text
it stood under), `zone` and `resolution` beside the vendor's fields.

GLOBAL_QUOTE gives only a day. It is dated with that day's close, 16:00 in New York; while the day is not over, with
the end of the window, less the vendor's delay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson

from include.events import Event, Window
from include.sources.asking import Collected, Reply
from include.sources.delays import QUARTER_HOUR

NEW_YORK: Final = ZoneInfo("America/New_York")
_ZONES: Final = {"US/Eastern": NEW_YORK, "America/New_York": NEW_YORK, "UTC": UTC}
_CLOSE: Final = time(16)
_QUOTE: Final = "Global Quote"  # "Global Quote - DATA DELAYED BY 15 MINUTES" on a delayed plan
_RATE: Final = "Realtime Currency Exchange Rate"
_META: Final = "Meta Data"


@dataclass(frozen=True, slots=True)
class Ask:
    """One call. `currency` only of coins, `series` (the name of the rows) only of the past."""

    symbol: str
    vendor: str
    params: Mapping[str, str]
    window: Window
    currency: str | None = None
    series: str = ""

    @property
    def resolution(self) -> str:
        return "1m" if "1min" in self.series else "1d"

    @property
    def done_after(self) -> timedelta:
        """How long after its start a bar is as it stays; a day of shares is over with the session."""
        if self.resolution == "1m":
            return timedelta(minutes=1)
        return timedelta(days=1) if self.currency else timedelta(hours=17)


def refusal(ask: Ask, data: Any) -> str:
    """Why an answer is not what was asked for; "" if it is."""
    who = f"{ask.vendor}: "
    if not isinstance(data, dict):
        return f"{who}the answer is no object but {type(data).__name__}"
    if "Error Message" in data:
        return f"{who}{data['Error Message']}"[:300]
    rows = _rows(ask, data)
    if rows is None:
        return f"{who}the answer has no {_wanted(ask)!r} but {', '.join(data)[:120] or 'nothing at all'}"
    if not rows:
        return f"{who}{_wanted(ask)!r} is empty: the vendor does not know it"
    return ""


def transform(reply: Reply[Ask], received_at: datetime) -> Collected:
    """The events of one reply."""
    batch, ask = Collected(), reply.ask
    kind = "bar" if ask.series else "quote"
    if reply.refusal:
        batch.refuse(reply.line(0), reply.refusal, reply.raw, kind, ask.symbol)
        return batch
    rows = _rows(ask, reply.data) or {}
    if ask.series:
        _bars(batch, reply, rows, received_at)
        return batch
    try:
        at = _day(ask, rows) if ask.currency is None else _moment(ask, rows)
    except ValueError as error:
        batch.reject(reply.line(1), str(error), orjson.dumps(rows), kind, ask.symbol)
    else:
        event = Event("alphavantage", "quote", ask.symbol, at, "", rows, received_at, reply.complete_until)
        batch.add(reply.line(1), event)
    return batch


def _bars(batch: Collected, reply: Reply[Ask], rows: Mapping[str, Any], received_at: datetime) -> None:
    """Rows of the window; of those before and after it the series is full, and nobody asked for them."""
    ask, meta = reply.ask, reply.data.get(_META)
    zone = next((meta[name] for name in meta if name.endswith("Time Zone")), None) if isinstance(meta, dict) else None
    earliest: datetime | None = None
    for number, (text, row) in enumerate(rows.items(), start=1):
        try:
            start = _time("time", text, zone)
            earliest = min(start, earliest or start)
            if not ask.window.start <= start < ask.window.end:
                continue
            if not isinstance(row, dict):
                raise ValueError(f"the row is no object but {type(row).__name__}")
            if start + ask.done_after > received_at:
                raise ValueError("the bar is still being formed")
        except ValueError as error:
            batch.reject(reply.line(number), str(error), orjson.dumps({text: row}), "bar", ask.symbol)
            continue
        payload = row | {"time": text, "zone": zone, "resolution": ask.resolution}
        event = Event("alphavantage", "bar", ask.symbol, start, "", payload, received_at, reply.complete_until)
        batch.add(reply.line(number), event)
    if earliest is not None and earliest >= ask.window.end:
        reason = f"{ask.vendor}: the vendor's series begins only at {earliest:%Y-%m-%d %H:%M} UTC, after the window"
        batch.refuse(reply.line(0), reason, orjson.dumps(meta), "bar", ask.symbol)


def _wanted(ask: Ask) -> str:
    return ask.series or (_QUOTE if ask.currency is None else _RATE)


def _rows(ask: Ask, data: Mapping[str, Any]) -> dict[str, Any] | None:
    """The object under the name that was asked for, or under a name that only adds to it."""
    found = next((data[name] for name in data if name.startswith(_wanted(ask))), None)
    return found if isinstance(found, dict) else None


def _day(ask: Ask, rows: Mapping[str, Any]) -> datetime:
    if rows.get("01. symbol") != ask.vendor:
        raise ValueError(f"01. symbol is {rows.get('01. symbol')!r:.60}; {ask.vendor} was asked for")
    text = rows.get("07. latest trading day")
    try:
        day = date.fromisoformat(text)  # type: ignore[arg-type]  # a wrong type raises TypeError
    except (TypeError, ValueError):
        raise ValueError(f"07. latest trading day is {text!r:.60}; it must be a day like 2026-03-13") from None
    close = datetime.combine(day, _CLOSE, NEW_YORK).astimezone(UTC)
    now = ask.window.end
    return close if day < now.astimezone(NEW_YORK).date() else min(close, now - QUARTER_HOUR)


def _moment(ask: Ask, rows: Mapping[str, Any]) -> datetime:
    pair = (rows.get("1. From_Currency Code"), rows.get("3. To_Currency Code"))
    if pair != (ask.vendor, ask.currency):
        raise ValueError(f"the rate is of {pair!r:.60}; {ask.vendor} in {ask.currency} was asked for")
    return _time("6. Last Refreshed", rows.get("6. Last Refreshed"), rows.get("7. Time Zone"))


def _time(name: str, text: Any, zone: Any) -> datetime:
    """UTC of a text like 2026-03-13 15:59:00 (or a day: its midnight) in the zone. Raises ValueError."""
    if not isinstance(zone, str) or zone not in _ZONES:
        raise ValueError(f"the time zone is {zone!r:.60}; known are {', '.join(_ZONES)}")
    try:
        local = datetime.fromisoformat(text).replace(tzinfo=_ZONES[zone])
        at = local.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} is {text!r:.60}; it must be a time like 2026-03-13 15:59:00") from None
    if local.utcoffset() != local.replace(fold=1).utcoffset():
        raise ValueError(f"{name} is {text}, which the clock change of {zone} makes twice or not at all")
    return at
