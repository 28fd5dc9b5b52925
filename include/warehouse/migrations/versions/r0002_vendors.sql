-- Vendors: calls counted against their budgets, breaks they asked for, circuits. All by this database's clock, so that
-- one answer holds for every process on every machine. include/warehouse/vendors.py calls the functions.

create table ops.vendors (
    vendor text primary key,
    -- the budget in force, as the last caller knew it; null: not limited
    minute_limit integer,
    day_limit integer,
    -- nobody calls before break_until; refusals counts those in a row that named no length of the break
    break_until timestamptz not null default '-infinity',
    break_reason text,
    refusals integer not null default 0,
    -- the circuit: closed while opened_at is null, open until open_until, then half-open: one caller may probe
    failures integer not null default 0,
    opened_at timestamptz,
    open_until timestamptz,
    open_seconds double precision,
    open_reason text,
    probe_by uuid,
    probe_until timestamptz,
    check ((opened_at is null) = (open_until is null)),
    check ((probe_by is null) = (probe_until is null))
);

-- Calls (or the vendor's own weights) by second and by five minutes. past_calls are those of them made for history.
-- A span counts until its last instant has left the window: no minute and no day, wherever the vendor lets its own
-- begin, ever holds more than the budget.
create table ops.vendor_calls (
    vendor text not null,
    span interval not null,
    starts_at timestamptz not null,
    calls bigint not null,
    past_calls bigint not null,
    primary key (vendor, span, starts_at)
);

-- The row of a vendor, locked until the transaction ends; made if there is none.
create function ops.lock_vendor(of_vendor text) returns ops.vendors
language plpgsql as $$
declare
    locked ops.vendors;
begin
    select * into locked from ops.vendors where vendor = of_vendor for update;
    if not found then
        insert into ops.vendors (vendor) values (of_vendor) on conflict do nothing;
        select * into locked from ops.vendors where vendor = of_vendor for update;
    end if;
    return locked;
end
$$;

-- What was used of a window, by all and by history, and when there is room for `weight` more (null: now; infinity: never).
create function ops.vendor_room(
    of_vendor text, of_span interval, length interval, weight bigint, total_limit bigint, past_limit bigint,
    at timestamptz, out used bigint, out past_used bigint, out room_at timestamptz
)
language plpgsql as $$
begin
    select coalesce(sum(c.calls), 0), coalesce(sum(c.past_calls), 0) into used, past_used
    from ops.vendor_calls as c
    where c.vendor = of_vendor and c.span = of_span and c.starts_at > at - length - of_span;
    if weight > least(total_limit, past_limit) then
        room_at := 'infinity';
    elsif used + weight > total_limit or past_used + weight > past_limit then
        select min(freed.starts_at) + length + of_span into room_at
        from (
            select
                c.starts_at,
                sum(c.calls) over (order by c.starts_at) as calls,
                sum(c.past_calls) over (order by c.starts_at) as past_calls
            from ops.vendor_calls as c
            where c.vendor = of_vendor and c.span = of_span and c.starts_at > at - length - of_span
        ) as freed
        where used - freed.calls + weight <= total_limit
            and (past_limit is null or past_used - freed.past_calls + weight <= past_limit);
    end if;
end
$$;

create function ops.count_call(
    of_vendor text, of_span interval, length interval, weight bigint, past_weight bigint, at timestamptz
) returns void
language plpgsql as $$
declare
    bucket constant timestamptz := date_bin(of_span, at, 'epoch');
begin
    update ops.vendor_calls as c set calls = c.calls + weight, past_calls = c.past_calls + past_weight
    where c.vendor = of_vendor and c.span = of_span and c.starts_at = bucket;
    if not found then
        insert into ops.vendor_calls values (of_vendor, of_span, bucket, weight, past_weight);
        delete from ops.vendor_calls as c
        where c.vendor = of_vendor and c.span = of_span and c.starts_at <= at - length - of_span;
    end if;
end
$$;

-- May this caller call now? Counts the call if so. The verdict is one of: go, open, probe (somebody else tries the
-- vendor), break, minute, day. until: when to ask again; null: never. is_troubled: an answer is worth telling
-- (`ops.vendor_answered`). past limits are null for a live call.
create function ops.admit_call(
    of_vendor text, caller uuid, weight bigint, minute_limit_now integer, day_limit_now integer,
    past_minute_limit integer, past_day_limit integer, is_past boolean, probe_seconds double precision,
    out verdict text, out since timestamptz, out until timestamptz, out wait double precision, out why text,
    out used bigint, out past_used bigint, out is_troubled boolean
)
language plpgsql as $$
declare
    v constant ops.vendors := ops.lock_vendor(of_vendor);
    at constant timestamptz := clock_timestamp();  -- after the wait for the lock
    is_probe constant boolean := v.opened_at is not null;
    past_weight constant bigint := case when is_past then weight else 0 end;
begin
    if (v.minute_limit, v.day_limit) is distinct from (minute_limit_now, day_limit_now) then
        update ops.vendors set minute_limit = minute_limit_now, day_limit = day_limit_now where vendor = of_vendor;
    end if;

    if is_probe and v.probe_by is distinct from caller then
        if v.open_until > at then
            verdict := 'open';
            until := v.open_until;
        elsif v.probe_until > at then
            verdict := 'probe';
            until := v.probe_until;
        end if;
        since := v.opened_at;
        why := v.open_reason;
    end if;
    if verdict is null and v.break_until > at then
        verdict := 'break';
        until := v.break_until;
        why := v.break_reason;
    end if;
    if verdict is null and minute_limit_now is not null then
        select r.used, r.past_used, r.room_at into used, past_used, until
        from ops.vendor_room(of_vendor, '1 second', '1 minute', weight, minute_limit_now, past_minute_limit, at) as r;
        verdict := case when until is not null then 'minute' end;
    end if;
    if verdict is null and day_limit_now is not null then
        select r.used, r.past_used, r.room_at into used, past_used, until
        from ops.vendor_room(of_vendor, '5 minutes', '24 hours', weight, day_limit_now, past_day_limit, at) as r;
        verdict := case when until is not null then 'day' end;
    end if;

    if verdict is null then
        verdict := 'go';
        is_troubled := is_probe or v.failures > 0 or v.refusals > 0;
        if is_probe then
            update ops.vendors set probe_by = caller, probe_until = at + make_interval(secs => probe_seconds)
            where vendor = of_vendor;
        end if;
        perform ops.count_call(of_vendor, '1 second', '1 minute', weight, past_weight, at);
        perform ops.count_call(of_vendor, '5 minutes', '24 hours', weight, past_weight, at);
    elsif isfinite(until) then
        wait := extract(epoch from until - at);
    else
        until := null;
    end if;
end
$$;

-- The vendor asked for a break of so many seconds; 0: it named no length, so each one in a row is twice as long.
create function ops.vendor_paused(
    of_vendor text, seconds double precision, reason text, first double precision, longest double precision
) returns void
language plpgsql as $$
declare
    v constant ops.vendors := ops.lock_vendor(of_vendor);
    guess constant double precision := least(first * 2 ^ least(v.refusals, 30), longest);
    until constant timestamptz
        := clock_timestamp() + make_interval(secs => case when seconds > 0 then seconds else guess end);
begin
    update ops.vendors set
        refusals = v.refusals + case when seconds > 0 then 0 else 1 end,
        break_until = greatest(v.break_until, until),
        break_reason = case when until > v.break_until then reason else v.break_reason end
    where vendor = of_vendor;
end
$$;

-- A call failed for good. The circuit opens after `most` in a row; a probe that fails leaves it open for twice as long.
-- What a call that was let through before has to say about an open circuit is ignored.
create function ops.vendor_failed(
    of_vendor text, caller uuid, reason text, most integer, cool_down double precision, longest double precision,
    out has_opened boolean, out failures_in_a_row integer, out until timestamptz
)
language plpgsql as $$
declare
    v constant ops.vendors := ops.lock_vendor(of_vendor);
    at constant timestamptz := clock_timestamp();
    seconds double precision;
begin
    has_opened := v.opened_at is null and v.failures + 1 >= most;
    failures_in_a_row := v.failures + 1;
    if has_opened or v.probe_by = caller then
        seconds := case when has_opened then cool_down else least(v.open_seconds * 2, longest) end;
        until := at + make_interval(secs => seconds);
        update ops.vendors set
            failures = failures_in_a_row, opened_at = coalesce(v.opened_at, at), open_until = until,
            open_seconds = seconds, open_reason = reason, probe_by = null, probe_until = null
        where vendor = of_vendor;
    elsif v.opened_at is null then
        update ops.vendors set failures = failures_in_a_row where vendor = of_vendor;
    end if;
end
$$;

-- A call was answered as it should be. closed_since: since when the circuit was open that this closes.
create function ops.vendor_answered(of_vendor text, caller uuid, out closed_since timestamptz)
language plpgsql as $$
declare
    v constant ops.vendors := ops.lock_vendor(of_vendor);
begin
    if v.opened_at is null or v.probe_by = caller then
        closed_since := v.opened_at;
        update ops.vendors set
            failures = 0, refusals = 0, opened_at = null, open_until = null, open_seconds = null, open_reason = null,
            probe_by = null, probe_until = null
        where vendor = of_vendor;
    end if;
end
$$;
