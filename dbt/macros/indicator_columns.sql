{# Indicators as `expression as name`, out of what `indicators` has made by then. Each is NULL where it is not defined. #}

{# An aggregate over the last n candles; NULL before there are n, and unless all of them have the `needed` value. #}
{% macro over_last(n, aggregate, needed=none) -%}
    {%- set enough = 'count(' ~ needed ~ ') over last_' ~ n ~ ' = ' ~ n if needed else 'number >= ' ~ n -%}
    case when {{ enough }} then {{ aggregate }} over last_{{ n }} end
{%- endmacro %}

{# Population standard deviation; exactly 0 where the last n are the `same`, as the sum of squares may leave a rounding error. #}
{% macro deviation(n, value, same) -%}
    case
        when count({{ value }}) over last_{{ n }} < {{ n }} then null
        when {{ same }} >= {{ n }} then 0
        else stddev_pop({{ value }}) over last_{{ n }}
    end
{%- endmacro %}

{# The windows of `ns` candles, and the order of them all. #}
{% macro windows_of(ns) -%}
    in_order as (partition by symbol, span order by candle_start)
    {%- for n in ns | unique %},
        last_{{ n }} as (in_order rows between {{ n - 1 }} preceding and current row)
    {%- endfor %}
{%- endmacro %}

{# Postgres sums doubles of a window anew for each row; numerics it can also take away again, exactly: cheaper for a long one. #}
{% macro sma(n) -%}
    {{ over_last(n, 'avg(close' ~ ('::numeric' if n > 40 else '') ~ ')') }}{{ '::double precision' if n > 40 }} as sma_{{ n }}
{%- endmacro %}

{#
    A mean over more candles than a short span (the newest ones: what a minute changes) carries through all windows: the closes
    before it are summed by themselves. Exact, and so the same.
#}
{% macro sma_kept(n) -%}
    {% if n > 40 and is_incremental() -%}
    case
        when finished.is_short then (
            select case when count(*) + finished.new_count = {{ n }} then (sum(far.close::numeric) + finished.new_sum) / {{ n }} end
            from (
                select indicators.close
                from {{ this }} as indicators
                where indicators.symbol = finished.symbol and indicators.candle_start < finished.span
                order by indicators.candle_start desc
                limit {{ n }} - finished.new_count
            ) as far
        )::double precision
        else finished.sma_{{ n }}
    end as sma_{{ n }}
    {%- else -%}
    finished.sma_{{ n }}
    {%- endif %}
{%- endmacro %}

{% macro vwap_rolling(n) -%}
    case
        when number >= {{ n }}
            then sum(traded) over last_{{ n }} / nullif(sum(volume) over last_{{ n }}, 0)
    end as vwap_rolling
{%- endmacro %}

{% macro macd() -%}
    finished.ema_fast as ema_{{ var('macd_fast') }},
    finished.ema_slow as ema_{{ var('macd_slow') }},
    finished.ema_fast - finished.ema_slow as macd,
    finished.macd_signal,
    finished.ema_fast - finished.ema_slow - finished.macd_signal as macd_histogram
{%- endmacro %}

{% macro rsi() -%}
    finished.average_gain / nullif(finished.average_gain + finished.average_loss, 0) * 100 as rsi_{{ var('wilder_window') }}
{%- endmacro %}

{% macro bollinger() -%}
    {%- set width = var('band_width') ~ ' * finished.band_std' -%}
    finished.band_mean + {{ width }} as bollinger_upper,
    finished.band_mean as bollinger_middle,
    finished.band_mean - {{ width }} as bollinger_lower,
    (finished.close - finished.band_mean + {{ width }}) / nullif(2 * {{ width }}, 0) as bollinger_percent_b,
    2 * {{ width }} / nullif(finished.band_mean, 0) as bollinger_width
{%- endmacro %}

{% macro vwap_session() -%}
    finished.session_value / nullif(finished.session_volume, 0) as vwap_session
{%- endmacro %}

{% macro mfi() -%}
    finished.money_in_sum / nullif(finished.money_moved_sum, 0) * 100 as mfi_{{ var('wilder_window') }}
{%- endmacro %}

{% macro directional() -%}
    {%- set n = var('wilder_window') -%}
    finished.smoothed_plus / nullif(finished.smoothed_range, 0) * 100 as plus_di_{{ n }},
    finished.smoothed_minus / nullif(finished.smoothed_range, 0) * 100 as minus_di_{{ n }},
    finished.adx as adx_{{ n }}
{%- endmacro %}

{% macro williams_r() -%}
    (finished.close - finished.highest) / nullif(finished.highest - finished.lowest, 0) * 100
        as williams_r_{{ var('range_window') }}
{%- endmacro %}

{% macro roc() -%}
    (finished.close / nullif(finished.close_then, 0) - 1) * 100 as roc_{{ var('roc_window') }}
{%- endmacro %}

{# How many candles a year has: of what never closes, of what rests at weekends (currencies), and of an exchange with 252 days of 6.5 hours. #}
{% macro candles_a_year(calendar, minutes) -%}
    case {{ calendar }}
        when '24/7' then {{ 365 * 1440 / minutes }}
        when 'FX' then {{ 260 * 1440 / minutes }}
        when '24/5' then {{ 260 * 1440 / minutes }}
        else {{ 252 if minutes == 1440 else 252 * 390 / minutes }}
    end
{%- endmacro %}

{# What a later walk goes on from, as far as it is no indicator itself. #}
{% macro state() -%}
    finished.high,
    finished.low,
    finished.is_settled
    {%- for name, column, _ in kept_state() if name not in ['ema_fast', 'ema_slow', 'macd_signal', 'atr', 'adx', 'obv', 'running_high'] %},
    finished.{{ name }} as {{ column }}
    {%- endfor %}
{%- endmacro %}
