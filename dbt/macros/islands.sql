{#
    The rows of `relation`, spans [from_candle, until_candle) of each of `keys`, merged where they overlap, touch, or lie not
    more than `gap` minutes apart.
#}
{% macro islands(relation, keys, gap=0) -%}
    select
        {{ keys | join(', ') }},
        min(from_candle) as from_candle,
        max(until_candle) as until_candle
    from (
        select
            *,
            count(*) filter (where is_first) over (
                partition by {{ keys | join(', ') }} order by from_candle
                rows between unbounded preceding and current row
            ) as island
        from (
            select
                *,
                coalesce(
                    from_candle > interval '{{ gap }} minutes' + max(until_candle) over (
                        partition by {{ keys | join(', ') }} order by from_candle
                        rows between unbounded preceding and 1 preceding
                    ),
                    true
                ) as is_first
            from {{ relation }}
        ) as begun
    ) as numbered
    group by {{ keys | join(', ') }}, island
{%- endmacro %}
