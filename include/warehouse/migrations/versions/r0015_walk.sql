-- When the session of a time began, and in which times that is the answer. In a session: its opening (after a lunch
-- break that of the morning). Outside: the last opening, or midnight (UTC) if that was later. What is traded around the
-- clock has UTC days, as its candles of a day: currencies have sessions here too, which only the search for gaps reads.
create function ops.session_at(of_calendar text, at timestamptz)
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

-- The indicators that continue from the candle before: EMA, MACD's signal, RSI, ATR, DI and ADX by Wilder, and what is
-- counted since the session began (value, volume, OBV, highest high). One loop makes them all.
--
-- new_rows:   query of the candles to walk, by symbol, span and time. phase 0 and 1: kept candles before a span, the
--             last of them 1; 2: candles of the span.
--             next_span: where the symbol's next span begins; has_more: whether candles are kept behind the span.
--             A kept candle has phase 3.
-- kept_rows:  query of the kept candles of symbol $1 from $2 on and before $3 (NULL: no end); NULL if none are kept.
--
-- A span begins with the state that is kept with the candle before it. While the series is shorter than `settled`
-- candles, it begins with the first candle of all. Behind a span the walk goes on through the kept candles, until its
-- state is the kept one bit by bit: from there on nothing changes.
--
-- minutes: how long a candle is; 1440: daily, each a session of its own. A candle counts in the session of its last
-- moment: the hour in which an exchange opens is the first of that session.
--
-- What dies away is set to 0 below 1e-200: no multiplication of doubles may fall below their range, which is an error.
create function ops.walk_candles(
    new_rows text, kept_rows text, minutes integer, fast integer, slow integer, signal integer, wilder integer,
    settled integer
) returns table (
    symbol text, span timestamptz, candle_start timestamptz, number integer, close double precision,
    volume double precision, high double precision, low double precision, traded double precision,
    log_return double precision, money_in double precision, money_moved double precision, same_closes integer,
    same_volumes integer, is_changed boolean, close_before double precision, previous_close double precision,
    calendar text, source text, is_fallback boolean, is_final boolean, is_settled boolean, is_short boolean,
    candle_number integer, true_range double precision,
    ema_fast double precision, ema_slow double precision, macd_signal double precision,
    average_gain double precision, average_loss double precision, atr double precision,
    smoothed_range double precision, smoothed_plus double precision, smoothed_minus double precision,
    adx double precision, session_start timestamptz, session_value double precision, session_volume double precision,
    obv double precision, running_high double precision
)
language plpgsql stable
as $$
declare
    new_candles refcursor;
    kept_candles refcursor;
    r record;
    pending record;
    is_pending boolean := false;  -- the first candle of the next span was read already
    is_over boolean;
    is_behind boolean := false;  -- the walk is behind its span, among kept candles
    has_more boolean := false;  -- there are some
    goes_on boolean := false;  -- it came to the next span without having met the kept state
    span_end timestamptz;
    next_from timestamptz;
    n integer := 0;
    next_midnight timestamptz;
    typical double precision;
    typical_before double precision;
    moved double precision;
    day_close double precision;
    high_before double precision;
    low_before double precision;
    volume_before double precision;
    change double precision;
    up double precision;
    down double precision;
    direction double precision;
    plus double precision;
    minus double precision;
    fast_sum double precision;
    slow_sum double precision;
    signal_sum double precision;
    gain_sum double precision;
    loss_sum double precision;
    range_sum double precision;
    plus_sum double precision;
    minus_sum double precision;
    direction_sum double precision;
    fast_weight constant double precision := 2.0 / (fast + 1);
    slow_weight constant double precision := 2.0 / (slow + 1);
    signal_weight constant double precision := 2.0 / (signal + 1);
    signal_from constant integer := slow + signal - 1;
    kept_weight constant double precision := wilder - 1;
    periods constant double precision := wilder;
    is_daily constant boolean := minutes = 1440;
    length constant interval := make_interval(mins => minutes) - interval '1 microsecond';
    last_moment timestamptz;
    calendar_of text;
    started timestamptz;  -- the session that the last look at the calendar found, and for which times it holds
    known_from timestamptz := 'infinity';
    known_until timestamptz := '-infinity';
begin
    open new_candles no scroll for execute new_rows;
    loop
        if is_behind then
            fetch kept_candles into r;
            if not found then
                close kept_candles;
                is_behind := false;
                goes_on := next_from is not null;
                continue;
            end if;
        else
            if is_pending then
                r := pending;
                is_pending := false;
                is_over := false;
            else
                fetch new_candles into r;
                is_over := not found;
            end if;
            if has_more and (is_over or r.symbol <> symbol or r.span <> span) then
                if not is_over then
                    pending := r;
                    is_pending := true;
                end if;
                has_more := false;
                open kept_candles no scroll for execute kept_rows using symbol, span_end, next_from;
                is_behind := true;
                continue;
            end if;
            exit when is_over;
            if symbol is null or r.symbol <> symbol or r.span <> span then
                if symbol is null or r.symbol <> symbol then
                    goes_on := false;
                end if;
                if not goes_on then
                    n := 0;
                end if;
                symbol := r.symbol;
                span := r.span;
                candle_start := null;
                number := 0;
                close := null;
                volume := null;
                typical := null;
                day_close := null;
                next_midnight := '-infinity';
            end if;
        end if;

        continue when r.phase = 0 and candle_start = r.candle_start;  -- told twice
        number := number + 1;
        high_before := high;
        low_before := low;
        close_before := close;
        volume_before := volume;
        typical_before := typical;
        candle_start := r.candle_start;
        high := r.high;
        low := r.low;
        close := r.close;
        volume := r.volume;
        typical := (high + low + close) / 3;
        traded := typical * volume;
        log_return := case when close > 0 and close_before > 0 then ln(close / close_before) end;
        -- what differs by rounding alone has not moved
        moved := typical - typical_before;
        moved := case when abs(moved) <= 1e-12 * abs(typical) then 0 else moved end;
        money_in := case when moved > 0 then traded when moved <= 0 then 0 * volume end;
        money_moved := case when moved = 0 then 0 * volume when moved is not null then traded end;
        same_closes := case when close = close_before then same_closes + 1 else 1 end;
        same_volumes := case when volume = volume_before then same_volumes + 1 else 1 end;
        if candle_start >= next_midnight then
            -- the close before the first candle of a day is that of the day before
            day_close := close_before;
            next_midnight := date_trunc('day', candle_start, 'UTC') + interval '1 day';
        end if;
        previous_close := coalesce(r.reference_close, day_close);
        calendar := r.calendar;
        source := r.source;
        is_fallback := r.is_fallback;
        is_final := r.is_final;
        is_settled := r.is_settled;
        is_short := r.is_short;
        is_changed := r.phase >= 2;

        if is_behind then
            null;  -- as in its span
        elsif is_changed then
            goes_on := false;
            has_more := r.has_more;
            next_from := r.next_span;
            span_end := r.until_candle;
        elsif goes_on or (r.candle_number >= settled and r.phase = 0) then
            return next;
            continue;
        elsif r.candle_number >= settled then
            n := settled;
            ema_fast := r.ema_fast;
            ema_slow := r.ema_slow;
            macd_signal := r.macd_signal;
            average_gain := r.average_gain;
            average_loss := r.average_loss;
            atr := r.atr;
            smoothed_range := r.smoothed_range;
            smoothed_plus := r.smoothed_plus;
            smoothed_minus := r.smoothed_minus;
            adx := r.adx;
            session_start := r.session_start;
            session_value := r.session_value;
            session_volume := r.session_volume;
            obv := r.obv;
            running_high := r.running_high;
            return next;
            continue;
        end if;

        n := n + 1;
        if n = 1 then
            true_range := null;
            ema_fast := null;
            ema_slow := null;
            macd_signal := null;
            average_gain := null;
            average_loss := null;
            atr := null;
            smoothed_range := null;
            smoothed_plus := null;
            smoothed_minus := null;
            adx := null;
            session_start := null;
            change := 0;
            fast_sum := 0;
            slow_sum := 0;
            signal_sum := 0;
            gain_sum := 0;
            loss_sum := 0;
            range_sum := 0;
            plus_sum := 0;
            minus_sum := 0;
            direction_sum := 0;
        else
            change := close - close_before;
            true_range := greatest(high - low, abs(high - close_before), abs(low - close_before));
            up := high - high_before;
            down := low_before - low;
            plus := case when up > down and up > 0 then up else 0 end;
            minus := case when down > up and down > 0 then down else 0 end;
        end if;

        if n > fast then
            ema_fast := ema_fast + (close - ema_fast) * fast_weight;
        else
            fast_sum := fast_sum + close;
            if n = fast then
                ema_fast := fast_sum / fast;
            end if;
        end if;
        if n > slow then
            ema_slow := ema_slow + (close - ema_slow) * slow_weight;
        else
            slow_sum := slow_sum + close;
            if n = slow then
                ema_slow := slow_sum / slow;
            end if;
        end if;
        if n > signal_from then
            macd_signal := macd_signal + (ema_fast - ema_slow - macd_signal) * signal_weight;
            if abs(macd_signal) < 1e-200 then
                macd_signal := 0;
            end if;
        elsif n >= slow then
            signal_sum := signal_sum + (ema_fast - ema_slow);
            if n = signal_from then
                macd_signal := signal_sum / signal;
            end if;
        end if;

        if n > wilder + 1 then
            average_gain := (average_gain * kept_weight + greatest(change, 0)) / periods;
            average_loss := (average_loss * kept_weight + greatest(- change, 0)) / periods;
            atr := (atr * kept_weight + true_range) / periods;
            smoothed_range := smoothed_range - smoothed_range / periods + true_range;
            smoothed_plus := smoothed_plus - smoothed_plus / periods + plus;
            smoothed_minus := smoothed_minus - smoothed_minus / periods + minus;
            if least(average_gain, average_loss, atr, smoothed_range, smoothed_plus, smoothed_minus) < 1e-200 then
                average_gain := case when average_gain < 1e-200 then 0 else average_gain end;
                average_loss := case when average_loss < 1e-200 then 0 else average_loss end;
                atr := case when atr < 1e-200 then 0 else atr end;
                smoothed_range := case when smoothed_range < 1e-200 then 0 else smoothed_range end;
                smoothed_plus := case when smoothed_plus < 1e-200 then 0 else smoothed_plus end;
                smoothed_minus := case when smoothed_minus < 1e-200 then 0 else smoothed_minus end;
            end if;
        elsif n > 1 then
            gain_sum := gain_sum + greatest(change, 0);
            loss_sum := loss_sum + greatest(- change, 0);
            range_sum := range_sum + true_range;
            plus_sum := plus_sum + plus;
            minus_sum := minus_sum + minus;
            if n > wilder then
                average_gain := gain_sum / periods;
                average_loss := loss_sum / periods;
                atr := range_sum / periods;
                smoothed_range := range_sum;
                smoothed_plus := plus_sum;
                smoothed_minus := minus_sum;
            end if;
        end if;
        if n > wilder then
            direction := smoothed_plus + smoothed_minus;
            direction := case when direction > 0 then 100 * abs(smoothed_plus - smoothed_minus) / direction else 0 end;
            if n > 2 * wilder then
                adx := (adx * kept_weight + direction) / periods;
                if adx < 1e-200 then
                    adx := 0;
                end if;
            else
                direction_sum := direction_sum + direction;
                if n = 2 * wilder then
                    adx := direction_sum / periods;
                end if;
            end if;
        end if;

        last_moment := candle_start + length;
        if is_daily then
            started := candle_start;
        elsif calendar_of is distinct from r.calendar or last_moment < known_from or last_moment >= known_until then
            calendar_of := r.calendar;
            select found.started, found.known_from, found.known_until into started, known_from, known_until
            from ops.session_at(calendar_of, last_moment) as found;
        end if;
        if started is distinct from session_start then
            session_start := started;
            session_value := 0;
            session_volume := 0;
            if n = 1 or not is_daily then
                obv := 0;
                running_high := high;
                change := 0;
            end if;
        end if;
        if volume is not null then
            session_value := session_value + traded;
            session_volume := session_volume + volume;
            obv := obv + case when change > 0 then volume when change < 0 then - volume else 0 end;
        end if;
        running_high := greatest(running_high, high);

        if is_behind and n >= settled and r.candle_number >= settled
            and ema_fast = r.ema_fast and ema_slow = r.ema_slow and macd_signal = r.macd_signal
            and average_gain = r.average_gain and average_loss = r.average_loss and atr = r.atr
            and smoothed_range = r.smoothed_range and smoothed_plus = r.smoothed_plus
            and smoothed_minus = r.smoothed_minus and adx = r.adx
            and session_start = r.session_start and session_value = r.session_value
            and session_volume = r.session_volume and obv = r.obv and running_high = r.running_high
        then
            close kept_candles;
            is_behind := false;
            continue;
        end if;
        candle_number := least(n, settled);
        return next;
    end loop;
end
$$;
