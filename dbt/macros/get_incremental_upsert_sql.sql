{#
    Incremental strategy `upsert`: insert the recomputed rows, or update the ones that differ. Models recompute whole keys and
    keys never vanish (raw events are never removed), so this equals delete and insert, but leaves equal rows untouched.
    Needs a unique index on the unique_key.
#}
{% macro get_incremental_upsert_sql(arguments) -%}
    {%- set key = arguments["unique_key"] -%}
    {%- set columns = arguments["dest_columns"] | map(attribute="name") | list -%}
    {%- set others = columns | reject("in", key) | list -%}
    insert into {{ arguments["target_relation"] }} as kept ({{ columns | map("tojson") | join(", ") }})
    select {{ columns | map("tojson") | join(", ") }}
    from {{ arguments["temp_relation"] }}
    on conflict ({{ key | join(", ") }}) do update set
        {% for column in others -%}
            "{{ column }}" = excluded."{{ column }}"{{ ", " if not loop.last }}
        {%- endfor %}
    where
        ({% for column in others %}kept."{{ column }}"{{ ", " if not loop.last }}{% endfor %})
        is distinct from
        ({% for column in others %}excluded."{{ column }}"{{ ", " if not loop.last }}{% endfor %})
{%- endmacro %}
