"""Findings as they are kept: what was judged says what rules point at there, and nothing else.

A row that says the same already is not touched, so that looking at the same candles again costs reading only.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson
import psycopg
from psycopg.types.json import Jsonb

from include.detection.findings import Finding, Measure

_PAGE: Final = 10_000  # findings in one statement
_COLUMNS: Final = """
    rule text, scope text, symbol text, source text, candle_start timestamptz, direction text, value double precision,
    threshold double precision, severity text, message text, close double precision, cooldown_minutes integer,
    measures jsonb
"""
_FIELDS: Final = """
f.rule, f.symbol, f.candle_start, f.direction, f.value, f.threshold, f.severity, f.message, f.source, f.scope, f.close,
f.cooldown_minutes, f.measures
"""
_THERE: Final = f"""
select {_FIELDS}
from unnest(%s::text[], %s::timestamptz[], %s::timestamptz[]) as j (symbol, from_candle, until)
cross join lateral (
    select * from ops.findings as one
    where one.symbol = j.symbol and one.candle_start >= j.from_candle
      and one.candle_start < coalesce(j.until, 'infinity') and one.rule = any(%s)
    offset 0  -- by the key, span by span
) as f
"""  # noqa: S608
_FORGET: Final = """
delete from ops.findings as f
using unnest(%s::text[], %s::timestamptz[], %s::text[], %s::text[], %s::text[])
    as g (symbol, candle_start, rule, scope, source)
where (f.symbol, f.candle_start, f.rule, f.scope, f.source) = (g.symbol, g.candle_start, g.rule, g.scope, g.source)
"""
_KEEP: Final = f"""
insert into ops.findings as f (
    rule, scope, symbol, source, candle_start, direction, value, threshold, severity, message, close, cooldown_minutes,
    measures)
select * from jsonb_to_recordset(%s) as r ({_COLUMNS})
order by symbol, candle_start, rule, scope, source
on conflict (symbol, candle_start, rule, scope, source) do update
set direction = excluded.direction, value = excluded.value, threshold = excluded.threshold,
    severity = excluded.severity, message = excluded.message, close = excluded.close,
    cooldown_minutes = excluded.cooldown_minutes, measures = excluded.measures, found_at = clock_timestamp()
"""  # noqa: S608
_READ: Final = f"""
select {_FIELDS}
from unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[])
    as s (rule, scope, symbol, source, direction, from_candle, until_candle)
cross join lateral (
    select * from ops.findings as one
    where one.symbol = s.symbol and one.candle_start >= s.from_candle and one.candle_start <= s.until_candle
      and one.rule = s.rule and one.scope = s.scope and one.source = s.source and one.direction = s.direction
    offset 0
) as f
"""  # noqa: S608
_CLOCKS: Final = """
insert into ops.judged as j (symbol, scope, until_candle)
select * from unnest(%s::text[], %s::text[], %s::timestamptz[]) as g (symbol, scope, until_candle)
order by symbol, scope
on conflict (symbol, scope) do update set until_candle = excluded.until_candle
where excluded.until_candle > j.until_candle
"""

Names = tuple[str, str, str, str, str]
"""A series: rule, scope, symbol, source, direction."""


class Judged(NamedTuple):
    """The candles of a symbol (or of a portfolio) that start in [from_candle, until); None: without an end."""

    symbol: str
    from_candle: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Change:
    """Where the findings of a series changed: between these candles, both included.

    `is_new`: all of the changed ones are new, none is gone or says something else.
    """

    series: Names
    from_candle: datetime
    until_candle: datetime
    is_new: bool


def replace_findings(
    conn: psycopg.Connection, rules: Sequence[str], judged: Iterable[Judged], found: Iterable[Finding]
) -> list[Change]:
    """Make the findings of these rules in these spans those that were `found`; where that changed anything.

    Part of the caller's transaction.
    """
    now = {_key(one): one for one in map(_clean, found)}
    symbols, starts, ends = zip(*spans, strict=True) if (spans := list(judged)) else ((), (), ())
    there = conn.execute(_THERE, [list(symbols), list(starts), list(ends), list(rules)]).fetchall() if spans else []
    before = {_key(one): one for one in map(_finding, there)}
    changed: dict[Names, tuple[datetime, datetime, bool]] = {}

    def note(one: Finding, *, is_new: bool) -> None:
        series, at = (one.rule, one.scope, one.symbol, one.source, one.direction), one.candle_start
        first, last, was_new = changed.get(series, (at, at, True))
        changed[series] = (min(first, at), max(last, at), was_new and is_new)

    gone, kept = [], []
    for key, was in before.items():
        now_is = now.get(key)
        if now_is is None:
            gone.append(key)
        if now_is is None or now_is.direction != was.direction:
            note(was, is_new=False)
    for key, one in now.items():
        said = before.get(key)
        if said != one:
            kept.append(_row(one))
            note(one, is_new=said is None or said.direction != one.direction)
    if gone:
        conn.execute(_FORGET, [list(column) for column in zip(*gone, strict=True)])
    for page in range(0, len(kept), _PAGE):
        conn.execute(_KEEP, [Jsonb(kept[page : page + _PAGE], dumps=orjson.dumps)])
    return [Change(series, *what) for series, what in changed.items()]


def read_findings(conn: psycopg.Connection, spans: Sequence[tuple[Names, datetime, datetime]]) -> Iterator[Finding]:
    """The findings of series between two candles, both included; in any order."""
    if not spans:
        return
    columns = [*zip(*(series for series, _, _ in spans), strict=True)]
    columns += [tuple(first for _, first, _ in spans), tuple(last for _, _, last in spans)]
    yield from map(_finding, conn.execute(_READ, [list(column) for column in columns]))


def keep_clocks(conn: psycopg.Connection, clocks: Mapping[tuple[str, str], datetime]) -> None:
    """Up to which candle (its start, UTC) symbols were judged, by (symbol, scope). A clock does not go back."""
    if clocks:
        symbols, scopes = zip(*clocks, strict=True)
        conn.execute(_CLOCKS, [list(symbols), list(scopes), list(clocks.values())])


def read_clocks(conn: psycopg.Connection, symbols: Collection[str]) -> dict[tuple[str, str], datetime]:
    """Up to which candle each of these symbols was judged, by (symbol, scope)."""
    rows = conn.execute(
        "select symbol, scope, until_candle from ops.judged where symbol = any(%s)", [list(symbols)]
    ).fetchall()
    return {(symbol, scope): until for symbol, scope, until in rows}


def measures_of(rows: Iterable[Sequence[Any]]) -> tuple[Measure, ...]:
    """Measures as they were kept."""
    return tuple(Measure(*row) for row in rows)


def _finding(row: Sequence[Any]) -> Finding:
    values = [*row[:-1], measures_of(row[-1])]
    return Finding(*values)


def _key(one: Finding) -> tuple[str, datetime, str, str, str]:
    return one.symbol, one.candle_start, one.rule, one.scope, one.source


def _clean(one: Finding) -> Finding:
    """As Postgres gives it back: numbers that are none are unknown, and there is no NUL."""
    numbers = (one.value, one.threshold, one.close, *(number for m in one.measures for number in m[1:]))
    if "\x00" not in one.message and all(n is None or (type(n) is float and math.isfinite(n)) for n in numbers):
        return one
    return replace(
        one,
        value=_finite(one.value),
        threshold=_finite(one.threshold),
        close=_finite(one.close),
        message=one.message.replace("\x00", "\ufffd"),
        measures=tuple(Measure(m.name, _finite(m.value), _finite(m.low), _finite(m.high)) for m in one.measures),
    )


def _row(one: Finding) -> dict[str, Any]:
    """Its columns."""
    return {name: getattr(one, name) for name in one.__slots__} | {"measures": [tuple(m) for m in one.measures]}


def _finite(value: float | None) -> Any:
    return float(value) if value is not None and math.isfinite(value) else None
