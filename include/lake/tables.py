"""The tables of the lake: what each Parquet file holds, as the staging views name it, and what Athena calls it.

Numbers are doubles: what came as JSON was one, exchanges' decimals fit 15 digits, and all engines compute with them
alike. Times are UTC without a zone. `dt`, a file's folder, is the date of `event_time`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

Type = Literal["string", "double", "bigint", "timestamp"]
Columns = Mapping[str, Type]

_KEY: Final[Columns] = {"source": "string", "symbol": "string", "event_time": "timestamp", "vendor_id": "string"}
_CAME: Final[Columns] = {"received_at": "timestamp"}


def _numbers(*names: str) -> Columns:
    return dict.fromkeys(names, "double")


TABLES: Final[Mapping[str, Columns]] = {
    "quote": {
        **_KEY,
        **_numbers("price", "bid", "ask", "previous_close", "change_percent", "day_volume", "volume_24h"),
        **_CAME,
    },
    "trade": {**_KEY, "side": "string", **_numbers("price", "size"), **_CAME},
    "bar": {
        **_KEY, "resolution": "string", "session": "string", **_numbers("open", "high", "low", "close", "volume"),
        "trade_count": "bigint", "vwap": "double", **_CAME,
    },
    "action": {**_KEY, "action": "string", **_numbers("ratio", "amount"), "currency": "string", **_CAME},
}  # fmt: skip
"""Columns by kind of event, in the order of the file."""

RAW_TABLE: Final = "raw_events"
RAW_COLUMNS: Final[Mapping[str, str]] = {
    "source": "string", "kind": "string", "symbol": "string", "event_time": "string", "vendor_id": "string",
    "received_at": "string", "complete_until": "string", "payload": "string", "sequence_number": "string",
    "sub_sequence": "int", "arrived_at": "string", "raw_base64": "string",
}  # fmt: skip
"""The envelope of a raw line, and what landing wrote beside it; `payload` is what the vendor sent, as JSON."""

HASH: Final = "payload_hash"  # beside them while a day is made: equal keys with equal hashes are repeats


def table_name(kind: str) -> str:
    """`trades` for trade: as the marts are called."""
    return f"{kind}s"


def folder(kind: str) -> str:
    """Where a kind lies in the bucket, with its last slash."""
    return f"parquet/kind={kind}/"
