{# The rows of one kind of all `sources`, out of their staging models; columns by name, whatever their order there. #}
{% macro unioned(kind, sources, columns) -%}
    {% for name in sources -%}
    select {{ (columns + ['received_at', 'payload_hash', 'load_id', 'is_accepted', 'line_number']) | join(', ') }}
    from {{ ref('stg_' ~ name ~ '__' ~ kind) }}
    {% if not loop.last -%}
    union all
    {% endif -%}
    {%- endfor %}
{%- endmacro %}
