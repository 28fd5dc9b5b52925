"""What is judged, as data frames: the normalised rows of one load, by kind, and the load as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import psycopg

if TYPE_CHECKING:
    import pandas as pd

REPLAY: Final = "replay"  # files are replayed at their own times, with whatever symbols they hold

_LANDED: Final = """
select line_number, kind, source, symbol, event_time, vendor_id, payload_hash, received_at
from raw.landed_events where load_id = %s order by line_number
"""
_NORMALISED: Final = {
    "quote": ("intermediate.int_quotes__unioned", ("price", "bid", "ask")),
    "trade": ("intermediate.int_trades__unioned", ("price", "size")),
    "bar": ("intermediate.int_bars__unioned", ("resolution", "open", "high", "low", "close", "volume")),
}
# The same pull may be spread over several loads: its shards, the turn of an hour, a batch that was full.
_SAME_PULL: Final = timedelta(seconds=30)
_NEIGHBOURS: Final = 100
_SEEN: Final = """
select distinct symbol from raw.events
where kind = 'quote' and source = %(source)s and received_at between %(first)s and %(last)s
  and load_id between %(load_id)s - %(reach)s and %(load_id)s + %(reach)s
"""


@dataclass(frozen=True, slots=True)
class LoadFacts:
    """What the ledger says about the load: rows read from its object, and those already in quarantine as malformed."""

    load_id: int
    origin: str
    is_live: bool
    read_rows: int
    malformed_rows: int


@dataclass(frozen=True)
class LoadRows:
    """The rows of a load that wait for the audit.

    `frames` holds one frame per kind: one row per landed line (`line_number`) with the columns of its staging views;
    `modelled` is NULL where no view returned the line, `instrument` where the symbol is not known. Numbers are Decimal
    or None, times UTC. `repeated` counts the exact repeats inside the load. `symbols` holds the symbols seen per live
    source of quotes, `pulled_at` the first and last `received_at` of those.
    """

    facts: LoadFacts
    frames: dict[str, pd.DataFrame]
    repeated: int
    symbols: dict[str, set[str]] = field(default_factory=dict)
    pulled_at: dict[str, tuple[datetime, datetime]] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(len(frame) for frame in self.frames.values())


def read_rows(conn: psycopg.Connection, facts: LoadFacts, known_symbols: Set[str]) -> LoadRows:
    """Read a load as the models will see it. Raises psycopg.DataError if a view cannot compute one of its rows."""
    import pandas as pd

    cursor = conn.execute(_LANDED, [facts.load_id])
    landed = pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description or ()])
    landed["instrument"] = landed["symbol"].where(landed["symbol"].isin(known_symbols))
    frames = {
        str(kind): _normalised(conn, facts, str(kind), lines.drop(columns=["kind", "vendor_id", "payload_hash"]))
        for kind, lines in landed.groupby("kind")
    }
    key = ["symbol", "event_time", "source", "kind", "vendor_id", "payload_hash"]
    rows = LoadRows(facts, frames, int(landed.duplicated(key).sum()))
    if facts.is_live and "quote" in frames:
        quotes = landed[(landed["kind"] == "quote") & (landed["source"] != REPLAY)]
        for source, lines in quotes.groupby("source"):
            rows.symbols[str(source)] = set(lines["symbol"])
            rows.pulled_at[str(source)] = (lines["received_at"].min(), lines["received_at"].max())
    return rows


def load_frame(
    conn: psycopg.Connection, rows: LoadRows, bad_rows: int, expected: Mapping[str, Set[str]], min_share: float
) -> pd.DataFrame:
    """The load in numbers: one row for the whole, then one per live source of quotes; what does not apply is NULL.

    `expected` holds the symbols that a source has an id for; a source without any is not measured.
    """
    import pandas as pd

    facts = rows.facts
    shares = [
        {"part": source, "symbol_share": share}
        for source in rows.symbols
        if (share := _symbol_share(conn, rows, source, expected.get(source, frozenset()), min_share)) is not None
    ]
    whole = {
        "part": f"load {facts.load_id}",
        "read_rows": facts.read_rows,
        "present_rows": len(rows) + facts.malformed_rows,
        "bad_share": round((facts.malformed_rows + bad_rows) / max(facts.read_rows, 1), 6),
        "repeated_share": rows.repeated / max(facts.read_rows, 1),
        "symbol_share": None,
    }
    return pd.DataFrame([whole, *shares])


def _normalised(conn: psycopg.Connection, facts: LoadFacts, kind: str, lines: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    view, columns = _NORMALISED[kind]
    listed = ", ".join(columns)
    found = conn.execute(
        f"select line_number, line_number, {listed} from {view} where load_id = %s and not is_accepted",  # noqa: S608
        [facts.load_id],
    ).fetchall()
    seen = pd.DataFrame(found, columns=["line_number", "modelled", *columns], dtype=object)
    seen["line_number"] = seen["line_number"].astype("int64")
    frame = lines.merge(seen, on="line_number", how="left")
    live = (frame["source"] != REPLAY) & facts.is_live
    frame["live_event_time"] = frame["event_time"].where(live)
    return frame.drop(columns="received_at")


def _symbol_share(
    conn: psycopg.Connection, rows: LoadRows, source: str, expected: Set[str], enough: float
) -> float | None:
    if not expected:
        return None
    seen: set[Any] = set(rows.symbols[source])
    if len(seen & expected) < enough * len(expected):
        first, last = rows.pulled_at[source]
        found = conn.execute(
            _SEEN,
            {
                "source": source, "first": first - _SAME_PULL, "last": last + _SAME_PULL,
                "load_id": rows.facts.load_id, "reach": _NEIGHBOURS,
            },
        )  # fmt: skip
        seen.update(symbol for (symbol,) in found)
    return len(seen & expected) / len(expected)
