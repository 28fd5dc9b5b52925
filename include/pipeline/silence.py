"""Instruments of which nothing is said any more while their source goes on: told while it lasts, not afterwards.

A rule judges candles, and here there is none: so the clock is the source's own watermark. A source that is behind, or
does not answer at all, moves no watermark and is nothing of this (`quantstream status` and its pulls tell of it).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import psycopg

from include.alerts import Alert
from include.events import iso
from include.warehouse.alerts import insert_alerts

RULE: Final = "feed_silent"
USUAL: Final = 45  # candles in the hour before the silence: what trades once in a while is left alone
_MOST_NAMED: Final = 5

# The newest candle of each instrument of the last day of data, and the open minutes since then that its source is past.
_SILENT: Final = """
select newest.source, newest.candle_start, array_agg(n.symbol order by n.symbol), max(silent.minutes)::int
from marts.instruments as n
cross join lateral (
    select i.source, i.candle_start
    from marts.indicators_1m as i
    where i.symbol = n.symbol and i.is_final
      and i.candle_start > (select max(complete_until) from ops.watermarks) - interval '1 day'
    order by i.candle_start desc limit 1
) as newest
inner join ops.watermarks as w
    on w.source = newest.source and w.complete_until > newest.candle_start + %(minutes)s * interval '1 minute'
cross join lateral (
    select case when n.calendar = '24/7' or newest.source = any(%(always_open)s)
        then date_part('epoch', w.complete_until - newest.candle_start) / 60 - 1
        else coalesce(sum(greatest(0, date_part('epoch', least(s.closes_at, w.complete_until)
            - greatest(s.opens_at, newest.candle_start + interval '1 minute')))) / 60, 0) end as minutes
    from ops.sessions as s
    where s.calendar = n.calendar and s.closes_at > newest.candle_start + interval '1 minute'
      and s.opens_at < w.complete_until
) as silent
where silent.minutes >= %(minutes)s and %(usual)s <= (
    select count(*) from marts.indicators_1m as i
    where i.symbol = n.symbol and i.candle_start > newest.candle_start - interval '1 hour'
      and i.candle_start <= newest.candle_start
)
group by newest.source, newest.candle_start
order by newest.candle_start, newest.source
"""
_ABOUT: Final = """
update marts.alerts set symbols = %s, source = %s, last_candle = %s where alert_key = %s and last_candle is null
"""
_OVER: Final = """
with over as (
    update marts.alerts as a set status = 'resolved', resolved_at = %(now)s
    where a.rule = %(rule)s and a.status <> 'resolved' and not exists (
        select from unnest(a.symbols) as s (symbol)
        where not exists (
            select from marts.indicators_1m as i
            where i.symbol = s.symbol and i.is_final and i.candle_start > a.last_candle
        )
    )
    returning a.alert_key
)
insert into marts.alert_history (alert_key, at, event) select alert_key, %(now)s, 'resolved' from over
"""


def watch_silences(conn: psycopg.Connection, *, minutes: int, always_open: Sequence[str], now: datetime) -> int:
    """Write one operations alert for the instruments of a source that fell silent together; how many are new.

    Silent is what has had no final candle for `minutes` open minutes (0: nobody is) that its source is complete for,
    and nearly one a minute before. The alert is known by source and last candle, so it is told once; it is resolved at
    `now` (UTC) when each of its instruments has a candle again. Part of the caller's transaction.
    """
    conn.execute(_OVER, {"rule": RULE, "now": now})
    if not minutes:
        return 0
    given = {"minutes": minutes, "usual": USUAL, "always_open": list(always_open)}
    new: dict[str, int] = defaultdict(int)
    for source, last, symbols, silent in conn.execute(_SILENT, given).fetchall():
        alert = _alert(source, last, symbols, silent)
        new[alert.key] += insert_alerts(conn, [alert]).new
        conn.execute(_ABOUT, [symbols, source, last, alert.key])
    return sum(new.values())


def _alert(source: str, last: datetime, symbols: Sequence[str], minutes: int) -> Alert:
    named = ", ".join(symbols[:_MOST_NAMED])
    more = f" and {len(symbols) - _MOST_NAMED} more" if len(symbols) > _MOST_NAMED else ""
    return Alert(
        rule=RULE,
        category="operations",
        severity="warning",
        message=f"{source} answers, but has said nothing of {named}{more} for {minutes} open minutes, "
        f"since {iso(last)[:16].replace('T', ' ')} UTC",
        value=float(minutes),
        discriminator=f"{source} {iso(last)}",
        symbols=tuple(symbols),
    )
