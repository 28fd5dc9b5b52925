"""Replay: quotes, trades or bars from a CSV, JSONL or Parquet file (gzip or not), in chunks, so that memory stays flat.

Columns are found by name or given; times are the file's own. A row that makes no event is rejected with its number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson

from include.errors import ConfigError
from include.events import KINDS, Event, Kind
from include.instruments import is_symbol
from include.sources.base import Batch, Rejected
from include.sources.fields import Layout, find_layout, moment, number
from include.sources.lines import Line, extract

RESOLUTIONS: Final[Mapping[str, timedelta]] = {
    "1m": timedelta(minutes=1), "5m": timedelta(minutes=5), "1h": timedelta(hours=1), "1d": timedelta(days=1),
}  # fmt: skip
_NUMBERS: Final = {
    "quote": ("price", "bid", "ask", "previous_close", "day_volume"),
    "trade": ("price", "size"),
    "bar": ("open", "high", "low", "close", "volume", "trade_count", "vwap"),
}
_PLAIN: Final = (str, int, float, bool, list, dict)
_NEEDED: Final = {"quote": ("price",), "trade": ("price",), "bar": ("open", "high", "low", "close")}


@dataclass(frozen=True, slots=True)
class Query:
    """Which rows of which file, and how to read them.

    `columns` maps fields to columns where names are not recognised, `symbol` is that of rows without one, `limit`
    bounds the rows. Raises ConfigError for a wrong kind or resolution.
    """

    path: Path
    kind: Kind
    columns: Mapping[str, str] = field(default_factory=dict)
    symbol: str | None = None
    resolution: str = "1m"
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"kind is {self.kind!r}; it must be one of {', '.join(KINDS)}")
        if self.resolution not in RESOLUTIONS:
            raise ConfigError(f"resolution is {self.resolution!r}; bars are of {', '.join(RESOLUTIONS)}")


def read(query: Query, *, received_at: datetime, chunk: int = 10_000) -> Iterator[Batch]:
    """The whole file as batches of at most `chunk` rows, in its order.

    A later row is received a microsecond after the one before: of two rows for the same thing the later one holds.
    Raises ConfigError if no column fits, SourceError if the file cannot be read to its end.
    """
    lines = islice(extract(query.path), query.limit)
    reader = Reader(query)
    while rows := list(islice(lines, chunk)):
        yield reader.transform(rows, received_at)
    if not reader.layouts:
        raise ConfigError(f"{query.path} holds no row that can be read")


class Reader:
    """Rows to events, by the columns found in the first row (in JSONL: in each row with other names)."""

    def __init__(self, query: Query) -> None:
        self.query = query
        self.layouts: dict[tuple[str, ...], Layout | ConfigError] = {}

    def transform(self, rows: list[Line | Rejected], received_at: datetime) -> Batch:
        """Pure: rows to events and rejected rows. Raises ConfigError if the first row's columns do not fit."""
        batch = Batch()
        for row in rows:
            if isinstance(row, Rejected):
                batch.rejected.append(row)
                continue
            try:
                event = self._event(row, received_at)
            except ValueError as error:
                raw = row.raw or orjson.dumps(row.values, default=str)
                batch.rejected.append(Rejected(row.number, str(error), raw, kind=self.query.kind))
            else:
                batch.events.append(event)
                batch.lines.append(row.number)
        return batch

    def _event(self, row: Line, received_at: datetime) -> Event:
        query, layout, values = self.query, self._layout(row), row.values
        columns = layout.columns
        own = str(values[columns["symbol"]] or "").strip() if "symbol" in columns else ""
        symbol = (own or query.symbol or "").upper()
        if not is_symbol(symbol):
            raise ValueError(f"symbol is {symbol!r:.60}; it cannot be one" if symbol else "symbol is missing")
        at = moment(values[columns["time"]], values[layout.clock] if layout.clock else None)
        payload: dict[str, Any] = {"resolution": query.resolution} if query.kind == "bar" else {}
        for name in _NUMBERS[query.kind]:
            if name in columns and (value := number(name, values[columns[name]])) is not None:
                payload[name] = value
        if query.kind == "quote" and "price" not in columns and "bid" in payload and "ask" in payload:
            payload["price"] = round((float(payload["bid"]) + float(payload["ask"])) / 2, 10)
        for name in _NEEDED[query.kind]:
            if name not in payload:
                raise ValueError(f"{name} is missing")
        if "side" in columns and values[columns["side"]]:
            payload["side"] = str(values[columns["side"]])
        if extra := {name: value for name in layout.rest if (value := values[name]) not in (None, "")}:
            payload["extra"] = {
                name: value if isinstance(value, _PLAIN) else str(value) for name, value in extra.items()
            }
        vendor_id = str(values[columns["id"]]).strip() if "id" in columns else ""
        if query.kind == "trade" and vendor_id in ("", "None"):
            vendor_id = str(row.number)
        later = received_at + timedelta(microseconds=row.number)
        return Event("replay", query.kind, symbol, at, vendor_id[:200], payload, later)

    def _layout(self, row: Line) -> Layout:
        names = tuple(row.values)
        if names not in self.layouts:
            query = self.query
            try:
                found = find_layout(query.kind, names, query.columns, query.symbol, str(query.path))
            except ConfigError as error:
                if not self.layouts:
                    raise
                self.layouts[names] = error
            else:
                self.layouts[names] = found
        layout = self.layouts[names]
        if isinstance(layout, ConfigError):
            raise ValueError(str(layout).partition("\n")[0])
        return layout
