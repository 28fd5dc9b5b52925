"""Columns and values of files: which column is the price, and what number or time a text stands for."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from include.errors import ConfigError

# Names by which a field goes, the preferred one first. Compared in small letters, with _ for spaces, dots and dashes.
_ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "time": ("ts_utc", "time_utc", "timestamp_utc", "event_time", "timestamp", "datetime", "date_time", "ts", "time",
             "candle_start", "open_time", "start", "date", "day"),
    "symbol": ("symbol", "ticker", "instrument", "sym", "pair", "product_id"),
    "price": ("price", "last", "last_price", "trade_price", "px", "close"),
    "size": ("size", "volume", "qty", "quantity", "amount", "last_size", "vol"),
    "side": ("side", "taker_side", "aggressor_side"),
    "id": ("seq", "sequence", "sequence_number", "trade_id", "tradeid", "id", "tid"),
    "bid": ("bid", "bid_price", "best_bid", "bid_close", "close_bid"),
    "ask": ("ask", "ask_price", "best_ask", "ask_close", "close_ask", "offer"),
    "previous_close": ("previous_close", "prev_close"),
    "day_volume": ("day_volume", "cumulative_volume"),
    "open": ("open", "o", "open_price"),
    "high": ("high", "h", "high_price"),
    "low": ("low", "l", "low_price"),
    "close": ("close", "c", "close_price", "last"),
    "volume": ("volume", "v", "vol", "qty", "quantity", "amount", "base_volume"),
    "trade_count": ("trade_count", "trades", "count", "n"),
    "vwap": ("vwap", "vw"),
}  # fmt: skip
_REQUIRED: Final = {
    "quote": ("time", "price"),
    "trade": ("time", "price"),
    "bar": ("time", "open", "high", "low", "close"),
}
_OPTIONAL: Final = {
    "quote": ("symbol", "id", "bid", "ask", "previous_close", "day_volume"),
    "trade": ("symbol", "id", "size", "side"),
    "bar": ("symbol", "volume", "trade_count", "vwap"),
}
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_CLOCK: Final = re.compile(r"\d{1,2}:\d\d", re.ASCII)
_EPOCH: Final = re.compile(r"\d{9,19}(\.\d+)?", re.ASCII)
_FIRST_DAY, _LAST_DAY = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_1970: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Layout:
    """Which column holds which field. `clock` is the time of day beside a column of dates; `rest` are the others."""

    columns: Mapping[str, str]
    clock: str | None
    rest: tuple[str, ...]


def find_layout(kind: str, found: Iterable[str], wanted: Mapping[str, str], symbol: str | None, place: str) -> Layout:
    """Match the columns `found` in a file to the fields of a kind; `wanted` (field -> column) overrides the names.

    Raises ConfigError naming the fields without a column, the columns there are, and how to map one to the other.
    """
    found = list(found)
    by_name = {re.sub(r"[ .-]+", "_", name.strip().lower()): name for name in reversed(found)}
    fields = (*_REQUIRED[kind], *_OPTIONAL[kind])
    problems = [f"{name!r} is no field of a {kind}" for name in wanted if name not in fields]
    problems += [f"there is no column {column!r}" for column in wanted.values() if column not in found]
    columns = {name: column for name, column in wanted.items() if name in fields}
    for name in fields:
        if name not in columns and (alias := next((one for one in _ALIASES[name] if one in by_name), None)):
            columns[name] = by_name[alias]
    needed = [name for name in _REQUIRED[kind] if name not in columns]
    if kind == "quote" and "bid" in columns and "ask" in columns:
        needed = [name for name in needed if name != "price"]
    if "symbol" not in columns and symbol is None:
        needed.append("symbol")
    problems += [f"no column for {name}" for name in needed]
    if problems:
        example = needed[0] if needed else fields[0]
        raise ConfigError(
            f"{place} cannot be read as {kind}s: {'; '.join(problems)}.\n"
            f"Its columns are: {', '.join(found) or '(none)'}.\n"
            f"Say which column holds what, as in --map {example}=COLUMN (fields: {', '.join(fields)})"
            + ("; or give the symbol of all rows with --symbol." if "symbol" in needed else ".")
        )
    clock = by_name.get("time") if "time" not in wanted and "date" in by_name else None
    if clock is not None and columns["time"] == clock:
        columns["time"] = by_name["date"]
    else:
        clock = None
    used = {*columns.values(), clock}
    return Layout(columns, clock, tuple(name for name in found if name not in used))


def number(name: str, value: Any) -> float | int | str | None:
    """The finite number a value stands for; None if it is empty or NaN. Digits beyond a float's stay as text.

    Raises ValueError naming the field and the value.
    """
    if value is None or value == "" or value != value:  # NaN differs from itself
        return None
    if isinstance(value, str):
        text = value.strip()
        if not _NUMBER.fullmatch(text):
            raise ValueError(f"{name} is {value!r:.60}; it must be a number")
        if len(text) <= 15 and text.isdecimal():
            return int(text)
        parsed = float(text)
        if len(text) > 15 and math.isfinite(parsed) and Decimal(repr(parsed)) != Decimal(text):
            return text
    elif isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        parsed = value if isinstance(value, int) and abs(value) < 2**53 else float(value)
        if isinstance(value, int | Decimal) and math.isfinite(parsed) and Decimal(repr(parsed)) != value:
            return str(value)
    else:
        raise ValueError(f"{name} is {value!r:.60}; it must be a number")
    if not math.isfinite(parsed):
        raise ValueError(f"{name} is {value!r:.60}; it must be finite")
    return parsed


def moment(value: Any, clock: Any = None) -> datetime:
    """The UTC time a value stands for; `clock` is the time of day where it stands in a column of its own.

    Understood: ISO 8601 (without a zone: UTC), dates (their midnight), epoch seconds, milli-, micro- or nanoseconds
    (told apart by their size). Raises ValueError naming the value.
    """
    if clock not in (None, ""):
        value = f"{value} {clock}" if _CLOCK.match(str(clock)) else clock
    if isinstance(value, int) and 10**7 <= value < 10**8:
        value = str(value)  # 20131007
    try:
        if isinstance(value, str):
            text = value.strip().removesuffix(" UTC")
            parsed = _from_epoch(Decimal(text)) if _EPOCH.fullmatch(text) else datetime.fromisoformat(text)
        elif isinstance(value, datetime):
            parsed = value
        elif isinstance(value, date):
            parsed = datetime(value.year, value.month, value.day, tzinfo=UTC)
        elif isinstance(value, int | float | Decimal) and not isinstance(value, bool):
            parsed = _from_epoch(Decimal(str(value)))
        else:
            raise TypeError
        parsed = parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (TypeError, ValueError, ArithmeticError):
        if value in (None, ""):
            raise ValueError("time is missing") from None
        raise ValueError(f"time is {value!r:.60}; it must be ISO 8601, a date, or an epoch time") from None
    if not _FIRST_DAY <= parsed < _LAST_DAY:
        raise ValueError(f"time is {value!r:.60}, which is {parsed:%Y-%m-%d}; it must lie between 1900 and 2200")
    return parsed


def _from_epoch(value: Decimal) -> datetime:
    for _ in range(3):
        if abs(value) < 10**11:  # seconds up to the year 5138; larger ones are milli-, micro- or nanoseconds
            break
        value /= 1000
    return _1970 + timedelta(microseconds=int(value * 1_000_000))
