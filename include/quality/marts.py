"""The audit after dbt: what the batch changed in the marts, and whether every row of its loads is accounted for.

Only the loads of the running batch (`ops.transform_batch`) and the minutes they touched
(`intermediate.int_changed_minutes`) are looked at, so a minute costs a minute.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import psycopg

from include.alerts import Alert
from include.errors import MartsRejectedError
from include.quality.engine import Checked, check
from include.quality.site import Page, page_file, publish
from include.settings import Settings
from include.warehouse.alerts import insert_alerts
from include.warehouse.db import connect

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

# `offset 0` and `limit 1` keep the planner from joining whole marts: each changed key is looked up by index.
_CANDLES: Final = """
with changed as (
    select distinct '1m' as resolution, symbol, source, candle_start from intermediate.int_changed_minutes
    union all
    select distinct '5m', symbol, source, date_bin('5 minutes', candle_start, timestamptz '2000-01-01 00:00:00+00')
    from intermediate.int_changed_minutes
)
select format('%%s %%s %%s %%s', symbol, source, resolution, to_char(candle_start, 'YYYY-MM-DD HH24:MI')) as candle,
       resolution, symbol, source, candle_start,
       open::float8, high::float8, low::float8, close::float8, volume::float8
from changed
cross join lateral (
    (select open, high, low, close, volume from marts.candles_1m as c
     where resolution = '1m' and (c.symbol, c.source, c.candle_start)
         = (changed.symbol, changed.source, changed.candle_start) offset 0)
    union all
    (select open, high, low, close, volume from marts.candles_5m as c
     where resolution = '5m' and (c.symbol, c.source, c.candle_start)
         = (changed.symbol, changed.source, changed.candle_start) offset 0)
) as candle
"""

# The rows that a load inserted have its `audited_at` as their `loaded_at`, even where an exact repeat has taken them to
# its own load: that one is accepted, and not transformed before this one.
_LEDGER: Final = """
select format('load %%s', load_id) as part, load_id, read_count as read_rows,
       inserted_count + duplicate_count + quarantined_count as accounted_rows,
       quarantined_count as quarantined_rows,
       (select count(*) from raw.rejected_events as r where r.origin = l.origin) as rejected_rows,
       (select count(*) from raw.market_events as e where e.load_id = l.load_id) as accepted_rows,
       inserted_count + duplicate_count as most_rows,
       inserted_count as inserted_rows,
       (select count(*) from raw.market_events as e
        where e.loaded_at = l.audited_at and e.load_id = any(array(
            select load_id from ops.loads where state = 'accepted' union select unnest(%(loads)s::bigint[])
        ))) as first_rows
from ops.loads as l
where load_id = any(%(loads)s)
order by load_id
"""

_NORMALISED: Final = """
select n.load_id, count(*) as normalised_rows, count(*) filter (where in_mart.found is null) as keys_missing
from (
    select 'quote' as kind, load_id, symbol, source, event_time, vendor_id from intermediate.int_quotes__unioned
    where is_accepted and load_id = any(%(loads)s)
    union all
    select 'trade', load_id, symbol, source, event_time, vendor_id from intermediate.int_trades__unioned
    where is_accepted and load_id = any(%(loads)s)
    union all
    -- longer bars are kept normalised, no mart is made of them
    select case resolution when '1m' then 'bar' else 'kept' end, load_id, symbol, source, event_time, vendor_id
    from intermediate.int_bars__unioned
    where is_accepted and load_id = any(%(loads)s)
    union all
    select 'action', load_id, symbol, source, event_time, vendor_id from intermediate.int_actions__unioned
    where is_accepted and load_id = any(%(loads)s)
) as n
left join lateral (
    (select true as found from marts.quotes as m
     where n.kind = 'quote' and (m.symbol, m.event_time, m.source) = (n.symbol, n.event_time, n.source) limit 1)
    union all
    (select true from marts.trades as m
     where n.kind = 'trade'
       and (m.symbol, m.event_time, m.source, m.vendor_id) = (n.symbol, n.event_time, n.source, n.vendor_id) limit 1)
    union all
    (select true from marts.candles_1m as m
     where n.kind = 'bar' and (m.symbol, m.candle_start, m.source)
         = (n.symbol, date_trunc('minute', n.event_time), n.source) limit 1)
    union all
    (select true from marts.corporate_actions as m
     where n.kind = 'action'
       and (m.symbol, m.event_time, m.source, m.vendor_id) = (n.symbol, n.event_time, n.source, n.vendor_id) limit 1)
    union all
    (select true where n.kind = 'kept')
) as in_mart on true
group by n.load_id
"""


@dataclass(frozen=True, slots=True)
class MartsAudit:
    """How many loads, candles and rows of market events were looked at."""

    loads: int = 0
    candles: int = 0
    rows: int = 0

    def __str__(self) -> str:
        return f"{self.candles} candles and {self.rows} rows of {self.loads} loads hold"


def audit_marts(settings: Settings, *, now: datetime | None = None) -> MartsAudit:
    """Check the running batch, to be called between dbt and the end of the transform. `now` (UTC) dates its page.

    Raises MartsRejectedError naming the failed expectations with what was observed, after writing the page and an
    operations alert (one per batch, however often it is tried again). The marts are left as they are.
    """
    with connect(settings) as conn:
        loads = [load_id for (load_id,) in conn.execute("select load_id from ops.transform_batch order by load_id")]
        if not loads:
            return MartsAudit()
        candles, ledger = _frame(conn, _CANDLES, []), _ledger(conn, loads)
        checked = [check("reconciliation", "ledger and marts", ledger, "part", {})]
        if len(candles):
            checked.append(check("candle", "changed candles", candles, "candle", {}))
        found = MartsAudit(len(loads), len(candles), int(ledger["accepted_rows"].sum()))
        _conclude(settings, conn, found, checked, loads, now or datetime.now(UTC))
    log.info("audit of the marts: %s", found)
    return found


def _conclude(
    settings: Settings,
    conn: psycopg.Connection,
    found: MartsAudit,
    checked: list[Checked],
    loads: list[int],
    now: datetime,
) -> None:
    failures = [failure for one in checked for failure in one.failures]
    span = f"load {loads[0]}" if len(loads) == 1 else f"loads {loads[0]} to {loads[-1]}"
    page = Page(
        folder="marts",
        name=f"{loads[0]}-{loads[-1]}",
        title=f"Marts after {span}",
        at=now,
        state="failed" if failures else "passed",
        summary=f"{found.candles} candles and {found.rows} rows of {found.loads} loads checked",
        reasons=[str(failure) for failure in failures],
    )
    try:
        publish(settings, page, checked)
    except OSError as error:
        log.warning("the data docs of the marts could not be written: %s", error)
    if not failures:
        return
    said = "\n".join(
        [
            f"the marts are wrong after {span}; nothing is detected from them:",
            *(f"  {failure}" for failure in failures),
            f"Data docs: {page_file(settings, page)} (in the Airflow UI: Browse, Data docs). "
            "The loads stay accepted; the next transform builds and checks them again.",
        ]
    )
    rules = ",".join(sorted({failure.rule.name for failure in failures}))
    alert = Alert("marts_rejected", "operations", "critical", said, discriminator=f"from load {loads[0]}: {rules}")
    with conn.transaction():
        insert_alerts(conn, [alert])
    raise MartsRejectedError(said)


def _ledger(conn: psycopg.Connection, loads: list[int]) -> pd.DataFrame:
    """One row per load: what the ledger says, what raw holds, what staging made of it, what the marts lack."""
    ledger, normalised = _frame(conn, _LEDGER, {"loads": loads}), _frame(conn, _NORMALISED, {"loads": loads})
    both = ledger.merge(normalised, on="load_id", how="left").fillna({"normalised_rows": 0, "keys_missing": 0})
    numbers = [column for column in both.columns if column != "part"]
    return both.astype(dict.fromkeys(numbers, "int64"))


def _frame(conn: psycopg.Connection, query: str, parameters: Any) -> pd.DataFrame:
    import pandas as pd

    cursor = conn.execute(query, parameters)
    return pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description or ()])
