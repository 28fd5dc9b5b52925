"""What is judged, as data frames: the normalised rows of one load, by kind, and the load as a whole."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, LiteralString

import psycopg

if TYPE_CHECKING:
    import pandas as pd

REPLAY: Final = "replay"  # files are replayed at their own times, with whatever symbols they hold

_LANDED: Final = """
select line_number, kind, source, symbol, event_time, vendor_id, payload_hash::text, received_at
from raw.landed_events where load_id = %s order by line_number
"""
_NORMALISED: Final = {
    "quote": ("intermediate.int_quotes__unioned", ("price", "bid", "ask")),
    "trade": ("intermediate.int_trades__unioned", ("price", "size")),
    "bar": ("intermediate.int_bars__unioned", ("resolution", "session", "open", "high", "low", "close", "volume")),
    "action": ("intermediate.int_actions__unioned", ("action", "ratio", "amount")),
}
# The same pull may be spread over several loads: its shards, the turn of an hour, a batch that was full.
_SAME_PULL: Final = timedelta(seconds=30)
_NEIGHBOURS: Final = 100
_SEEN: Final = """
select distinct symbol from raw.events
where kind = 'quote' and source = %(source)s and received_at between %(first)s and %(last)s
  and load_id between %(load_id)s - %(reach)s and %(load_id)s + %(reach)s
"""
SET_ASIDE: Final = "set aside: "
"""How the reason of a good row begins that is in quarantine because its source was set aside."""
# What was set aside of the pull was brought all the same. Such a row is an event as JSON, others need not be.
_SEEN_ASIDE: Final = f"""
select distinct bad.symbol
from ops.loads as l
inner join raw.rejected_events as bad on bad.origin = l.origin and bad.load_id = l.load_id
where l.load_id between %(load_id)s - %(reach)s and %(load_id)s + %(reach)s
  and bad.kind = 'quote' and bad.source = %(source)s
  and case when starts_with(bad.reason, '{SET_ASIDE}')
      then (convert_from(bad.raw, 'UTF8')::jsonb ->> 'received_at')::timestamptz end between %(first)s and %(last)s
"""  # noqa: S608
_MALFORMED: Final = """
select r.source, count(*) from ops.loads as l
inner join raw.rejected_events as r on r.origin = l.origin and r.load_id = l.load_id
where l.load_id = %s and r.source is not null group by r.source
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
    `modelled` is NULL where no view returned the line, `instrument` where the symbol is not known; `extent` is a
    split's ratio or a dividend's amount. Numbers are Decimal or None, times UTC. `repeated` counts the exact repeats
    inside the load. `lines` holds the line numbers per source, `malformed` how many more lines were no events and name
    the source. `symbols` holds the symbols seen per live source of quotes, `pulled_at` the first and last `received_at`
    of those.
    """

    facts: LoadFacts
    frames: dict[str, pd.DataFrame]
    repeated: int
    lines: dict[str, list[int]] = field(default_factory=dict)
    malformed: dict[str, int] = field(default_factory=dict)
    symbols: dict[str, set[str]] = field(default_factory=dict)
    pulled_at: dict[str, tuple[datetime, datetime]] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(len(frame) for frame in self.frames.values())

    @property
    def sources(self) -> list[str]:
        """The sources that sent any of it."""
        return sorted({*self.lines, *self.malformed})


def read_rows(conn: psycopg.Connection, facts: LoadFacts, known_symbols: Collection[str]) -> LoadRows:
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
    alike = landed[landed.duplicated("payload_hash", keep=False)]  # mostly none, and one column is quicker than six
    rows = LoadRows(facts, frames, int(alike.duplicated(key).sum()))
    for source, sent in landed.groupby("source"):
        rows.lines[str(source)] = sent["line_number"].tolist()
    if facts.malformed_rows:
        rows.malformed.update(conn.execute(_MALFORMED, [facts.load_id]).fetchall())
    if facts.is_live and "quote" in frames:
        quotes = landed[(landed["kind"] == "quote") & (landed["source"] != REPLAY)]
        for source, pulled in quotes.groupby("source"):
            rows.symbols[str(source)] = set(pulled["symbol"])
            rows.pulled_at[str(source)] = (pulled["received_at"].min(), pulled["received_at"].max())
    return rows


def spare_closed_markets(
    rows: LoadRows, before: datetime, calendars: Mapping[str, str], earliest: Callable[[str], datetime]
) -> None:
    """Blank the `live_event_time` of what is older than `before` but not than its market allows.

    `calendars` holds the calendar of each known symbol, `earliest` says how old an event of a calendar may be. It is
    asked only where there are such rows: calendars take a second to load.
    """
    import pandas as pd

    for frame in rows.frames.values():
        old = frame.index[frame["live_event_time"] < before]
        for calendar, lines in frame.loc[old].groupby(frame.loc[old, "symbol"].map(calendars)):
            allowed = lines.index[lines["live_event_time"] >= earliest(str(calendar))]
            frame.loc[allowed, "live_event_time"] = pd.NaT


def load_frame(
    conn: psycopg.Connection,
    rows: LoadRows,
    bad_rows: Collection[int],
    expected: Mapping[str, Sequence[Set[str]]],
    min_share: float,
) -> pd.DataFrame:
    """The load in numbers: one row for the whole, then one per source; what does not apply is NULL.

    `expected` holds the symbols that a source has an id for, grouped by their market; a source without any is not
    measured. Of several sources each answers for its own lines, and the whole for those that name no source.
    """
    import pandas as pd

    facts, several = rows.facts, len(rows.sources) > 1
    parts: list[dict[str, Any]] = []
    for source in rows.sources:
        lines, malformed = rows.lines.get(source, []), rows.malformed.get(source, 0)
        bad_share = _share(malformed + len(set(bad_rows).intersection(lines)), len(lines) + malformed)
        symbol_share = _symbol_share(conn, rows, source, expected.get(source, ()), min_share)
        if several or symbol_share is not None:
            parts.append({"part": source, "bad_share": bad_share if several else None, "symbol_share": symbol_share})
    nobodys = facts.malformed_rows - sum(rows.malformed.values())
    whole = {
        "part": f"load {facts.load_id}",
        "read_rows": facts.read_rows,
        "present_rows": len(rows) + facts.malformed_rows,
        "bad_share": _share(nobodys if several else facts.malformed_rows + len(bad_rows), facts.read_rows),
        "repeated_share": rows.repeated / max(facts.read_rows, 1),
        "symbol_share": None,
    }
    return pd.DataFrame([whole, *parts])


def _share(count: int, of: int) -> float:
    return round(count / max(of, 1), 6)


def _normalised(conn: psycopg.Connection, facts: LoadFacts, kind: str, lines: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    view, columns = _NORMALISED[kind]
    listed = ", ".join(columns)
    found = conn.execute(
        f"select line_number, line_number, {listed} from {view} where load_id = %s and not is_accepted",  # noqa: S608
        [facts.load_id],
    ).fetchall()
    seen = pd.DataFrame(found, columns=["line_number", "modelled", *columns], dtype=object)
    seen = seen.astype({"line_number": "int64", "modelled": "int64"})
    frame = lines.merge(seen, on="line_number", how="left")
    live = (frame["source"] != REPLAY) & facts.is_live
    frame["live_event_time"] = frame["event_time"].where(live)
    if kind == "action":
        frame["extent"] = frame["ratio"].where(frame["action"] == "split", frame["amount"])
    return frame.drop(columns=["source", "received_at"])


def _symbol_share(
    conn: psycopg.Connection, rows: LoadRows, source: str, groups: Sequence[Set[str]], enough: float
) -> float | None:
    """How much of what the source has the pull brought, of the groups of which it brought anything.

    Nothing at all of a group means that its market is closed, or not in the plan; the pull's outcome lists it.
    """
    every = frozenset[str]().union(*groups)
    if source not in rows.symbols or not every:
        return None
    seen: set[Any] = set(rows.symbols[source])
    if len(seen & every) < enough * len(every):
        seen |= _neighbours(conn, rows, source, _SEEN)
    if (share := _brought(seen, groups)) < enough:
        share = _brought(seen | _neighbours(conn, rows, source, _SEEN_ASIDE), groups)
    return share


def _brought(seen: Set[Any], groups: Sequence[Set[str]]) -> float:
    measured = frozenset[str]().union(*(group for group in groups if group & seen))
    return len(measured & seen) / max(len(measured), 1)


def _neighbours(conn: psycopg.Connection, rows: LoadRows, source: str, query: LiteralString) -> set[str]:
    """The symbols of the same pull in other loads."""
    first, last = rows.pulled_at[source]
    found = conn.execute(
        query,
        {
            "source": source, "first": first - _SAME_PULL, "last": last + _SAME_PULL,
            "load_id": rows.facts.load_id, "reach": _NEIGHBOURS,
        },
    )  # fmt: skip
    return {symbol for (symbol,) in found}
