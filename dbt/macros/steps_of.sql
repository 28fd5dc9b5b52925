{#
    Every step (an hour, a day) from the first to the last row of `relation`, as `starts_at`. A condition on it is answered before
    anything is read, so that a query costs what it asks for.
#}
{% macro steps_of(relation, time, step) -%}
    select steps.starts_at
    from (
        select
            date_bin('{{ step }}', min(ends.first_at), timestamptz '2000-01-01 00:00:00+00') as first_at,
            max(ends.last_at) as last_at
        from {{ ref('instruments') }} as instruments
        cross join lateral (
            select
                (select {{ time }} from {{ relation }} as a where a.symbol = instruments.symbol order by {{ time }} asc limit 1)
                    as first_at,
                (select {{ time }} from {{ relation }} as z where z.symbol = instruments.symbol order by {{ time }} desc limit 1)
                    as last_at
        ) as ends
    ) as span
    cross join lateral generate_series(span.first_at, span.last_at, interval '{{ step }}') as steps (starts_at)
{%- endmacro %}
