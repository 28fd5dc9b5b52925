"""Gaps: which minutes of which series are missing, and why. Found by SQL (dbt, `marts.gaps`), told by an alert.

docs/gaps.md says what a gap is. A search costs what changed since the last one, and is no part of the minute.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import psycopg

from include.alerts import Alert
from include.events import Window, iso
from include.instruments import known_instruments
from include.settings import Settings
from include.sources.delays import delay
from include.transform.instruments import recall, remember
from include.transform.project import project_hash
from include.transform.results import failure_kept, keep_results
from include.transform.runner import build_selected
from include.warehouse.alerts import insert_alerts
from include.warehouse.db import connect
from include.warehouse.gap_search import finish, prepare
from include.warehouse.leases import lease
from include.warehouse.outcomes import attempt

log = logging.getLogger(__name__)

RULE: Final = "gap"
_TABLES: Final = ["int_silences", "int_judged_silences", "int_silent_pieces", "int_silent_runs", "gaps"]
_TOGETHER: Final = timedelta(hours=1)  # gaps of a source that lie this near are told as one
_MOST_NAMED: Final = 5

_KNOWN: Final = """
select symbol, source, calendar, session_date, gap_start, gap_end, minutes, reason, found_at
from marts.gaps
where (%(source)s::text is null or source = %(source)s)
  and (%(symbols)s::text[] is null or symbol = any(%(symbols)s))
  and (%(reason)s::text is null or reason = %(reason)s)
  and gap_end > coalesce(%(start)s::timestamptz, '-infinity') and gap_start < coalesce(%(end)s::timestamptz, 'infinity')
order by source, symbol, gap_start
"""
_NEW: Final = """
select symbol, source, calendar, session_date, gap_start, gap_end, minutes, reason, found_at
from marts.gaps
where found_at > coalesce(%(told)s::timestamptz, '-infinity') and gap_end > %(from)s
order by source, gap_start, symbol
"""
_COUNTS: Final = "select count(*), coalesce(sum(minutes), 0) from marts.gaps"


@dataclass(frozen=True, slots=True)
class Gap:
    """A run of missing minutes `[gap_start, gap_end)` within one session; UTC. `found_at`: since when it is known."""

    symbol: str
    source: str
    calendar: str
    session_date: object
    gap_start: datetime
    gap_end: datetime
    minutes: int
    reason: str
    found_at: datetime


@dataclass(frozen=True, slots=True)
class GapsReport:
    """What a search did: how much it read and judged again, what is known now, and the alerts that it wrote."""

    loads: int = 0
    spans: int = 0
    gaps: int = 0
    minutes: int = 0
    alerts: int = 0

    def __str__(self) -> str:
        looked = f"{self.loads} loads looked through" if self.loads else "no new load"
        told = f", {self.alerts} new alerts" if self.alerts else ""
        return f"{looked}; {self.gaps} gaps of {self.minutes:,} minutes are known{told}"


def find_gaps(
    settings: Settings, *, window: Window | None = None, now: datetime | None = None, run_id: str | None = None
) -> GapsReport:
    """Bring `marts.gaps` up to date and write one operations alert per new group of gaps.

    Looks at what changed since the last search, and at `window` (UTC) whether it changed or not. Gaps that ended more
    than `alert_max_age_hours` before `now` (UTC) are told to nobody. Safe to repeat: what was found before a crash is
    told by the next search.

    Raises LeaseHeldError if another process searches right now, TransformError if a model fails, FencedError if another
    process took over.
    """
    moment = now or datetime.now(UTC)
    with (
        connect(settings) as conn,
        attempt(conn, "gaps", window=window, run_id=run_id) as this,
        lease(conn, "gaps", seconds=settings.lease_seconds) as held,
    ):
        if recall(conn, "dbt") is None:
            return GapsReport()  # nothing was ever built
        instruments = known_instruments(conn, settings)
        version = project_hash()
        live = {*settings.sources, *settings.collect}
        search = prepare(
            conn,
            now=moment,
            everything=recall(conn, "gaps") != version,
            window=window,
            polled=[(source, one.symbol) for one in instruments for source in sorted(live & one.ids.keys())],
            lags={source: delay(source, settings) for source in sorted(live)},
        )
        if search.scopes:
            with held.kept(), failure_kept(conn):
                build = build_selected(settings, _selected(conn, version))
            keep_results(conn, build.nodes)
        with conn.transaction():
            held.fence()
            alerts = _tell(conn, settings, search.told, moment)
            finish(conn, search, now=moment)
            remember(conn, "gaps", version)
        gaps, minutes = conn.execute(_COUNTS).fetchone() or (0, 0)
        report = GapsReport(len(search.loads), search.spans, gaps, int(minutes), alerts)
        this.row_count = gaps
        this.detail = {"loads": len(search.loads), "spans": search.spans, "alerts": alerts}
    log.info("gaps: %s", report)
    return report


def known_gaps(
    conn: psycopg.Connection,
    *,
    source: str | None = None,
    symbols: Sequence[str] | None = None,
    reason: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> list[Gap]:
    """The gaps that overlap `[start, end)`, by source, symbol and time, as the last search left them."""
    if conn.execute("select to_regclass('marts.gaps')").fetchone() == (None,):
        return []  # nothing was ever built
    given = {"source": source, "symbols": symbols and list(symbols), "reason": reason, "start": start, "end": end}
    return [Gap(*row) for row in conn.execute(_KNOWN, given)]


def missing(
    conn: psycopg.Connection, *, source: str, window: Window, symbols: Sequence[str] | None = None
) -> list[tuple[str, Window]]:
    """What is to be fetched so that no gap is left in the window: symbol and `[start, end)`, UTC, by symbol and time.

    Gaps that touch are one; whatever their reason, what is missing is asked for.
    """
    spans: list[tuple[str, Window]] = []
    for gap in known_gaps(conn, source=source, symbols=symbols, start=window.start, end=window.end):
        start, end = max(gap.gap_start, window.start), min(gap.gap_end, window.end)
        if spans and spans[-1][0] == gap.symbol and spans[-1][1].end >= start:
            start, end = spans[-1][1].start, max(end, spans.pop()[1].end)
        spans.append((gap.symbol, Window(start, end)))
    return spans


def _selected(conn: psycopg.Connection, version: str) -> list[str]:
    """The tables of the search; where dbt's views may be older than they, these as well."""
    return _TABLES if recall(conn, "dbt") == version else ["+gaps,tag:on_demand", "+gaps,config.materialized:view"]


def _tell(conn: psycopg.Connection, settings: Settings, told: datetime | None, now: datetime) -> int:
    max_age = timedelta(hours=settings.alert_max_age_hours)
    since = now - max_age if max_age else datetime.min.replace(tzinfo=UTC)
    new = [Gap(*row) for row in conn.execute(_NEW, {"told": told, "from": since})]
    return insert_alerts(conn, [_alert(group) for group in _groups(new)]).new


def _groups(gaps: Iterable[Gap]) -> Iterator[list[Gap]]:
    """Gaps of one source that lie within an hour of each other; they come by source and time."""
    group: list[Gap] = []
    until = None
    for gap in gaps:
        if group and until is not None and (gap.source != group[0].source or gap.gap_start > until + _TOGETHER):
            yield group
            group, until = [], None
        group.append(gap)
        until = gap.gap_end if until is None else max(until, gap.gap_end)
    if group:
        yield group


def _alert(group: Sequence[Gap]) -> Alert:
    source, start, end = group[0].source, group[0].gap_start, max(gap.gap_end for gap in group)
    minutes: dict[str, int] = {}
    for gap in group:
        minutes[gap.symbol] = minutes.get(gap.symbol, 0) + gap.minutes
    most = sorted(minutes, key=lambda symbol: (-minutes[symbol], symbol))
    named = ", ".join(f"{symbol} {minutes[symbol]}" for symbol in most[:_MOST_NAMED])
    more = f" and {len(most) - _MOST_NAMED} more" if len(most) > _MOST_NAMED else ""
    reasons = " and ".join(sorted({gap.reason for gap in group}))
    said = (
        f"{source}: {sum(minutes.values())} minutes are missing between {iso(start)[:16]} and {iso(end)[:16]} UTC "
        f"({reasons}): {named}{more}; `quantstream gaps --source {source}` shows them"
    )
    return Alert(
        rule=RULE,
        category="operations",
        severity="warning",
        message=said,
        candle_start=start,
        value=float(sum(minutes.values())),
        discriminator=source,
    )
