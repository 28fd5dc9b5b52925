"""The part of the status that is about markets and feeds: what is open, how far behind, what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import psycopg

from include.calendars import ALWAYS, OpenIntervals, next_session
from include.events import Window
from include.pipeline.clock import source_calendars
from include.settings import Settings

_GRACE: Final = timedelta(seconds=75)  # an interval counts as missing when its pull had this long
_DAY: Final = timedelta(hours=24)

# What no successful pull of a source covers, from its first pull (even if it failed) on, as ranges of time.
_MISSING: Final = """
with covered as (
    select source, range_agg(tstzrange(window_start, window_end)) as spans
    from ops.outcomes
    where step = 'pull' and ok and source = any(%(sources)s) and window_end > %(since)s
    group by source
), wanted as (
    select source, tstzrange(greatest(min(window_start), %(since)s), %(until)s) as span
    from ops.outcomes
    where step = 'pull' and source = any(%(sources)s)
    group by source
    having greatest(min(window_start), %(since)s) < %(until)s
)
select wanted.source, lower(gap), upper(gap)
from wanted
left join covered on covered.source = wanted.source
cross join unnest(tstzmultirange(wanted.span) - coalesce(covered.spans, '{}'::tstzmultirange)) as gap
order by 1, 2
"""
_LANDED: Final = """
select
    at,
    coalesce((detail ->> 'records_behind')::bigint, 0),
    coalesce((detail ->> 'millis_behind')::float, 0) / 1000
from ops.outcomes where step = 'land' and ok order by at desc limit 1
"""
_COLLECTED: Final = """
select distinct on (source) source, at, ok, row_count, error from ops.outcomes
where step = 'collect' and source is not null and at > %s order by source, at desc
"""


@dataclass(frozen=True, slots=True)
class Gap:
    """Time `[start, end)`, UTC, that was not pulled from a source while it was open, and how many intervals that is."""

    source: str
    start: datetime
    end: datetime
    intervals: int


@dataclass(frozen=True, slots=True)
class Lag:
    """What the last landing, at `at`, left in the stream: records, and how old the oldest of them was, in seconds."""

    at: datetime
    records: int
    seconds: float
    shards: int


@dataclass(frozen=True, slots=True)
class Exchange:
    """An exchange of pulled instruments: whether it is open, and when that changes next (None: never)."""

    calendar: str
    is_open: bool
    changes_at: datetime | None


@dataclass(frozen=True, slots=True)
class Collector:
    """The last report of a collector: how many trades it brought, or its error."""

    exchange: str
    at: datetime
    ok: bool
    trades: int
    error: str | None


def missing_intervals(conn: psycopg.Connection, sources: Mapping[str, OpenIntervals], now: datetime) -> list[Gap]:
    """Intervals of the last 24 hours, since each source was first asked, that it was open in and no good pull covers.

    `sources` says in which intervals each has anything to say. Hours in which it is closed are not missing.
    """
    gaps: list[Gap] = []
    for source, intervals in sources.items():
        seconds = intervals.seconds
        until = datetime.fromtimestamp((now - _GRACE).timestamp() // seconds * seconds, UTC)
        parameters = {"sources": [source], "since": until - _DAY, "until": until}
        for _, start, end in conn.execute(_MISSING, parameters):
            gaps += _while_open(source, Window(start, end), intervals)
    return gaps


def _while_open(source: str, gap: Window, intervals: OpenIntervals) -> list[Gap]:
    """The parts of the gap that the source was open in; intervals that begin in the gap count."""
    found: list[Gap] = []
    begin = datetime.fromtimestamp(gap.start.timestamp() // intervals.seconds * intervals.seconds, UTC)
    end = datetime.fromtimestamp(-(-gap.end.timestamp() // intervals.seconds) * intervals.seconds, UTC)
    for one in intervals.within(Window(begin, end)):
        start, stop = max(one.start, gap.start), min(one.end, gap.end)
        if found and found[-1].end == start:
            found[-1] = Gap(source, found[-1].start, stop, found[-1].intervals + 1)
        else:
            found.append(Gap(source, start, stop, 1))
    return found


def exchanges(settings: Settings, now: datetime) -> list[Exchange]:
    """The exchanges of what is pulled, by name. Raises ConfigError for a wrong file of instruments."""
    names = {name for calendars in source_calendars(settings).values() for name in calendars}
    return [_exchange(name, now, extended=settings.extended_hours) for name in sorted(names)]


def _exchange(calendar: str, now: datetime, *, extended: bool) -> Exchange:
    session = next_session(calendar, now, extended=extended)
    if session is None:
        return Exchange(calendar, calendar == ALWAYS, None)
    is_open = session.start <= now
    return Exchange(calendar, is_open, session.end if is_open else session.start)


def lag(conn: psycopg.Connection, settings: Settings) -> Lag | None:
    """What the last landing left in the stream; None before the first. Raises StreamError if there is no stream."""
    from include.aws import client
    from include.stream.consumer import describe

    shards = sum(not shard.closed for shard in describe(client(settings, "kinesis"), settings.stream).shards)
    row = conn.execute(_LANDED).fetchone()
    return None if row is None else Lag(row[0], row[1], row[2], shards)


def collectors(conn: psycopg.Connection, now: datetime) -> list[Collector]:
    """The last report of each collector that reported within 24 hours."""
    rows = conn.execute(_COLLECTED, [now - _DAY]).fetchall()
    return [Collector(exchange, at, ok, trades or 0, error) for exchange, at, ok, trades, error in rows]
