"""What the audit of the marts asks the database. Every query costs what the batch changed, and its answer is small."""

from __future__ import annotations

from typing import Final

# The changed candles are read range by range: `offset 0` keeps the planner from joining whole marts. Ranges of five
# minutes that overlap are one.
_CHANGED: Final = """
with changed as (
    select '1m' as resolution, symbol, source, from_candle, until_candle from intermediate.int_changed_ranges
    union all
    select '5m', symbol, source, lower(range), upper(range)
    from (
        select symbol, source, unnest(range_agg(tstzrange(
            date_bin('5 minutes', from_candle, '2000-01-01Z'),
            date_bin('5 minutes', until_candle - interval '1 minute', '2000-01-01Z') + interval '5 minutes'))) as range
        from intermediate.int_changed_ranges
        group by symbol, source
    ) as fives
), candles as (
    select changed.resolution, candle.*
    from changed
    cross join lateral (
        (select symbol, source, candle_start, open::float8, high::float8, low::float8, close::float8, volume::float8
         from marts.candles_1m as c
         where resolution = '1m' and c.symbol = changed.symbol and c.source = changed.source
           and c.candle_start >= from_candle and c.candle_start < until_candle offset 0)
        union all
        (select symbol, source, candle_start, open::float8, high::float8, low::float8, close::float8, volume::float8
         from marts.candles_5m as c
         where resolution = '5m' and c.symbol = changed.symbol and c.source = changed.source
           and c.candle_start >= from_candle and c.candle_start < until_candle offset 0)
    ) as candle
)
"""

COUNT: Final = _CHANGED + "select count(*) from candles"  # noqa: S608

# All candles that break a rule (`{breaks}`, up to a number), and of the others one in `every`.
CANDLES: Final = (
    _CHANGED  # noqa: S608
    + """
select format('%%s %%s %%s %%s', symbol, source, resolution, to_char(candle_start, 'YYYY-MM-DD HH24:MI')) as candle,
       resolution, symbol, source, candle_start, open, high, low, close, volume
from (select *, {breaks} as is_wrong from candles) as judged
where is_wrong
   or extract(epoch from candle_start)::bigint / case resolution when '1m' then 60 else 300 end %% %(every)s = 0
limit %(most)s
"""
)

REPEATED: Final = "count(*) over (partition by resolution, symbol, source, candle_start) > 1"

# Where a unique index holds the key, no candle can be there twice.
KEYS_ARE_INDEXED: Final = """
select count(distinct indrelid) = 2 from pg_index as i
where indrelid = any(array['marts.candles_1m', 'marts.candles_5m']::regclass[])
  and indisunique and indisvalid and indpred is null and indexprs is null
  and (select array_agg(attname::text order by attname) from pg_attribute as a
       where a.attrelid = i.indrelid and a.attnum = any(i.indkey)) = array['candle_start', 'source', 'symbol']
"""

# The rows that a load inserted have its `audited_at` as their `loaded_at`, even where an exact repeat has taken them to
# its own load. That one has events of the same time, and it waits too or was transformed since: live loads do not wait
# for those of history. It is looked for only if rows are missing.
LEDGER: Final = """
with counted as (
    select load_id, loaded_at, count(*) as n from raw.market_events where load_id = any(%(loads)s)
    group by load_id, loaded_at
), ledger as (
    select *, (select coalesce(sum(n), 0) from counted as c where c.load_id = l.load_id)::bigint as accepted_rows,
           (select coalesce(sum(n), 0) from counted as c where c.loaded_at = l.audited_at)::bigint as rows_of_batch
    from ops.loads as l
    where load_id = any(%(loads)s)
)
select format('load %%s', load_id) as part, load_id, read_count as read_rows,
       inserted_count + duplicate_count + quarantined_count as accounted_rows,
       quarantined_count as quarantined_rows,
       (select count(*) from raw.rejected_events as r where r.origin = l.origin) as rejected_rows,
       accepted_rows,
       inserted_count + duplicate_count as most_rows,
       inserted_count as inserted_rows,
       rows_of_batch + case when rows_of_batch = inserted_count then 0 else (
           select count(*) from raw.market_events as e
           where e.loaded_at = l.audited_at and e.load_id = any(array(
               select o.load_id from ops.loads as o
               where (o.state = 'accepted' or o.transformed_at > l.audited_at) and o.load_id <> all(%(loads)s)
                 and coalesce(o.first_event_at <= l.last_event_at and o.last_event_at >= l.first_event_at, true)))
       ) end as first_rows
from ledger as l
order by load_id
"""

NORMALISED: Final = """
select load_id, count(*) as normalised_rows, count(*) filter (where is_missing) as keys_missing
from (
    select n.load_id, m.found is null as is_missing
    from intermediate.int_quotes__unioned as n
    left join lateral (
        select true as found from marts.quotes as m
        where (m.symbol, m.event_time, m.source) = (n.symbol, n.event_time, n.source) limit 1
    ) as m on true
    where n.is_accepted and n.load_id = any(%(loads)s)
    union all
    select n.load_id, m.found is null
    from intermediate.int_trades__unioned as n
    left join lateral (
        select true as found from marts.trades as m
        where (m.symbol, m.event_time, m.source, m.vendor_id) = (n.symbol, n.event_time, n.source, n.vendor_id) limit 1
    ) as m on true
    where n.is_accepted and n.load_id = any(%(loads)s)
    union all
    -- longer bars are kept normalised, no mart is made of them
    select n.load_id, n.resolution = '1m' and m.found is null
    from intermediate.int_bars__unioned as n
    left join lateral (
        select true as found from marts.candles_1m as m
        where n.resolution = '1m'
          and (m.symbol, m.candle_start, m.source) = (n.symbol, date_trunc('minute', n.event_time), n.source) limit 1
    ) as m on true
    where n.is_accepted and n.load_id = any(%(loads)s)
    union all
    select n.load_id, m.found is null
    from intermediate.int_actions__unioned as n
    left join lateral (
        select true as found from marts.corporate_actions as m
        where (m.symbol, m.event_time, m.source, m.vendor_id) = (n.symbol, n.event_time, n.source, n.vendor_id) limit 1
    ) as m on true
    where n.is_accepted and n.load_id = any(%(loads)s)
) as normalised
group by load_id
"""
