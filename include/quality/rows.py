"""What is judged, as data frames: the normalised rows of one load, by kind, and the load as a whole."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, LiteralString

import psycopg
from psycopg import sql

from include.quality.columns import Columns, Type, columns, read_columns

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_FEW: Final = 25  # rows of history, of which the share of bad ones is taken at the least
REPLAY: Final = "replay"  # files are replayed at their own times, with whatever symbols they hold

_LANDED: Final = sql.SQL("""
select line_number, kind, source, symbol, event_time from raw.landed_events
where load_id = {load_id} order by line_number
""")
_LANDED_TYPES: Final[dict[str, Type]] = {
    "line_number": "whole", "kind": "word", "source": "word", "symbol": "word", "event_time": "time"
}  # fmt: skip
# Named by its source, each view that reads no other is left out of the plan.
_NORMALISED: Final = sql.SQL("""
select {names} from {view} where load_id = {load_id} and not is_accepted and source in ({sources})
""")
_VIEWS: Final[dict[str, tuple[str, dict[str, Type]]]] = {
    "quote": ("int_quotes__unioned", {"price": "number", "bid": "number", "ask": "number"}),
    "trade": ("int_trades__unioned", {"price": "number", "size": "number"}),
    "bar": (
        "int_bars__unioned",
        {
            "resolution": "word", "session": "word", "open": "number", "high": "number", "low": "number",
            "close": "number", "volume": "number",
        },
    ),
    "action": ("int_actions__unioned", {"action": "word", "ratio": "number", "amount": "number"}),
}  # fmt: skip
# Repeats have equal payloads; mostly there are none, and one column is quicker than six.
_ALIKE: Final = "select from raw.landed_events where load_id = %s group by payload_hash having count(*) > 1 limit 1"
_REPEATED: Final = """
select coalesce(sum(times - 1), 0)::bigint from (
    select count(*) as times from raw.landed_events where load_id = %s
    group by symbol, event_time, source, kind, vendor_id, payload_hash
)
"""
_PULLED: Final = """
select source, array_agg(distinct symbol), min(received_at), max(received_at) from raw.landed_events
where load_id = %s and kind = 'quote' and source <> %s group by source
"""
# The same pull may be spread over several loads: its shards, the turn of an hour, a batch that was full.
_SAME_PULL: Final = timedelta(seconds=30)
_NEIGHBOURS: Final = 100  # live loads on either side
_NEAR: Final = """
    (select load_id from ops.loads where is_live and load_id <= %(load_id)s order by load_id desc limit %(reach)s)
    union all
    (select load_id from ops.loads where is_live and load_id > %(load_id)s order by load_id limit %(reach)s)
"""
_SEEN: Final = f"""
select distinct symbol from raw.events
where kind = 'quote' and source = %(source)s and received_at between %(first)s and %(last)s
  and load_id = any(array({_NEAR}))
"""  # noqa: S608
SET_ASIDE: Final = "set aside: "
"""How the reason of a good row begins that is in quarantine because its source was set aside."""
# What was set aside of the pull was brought all the same. Such a row is an event as JSON, others need not be.
_SEEN_ASIDE: Final = f"""
select distinct bad.symbol
from ops.loads as l
inner join raw.rejected_events as bad on bad.origin = l.origin and bad.load_id = l.load_id
where l.load_id = any(array({_NEAR}))
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

    `kinds` holds the columns per kind: one row per landed line (`line_number`) with the columns of its staging views;
    `modelled` is NULL where no view returned the line, `instrument` where the symbol is not known; `extent` is a
    split's ratio or a dividend's amount. Times are UTC. `repeated` counts the exact repeats
    inside the load. `lines` holds the line numbers per source, `malformed` how many more lines were no events and name
    the source. `symbols` holds the symbols seen per live source of quotes, `pulled_at` the first and last `received_at`
    of those.
    """

    facts: LoadFacts
    kinds: dict[str, Columns]
    repeated: int
    lines: dict[str, list[int]] = field(default_factory=dict)
    malformed: dict[str, int] = field(default_factory=dict)
    symbols: dict[str, set[str]] = field(default_factory=dict)
    pulled_at: dict[str, tuple[datetime, datetime]] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(len(found.frame) for found in self.kinds.values())

    @property
    def sources(self) -> list[str]:
        """The sources that sent any of it."""
        return sorted({*self.lines, *self.malformed})


def read_rows(conn: psycopg.Connection, facts: LoadFacts, known_symbols: Collection[str]) -> LoadRows:
    """Read a load as the models will see it. Raises psycopg.DataError if a view cannot compute one of its rows."""
    import pyarrow.compute as pc

    landed = read_columns(conn, _LANDED.format(load_id=sql.Literal(facts.load_id)), _LANDED_TYPES)
    rows = LoadRows(facts, {}, _repeated(conn, facts.load_id))
    for kind in sorted(pc.unique(landed["kind"]).to_pylist()):
        lines = landed.filter(pc.equal(landed["kind"], kind)).drop_columns("kind")
        rows.kinds[kind] = _normalised(conn, facts, kind, lines, known_symbols)
    for source in pc.unique(landed["source"]).to_pylist():
        rows.lines[source] = landed["line_number"].filter(pc.equal(landed["source"], source)).to_numpy().tolist()
    if facts.malformed_rows:
        rows.malformed.update(conn.execute(_MALFORMED, [facts.load_id]).fetchall())
    if facts.is_live and "quote" in rows.kinds:
        for source, symbols, first, last in conn.execute(_PULLED, [facts.load_id, REPLAY]):
            rows.symbols[source], rows.pulled_at[source] = set(symbols), (first, last)
    return rows


def spare_closed_markets(
    rows: LoadRows, before: datetime, calendars: Mapping[str, str], earliest: Callable[[str], datetime]
) -> None:
    """Blank the `live_event_time` of what is older than `before` but not than its market allows.

    `calendars` holds the calendar of each known symbol, `earliest` says how old an event of a calendar may be. It is
    asked only where there are such rows: calendars take a second to load.
    """
    import pandas as pd

    for frame in (found.frame for found in rows.kinds.values()):
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

    The share of bad rows in a handful of history (missing minutes, asked for again) says nothing about the source: it
    is taken of `_FEW` rows at the least. `expected` holds the symbols that a source has an id for, grouped by their
    market; a source without any is not measured. Of several sources each answers for its own lines, and the whole
    for those that name no source.
    """
    import pandas as pd

    facts, several = rows.facts, len(rows.sources) > 1
    few = 0 if facts.is_live else _FEW
    parts: list[dict[str, Any]] = []
    for source in rows.sources:
        lines, malformed = rows.lines.get(source, []), rows.malformed.get(source, 0)
        bad = malformed + len(set(bad_rows).intersection(lines))
        bad_share = _share(bad, max(len(lines) + malformed, few))
        symbol_share = _symbol_share(conn, rows, source, expected.get(source, ()), min_share)
        if several or symbol_share is not None:
            parts.append({"part": source, "bad_share": bad_share if several else None, "symbol_share": symbol_share})
    nobodys = facts.malformed_rows - sum(rows.malformed.values())
    whole = {
        "part": f"load {facts.load_id}",
        "read_rows": facts.read_rows,
        "present_rows": len(rows) + facts.malformed_rows,
        "bad_share": _share(nobodys if several else facts.malformed_rows + len(bad_rows), max(facts.read_rows, few)),
        "repeated_share": rows.repeated / max(facts.read_rows, 1),
        "symbol_share": None,
    }
    return pd.DataFrame([whole, *parts])


def _share(count: int, of: int) -> float:
    return round(count / max(of, 1), 6)


def _repeated(conn: psycopg.Connection, load_id: int) -> int:
    if conn.execute(_ALIKE, [load_id]).fetchone() is None:
        return 0
    return int((conn.execute(_REPEATED, [load_id]).fetchone() or (0,))[0])


def _normalised(
    conn: psycopg.Connection, facts: LoadFacts, kind: str, lines: pa.Table, known_symbols: Collection[str]
) -> Columns:
    """The lines of one kind with what their staging views made of them."""
    import pyarrow.compute as pc

    view, types = _VIEWS[kind]
    query = _NORMALISED.format(
        names=sql.SQL(", ").join(map(sql.Identifier, ["line_number", *types])),
        view=sql.Identifier("intermediate", view),
        load_id=sql.Literal(facts.load_id),
        sources=sql.SQL(", ").join(map(sql.Literal, pc.unique(lines["source"]).to_pylist())),
    )
    seen = read_columns(conn, query, {"line_number": "whole", **types})
    numbers = [name for name, type_ in types.items() if type_ == "number"]
    if kind == "action":
        is_split = pc.fill_null(pc.equal(seen["action"], "split"), False)
        seen = seen.append_column("extent", pc.if_else(is_split, seen["ratio"], seen["amount"]))
        numbers.append("extent")
    found = columns(_joined(lines, seen), numbers)
    frame = found.frame
    known = [symbol for symbol in frame["symbol"].cat.categories if symbol in known_symbols]
    frame["instrument"] = frame["symbol"].cat.set_categories(known)
    frame["live_event_time"] = frame["event_time"].where((frame["source"] != REPLAY) & facts.is_live)
    del frame["source"]
    return found


def _joined(lines: pa.Table, seen: pa.Table) -> pa.Table:
    """Each line with its rows in `seen`, whose number is `modelled`; NULL where there is none."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    numbers, modelled = lines["line_number"].to_numpy(), seen["line_number"].to_numpy()
    if not np.array_equal(numbers, modelled):
        places = pd.DataFrame({"number": numbers, "line": np.arange(len(numbers))}).merge(
            pd.DataFrame({"number": modelled, "row": np.arange(len(modelled))}), on="number", how="left"
        )
        lines = lines.take(pa.array(places["line"]))
        seen = seen.take(pa.array(places["row"], pa.int64(), from_pandas=True))
    for name in seen.column_names:
        lines = lines.append_column("modelled" if name == "line_number" else name, seen[name])
    return lines


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
