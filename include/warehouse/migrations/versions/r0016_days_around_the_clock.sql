-- When the session of a time began, and in which times that is the answer. In a session: its opening (after a lunch
-- break that of the morning). Outside: the last opening, or midnight (UTC) if that was later. What is traded around the
-- clock has UTC days, as its candles of a day: currencies have sessions here too, which only the search for gaps reads.
create or replace function ops.session_at(of_calendar text, at timestamptz)
returns table (started timestamptz, known_from timestamptz, known_until timestamptz)
language sql stable
as $$
select
    case when at < last.closes_at then last.began else greatest(last.began, midnight.before) end,
    case when at < last.closes_at then last.opens_at else greatest(last.closes_at, midnight.before) end,
    case when at < last.closes_at then last.closes_at else least(midnight.before + interval '1 day', following.opens_at) end
from (
    select
        date_trunc('day', at, 'UTC') as before,
        case when of_calendar not in ('24/7', '24/5', 'FX') then of_calendar end as calendar
) as midnight
left join lateral (
    select
        s.opens_at,
        s.closes_at,
        (select min(d.opens_at) from ops.sessions as d where (d.calendar, d.session_date) = (s.calendar, s.session_date))
            as began
    from ops.sessions as s
    where s.calendar = midnight.calendar and s.opens_at <= at
    order by s.opens_at desc
    limit 1
) as last on true
left join lateral (
    select min(s.opens_at) as opens_at from ops.sessions as s where s.calendar = midnight.calendar and s.opens_at > at
) as following on true
$$;
