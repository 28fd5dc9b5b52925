"""Yahoo's chart answer to events; pure.

An answer holds `meta` (the price now and what the chart is of), `timestamp` with one column per field beside it, and
`events` (splits, dividends). Stamps are epoch seconds, so the exchange's `gmtoffset` is never needed.

- `meta`, unchanged, is the payload of the quote, dated with `regularMarketTime`.
- A row of the columns under the vendor's names is the payload of a bar, with three facts of `meta` that a row means
  nothing without: `dataGranularity`, `instrumentType`, and as `session` the trading period that it lies in.
- A split or dividend is the vendor's object; a dividend also gets the `currency` of `meta`, unless it names its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from include.errors import SourceError
from include.events import Event, Kind, Window
from include.sources.asking import Collected, Reply, epoch

_LENGTHS: Final = {"1m": timedelta(minutes=1), "30m": timedelta(minutes=30), "1d": timedelta(days=1)}
_PRICES: Final = ("open", "high", "low", "close")
_COLUMNS: Final = (*_PRICES, "volume")
_ACTIONS: Final = {"splits": "split", "dividends": "dividend"}
_ACTION_ROWS: Final = 90_000  # where the rows of actions are counted from, behind all bars


@dataclass(frozen=True, slots=True)
class Ask:
    """One call. `before`: the minute that just ended, with the bars of that time before it; None: any past window."""

    symbol: str
    ticker: str
    interval: str
    params: Mapping[str, str]
    kinds: frozenset[Kind]
    window: Window
    before: timedelta | None = None


def refusal(ask: Ask, data: Any) -> str:
    """Why an answer is no chart of what was asked for; "" if it is one. Raises SourceError if Yahoo lets nobody in."""
    body = next((data[key] for key in ("chart", "finance") if isinstance(data, dict) and key in data), None)
    if not isinstance(body, dict):
        keys = f"the keys {', '.join(data)[:80]}" if isinstance(data, dict) else type(data).__name__
        return f"{ask.ticker}: the answer is no chart but {keys}"
    if error := body.get("error"):
        code, text = (error.get("code"), error.get("description")) if isinstance(error, dict) else (error, None)
        if code == "Unauthorized":
            raise SourceError(f"Yahoo: {code}: {text!r:.120}; the chart needs no crumb, so Yahoo has changed its mind")
        return f"{ask.ticker}: {code}: {text}"[:300]
    result = body.get("result")
    chart = result[0] if isinstance(result, list) and len(result) == 1 else None
    meta = chart.get("meta") if isinstance(chart, dict) else None
    if not isinstance(chart, dict) or not isinstance(meta, dict):
        return f"{ask.ticker}: the chart has no result with its meta"
    if meta.get("symbol") != ask.ticker:
        return f"{ask.ticker}: the chart is of {meta.get('symbol')!r:.60}, which was not asked for"
    if meta.get("dataGranularity") != ask.interval:
        return f"{ask.ticker}: the bars are of {meta.get('dataGranularity')!r:.60}; {ask.interval} was asked for"
    return _uneven(ask, chart)


def _uneven(ask: Ask, chart: dict[str, Any]) -> str:
    stamps = chart.get("timestamp")
    if stamps is None:  # nothing was traded in the time asked for
        return ""
    columns = dict.fromkeys(_COLUMNS) | _columns(chart)
    for name, column in columns.items():
        if not isinstance(stamps, list) or not isinstance(column, list) or len(column) != len(stamps):
            many = [len(one) if isinstance(one, list) else type(one).__name__ for one in (stamps, column)]
            return f"{ask.ticker}: timestamp and {name} do not go together ({many[0]} and {many[1]})"
    return ""


def transform(reply: Reply[Ask], received_at: datetime) -> Collected:
    """The events of one reply, of the kinds that were asked for."""
    batch, ask = Collected(), reply.ask
    if reply.refusal:
        kind = next(iter(ask.kinds)) if len(ask.kinds) == 1 else None
        batch.refuse(reply.line(0), reply.refusal, reply.raw, kind, ask.symbol)
        return batch
    chart = reply.data["chart"]["result"][0]
    if "quote" in ask.kinds:
        _quote(batch, reply, chart["meta"], received_at)
    if "bar" in ask.kinds:
        _bars(batch, reply, chart, received_at)
    if "action" in ask.kinds:
        _actions(batch, reply, chart, received_at)
    return batch


def _quote(batch: Collected, reply: Reply[Ask], meta: dict[str, Any], received_at: datetime) -> None:
    line, symbol = reply.line(1), reply.ask.symbol
    try:
        at = epoch("regularMarketTime", meta.get("regularMarketTime"))
    except ValueError as error:
        batch.reject(line, str(error), orjson.dumps(meta), "quote", symbol)
    else:
        batch.add(line, Event("yahoo", "quote", symbol, at, "", meta, received_at, reply.complete_until))


def _bars(batch: Collected, reply: Reply[Ask], chart: dict[str, Any], received_at: datetime) -> None:
    ask, meta = reply.ask, chart["meta"]
    columns, periods = _columns(chart), list(_periods(meta)) if ask.interval != "1d" else []
    facts = {"dataGranularity": meta["dataGranularity"], "instrumentType": meta.get("instrumentType")}
    for index, stamp in enumerate(chart.get("timestamp") or []):
        line, row = reply.line(2 + index), {"timestamp": stamp} | {name: columns[name][index] for name in columns}
        again = False
        try:
            start = epoch("timestamp", stamp)
            end = start + _LENGTHS[ask.interval]
            if ask.before is not None:
                if start < ask.window.start - ask.before or end > ask.window.end:
                    continue  # a bar of another pull: one of earlier minutes, or the one being formed
                again = end <= ask.window.start  # what is no bar was rejected by the pull of its own minute
            elif all(row[name] is None for name in _PRICES):
                continue  # of the past: a minute in which nothing was traded, which other vendors leave out
            _check(ask, row, start, received_at)
        except ValueError as error:
            if not again:
                batch.reject(line, str(error), orjson.dumps(row), "bar", ask.symbol)
            continue
        session = next((name for name, begin, end in periods if begin <= stamp < end), None)
        event = Event(
            "yahoo", "bar", ask.symbol, start, "", row | facts | {"session": session}, received_at, reply.complete_until
        )
        batch.add(line, event)


def _check(ask: Ask, row: Mapping[str, Any], start: datetime, received_at: datetime) -> None:
    """Raises ValueError saying why a row is no bar of what was asked for."""
    if ask.before is None and not ask.window.start <= start < ask.window.end:
        raise ValueError(f"a row of {start:%Y-%m-%dT%H:%M:%SZ}, outside of what was asked for")
    if ask.interval != "1d" and start.timestamp() % 60:
        raise ValueError(f"a row of {start:%H:%M:%S}, no whole minute: the price of now, not a bar")
    if start + _LENGTHS[ask.interval] > received_at:
        raise ValueError("the bar is still being formed")
    if all(row[name] is None for name in _PRICES):
        raise ValueError("no trade: open, high, low and close are null")


def _actions(batch: Collected, reply: Reply[Ask], chart: dict[str, Any], received_at: datetime) -> None:
    ask, found, row = reply.ask, chart.get("events"), _ACTION_ROWS
    for group, action in _ACTIONS.items():
        things = found.get(group) if isinstance(found, dict) else found
        for thing in things.values() if isinstance(things, dict) else [things] if things else []:
            row += 1
            try:
                at = epoch("date", thing.get("date") if isinstance(thing, dict) else None)
                if ask.before is None and not ask.window.start <= at < ask.window.end:
                    raise ValueError(f"a {action} of {at:%Y-%m-%d}, outside of what was asked for")
            except ValueError as error:
                batch.reject(reply.line(row), str(error), orjson.dumps(thing), "action", ask.symbol)
                continue
            payload = {"currency": chart["meta"].get("currency")} | thing if action == "dividend" else thing
            event = Event("yahoo", "action", ask.symbol, at, action, payload, received_at, reply.complete_until)
            batch.add(reply.line(row), event)


def _columns(chart: dict[str, Any]) -> dict[str, Any]:
    """The columns of the bars by name; a daily chart has `adjclose` apart from the others."""
    indicators = chart.get("indicators")
    merged: dict[str, Any] = {}
    for group in ("quote", "adjclose"):
        tables = indicators.get(group) if isinstance(indicators, dict) else None
        if isinstance(tables, list) and tables and isinstance(tables[0], dict):
            merged |= tables[0]
    return merged


def _periods(meta: Mapping[str, Any]) -> Iterator[tuple[str, int, int]]:
    """(session, first second, second after the last) of the days in the answer.

    `tradingPeriods` is a list of days of lists, by session if pre and post market were asked for; without it there is
    the day of `currentTradingPeriod`. Coins have no sessions: theirs are left out.
    """
    if meta.get("instrumentType") == "CRYPTOCURRENCY":
        return
    periods = meta.get("tradingPeriods") or meta.get("currentTradingPeriod") or {}
    for session, days in (periods if isinstance(periods, dict) else {"regular": periods}).items():
        for day in days if isinstance(days, list) else [[days]]:
            for period in day if isinstance(day, list) else [day]:
                if session in ("pre", "regular", "post") and isinstance(period, dict):
                    start, end = period.get("start"), period.get("end")
                    if isinstance(start, int) and isinstance(end, int):
                        yield session, start, end
