"""Polygon's answers to events; pure. The payload is the vendor's object, unchanged.

Stamps are epoch numbers: milliseconds for the start of a bar, nanoseconds elsewhere. A trade's id is unique only on
one exchange and reporting facility, so its `vendor_id` is "exchange:id" or "exchange:facility:id".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from include.events import Event, Kind, Window
from include.sources.asking import Collected, Reply, epoch

_MINUTE: Final = timedelta(minutes=1)
_GOOD: Final = ("OK", "DELAYED")  # the second: data of 15 minutes ago, as the plan has it
_MILLI, _NANO = 1_000, 1_000_000_000


@dataclass(frozen=True, slots=True)
class Ask:
    """One call: for which kind, where, and our symbols by the vendor's tickers. `until`: then all before it is in."""

    kind: Kind
    path: str
    params: Mapping[str, str]
    symbols: Mapping[str, str]
    until: datetime
    window: Window

    @property
    def who(self) -> str:
        tickers = list(self.symbols)
        return tickers[0] if len(tickers) == 1 else f"{tickers[0]} and {len(tickers) - 1} more"


def refusal(ask: Ask, status: int, data: Any) -> str:
    """Why an answer is not what was asked for; "" if it is."""
    if not isinstance(data, dict):
        return f"{ask.who}: the answer is no object but {type(data).__name__}"
    if status != 200 or data.get("status") not in _GOOD:
        text = data.get("error") or data.get("message") or ""
        return f"{ask.who}: {status} {data.get('status')}: {text}"[:300]
    results = data.get("results")
    if ask.kind == "quote":
        return "" if isinstance(data.get("tickers"), list) else f"{ask.who}: the answer has no list of tickers"
    if isinstance(results, dict) and "values" in results:
        return f"{ask.who}: results are the values of an indicator, not {ask.kind}s"
    single = ask.kind == "trade" and isinstance(results, dict)
    if results is not None and not isinstance(results, list) and not single:
        return f"{ask.who}: results are no list but {type(results).__name__}"
    return ""


def transform(reply: Reply[Ask], received_at: datetime) -> Collected:
    """The events of one reply."""
    batch, ask = Collected(), reply.ask
    symbol = next(iter(ask.symbols.values())) if len(ask.symbols) == 1 else None
    if reply.refusal:
        batch.refuse(reply.line(0), reply.refusal, reply.raw, ask.kind, symbol)
        return batch
    for number, row in enumerate(_rows(ask, reply.data), start=1):
        line = reply.line(number)
        try:
            if not isinstance(row, dict):
                raise ValueError(f"not an object but {type(row).__name__}")
            for kind, of, at, vendor_id, payload in _events(ask, row):
                batch.add(line, Event("polygon", kind, of, at, vendor_id, payload, received_at, reply.complete_until))
        except ValueError as error:
            batch.reject(line, str(error), orjson.dumps(row), ask.kind, symbol)
    return batch


_Facts = tuple[Kind, str, datetime, str, dict[str, Any]]


def _rows(ask: Ask, data: Mapping[str, Any]) -> list[Any]:
    if ask.kind == "quote":
        return list(data["tickers"])
    results = data.get("results") or []  # absent where nothing was traded
    return [results] if isinstance(results, dict) else list(results)


def _events(ask: Ask, row: dict[str, Any]) -> Iterator[_Facts]:
    """Kind, symbol, time, vendor's id and payload of what one object says. Raises ValueError with the reason."""
    if ask.kind == "quote":
        yield from _snapshot(ask, row)
        return
    symbol = next(iter(ask.symbols.values()))
    if ask.kind == "bar":
        at = epoch("t", row.get("t"), _MILLI)
        if not ask.window.start <= at < ask.window.end:
            raise ValueError(f"t is {at:%Y-%m-%dT%H:%M:%SZ}, outside of what was asked for")
        if at + _MINUTE > ask.until:
            raise ValueError("the bar is still being formed")
        yield "bar", symbol, at, "", row
        return
    if "T" in row:  # the last trade of a ticker, under short names
        if row["T"] not in list(ask.symbols):  # a list compares with anything, a mapping hashes it
            raise ValueError(f"T is {row['T']!r:.60}, which was not asked for")
        yield "trade", symbol, epoch("t", row.get("t"), _NANO), _trade_id(row, "x", "r", "i"), row
        return
    name = "sip_timestamp" if "sip_timestamp" in row else "participant_timestamp"  # coins have the second only
    yield "trade", symbol, epoch(name, row.get(name), _NANO), _trade_id(row, "exchange", "trf_id", "id"), row


def _snapshot(ask: Ask, row: dict[str, Any]) -> Iterator[_Facts]:
    ticker = row.get("ticker")
    if not isinstance(ticker, str) or ticker not in ask.symbols:
        raise ValueError(f"ticker is {ticker!r:.60}, which was not asked for")
    if row.get("updated") == 0:
        raise ValueError(f"{ticker}: nothing traded since the vendor cleared its snapshots (updated is 0)")
    yield "quote", ask.symbols[ticker], epoch("updated", row.get("updated"), _NANO), "", row
    minute = row.get("min")
    start = minute.get("t") if isinstance(minute, dict) else None
    if isinstance(minute, dict) and start:  # 0 where nothing was traded yet
        at = epoch("min.t", start, _MILLI)
        if at + _MINUTE <= ask.until:  # else it is still being formed; it stays in the payload of the quote
            yield "bar", ask.symbols[ticker], at, "", minute


def _trade_id(row: Mapping[str, Any], exchange: str, facility: str, identity: str) -> str:
    parts = [row.get(exchange), row.get(facility), row.get(identity)]
    if not isinstance(parts[2], str) or not parts[2]:
        raise ValueError(f"{identity} is {parts[2]!r:.60}; it must be a text")
    return ":".join(str(part) for part in parts if part is not None)
