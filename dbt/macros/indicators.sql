{#
    The indicators of the candles in `candles`, of `minutes` minutes each (1440: daily). What goes on from the candle before without
    end (an EMA) comes from ops.walk_candles; what looks at the last n candles is a window here. To add one: a macro in
    indicator_columns.sql and a line in the last select.
#}
{% macro indicators(candles, minutes) -%}
{%- set wilder, range, smoothing = var('wilder_window'), var('range_window'), var('stochastic_smoothing') -%}
{%- set band, scored = var('band_window'), var('zscore_window') | int(20) -%}
{%- set traded, volatile, volumes = var('vwap_window'), var('volatility_window'), var('volume_window') -%}
{%- set short = var('sma_windows') | select('<=', 40) | list + [wilder, band, scored, traded, volatile, volumes] -%}
{%- set near = [short | max, var('roc_window'), range + 2 * smoothing, settled_after()] | max -%}
{%- set lookback = [near, var('sma_windows') | max] | max -%}
{%- set more = candles_settled_now(candles, minutes) if is_incremental() and minutes > 1 -%}

with

walked as (

    select *
    from ops.walk_candles(
        $walk${{ series_of_candles(candles, minutes, lookback, near, more) }}$walk$,
        {{ '$walk$' ~ candles_behind() ~ '$walk$' if is_incremental() else 'null' }},
        {{ minutes }}, {{ var('macd_fast') }}, {{ var('macd_slow') }}, {{ var('macd_signal') }}, {{ wilder }}, {{ settled_after() }}
    )

),

-- one level for all windows over candles: what a level has is carried through each of its windows
windowed as (

    select
        *,
        {% for n in var('sma_windows') -%}
        {{ sma(n) }},
        {% endfor -%}
        {% if is_incremental() -%}
        sum(close::numeric) filter (where is_changed) over in_order as new_sum,
        count(*) filter (where is_changed) over in_order as new_count,
        {% endif -%}
        {{ over_last(scored, 'avg(close)') }} as rolling_mean,
        {{ deviation(scored, 'close', 'same_closes') }} as rolling_std,
        {{ over_last(band, 'avg(close)') }} as band_mean,
        {{ deviation(band, 'close', 'same_closes') }} as band_std,
        {{ over_last(volumes, 'avg(volume)', 'volume') }} as volume_mean,
        {{ deviation(volumes, 'volume', 'same_volumes') }} as volume_std,
        {{ over_last(volatile, 'stddev_samp(log_return)', 'log_return') }} as volatility,
        {{ vwap_rolling(traded) }},
        {{ over_last(wilder, 'sum(money_in)', 'money_in') }} as money_in_sum,
        {{ over_last(wilder, 'sum(money_moved)', 'money_moved') }} as money_moved_sum,
        lag(close, {{ var('roc_window') }}) over last_{{ range }} as close_then,
        {{ over_last(range, 'max(high)') }} as highest,
        {{ over_last(range, 'min(low)') }} as lowest
    from walked
    window {{ windows_of(short + var('sma_windows') + [range]) }}

),

ranged as (

    select
        *,
        (close - lowest) / nullif(highest - lowest, 0) * 100 as stochastic
    from windowed

),

smoothed as (

    select
        *,
        {{ over_last(smoothing, 'avg(stochastic)', 'stochastic') }} as stochastic_k
    from ranged
    window {{ windows_of([smoothing]) }}

),

finished as (

    select
        *,
        {{ over_last(smoothing, 'avg(stochastic_k)', 'stochastic_k') }} as stochastic_d
    from smoothed
    window {{ windows_of([smoothing]) }}

)

select
    finished.symbol,
    finished.candle_start,
    finished.source,
    finished.is_fallback,
    finished.close,
    finished.volume,
    finished.is_final,
    finished.close / nullif(finished.close_before, 0) - 1 as return,
    finished.previous_close,
    (finished.close / nullif(finished.previous_close, 0) - 1) * 100 as change_percent,
    {% for n in var('sma_windows') -%}
    {{ sma_kept(n) }},
    {% endfor -%}
    finished.rolling_mean,
    finished.rolling_std,
    (finished.close - finished.rolling_mean) / nullif(finished.rolling_std, 0) as zscore,
    {{ macd() }},
    {{ rsi() }},
    finished.true_range,
    finished.atr as atr_{{ wilder }},
    {{ bollinger() }},
    {{ vwap_session() }},
    finished.vwap_rolling,
    finished.obv,
    {{ mfi() }},
    {{ directional() }},
    finished.stochastic_k,
    finished.stochastic_d,
    {{ williams_r() }},
    {{ roc() }},
    finished.log_return,
    finished.volatility as volatility_{{ volatile }},
    finished.volatility * sqrt({{ candles_a_year('finished.calendar', minutes) }}) as volatility_annualised,
    (finished.volume - finished.volume_mean) / nullif(finished.volume_std, 0) as volume_zscore,
    finished.running_high,
    finished.close / nullif(finished.running_high, 0) - 1 as drawdown,
    {{ state() }}
from finished
where finished.is_changed
{%- endmacro %}
