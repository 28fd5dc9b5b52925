{#
    The one place that knows how a large table is cut by time: into Postgres's partitions, or in TimescaleDB into the chunks of a
    hypertable. Which of them is asked when a table is made; models, tests and whoever reads see a table.
#}

{# Whether the warehouse's tables are hypertables. #}
{% macro cuts_by_timescale() -%}
    {{ return(run_query('select ops.cuts_by()').columns[0].values()[0] == 'timescale') }}
{%- endmacro %}

{# An empty table with the columns of the temporary `shape_of_rows`, ready for rows of every month that has events. #}
{% macro create_cut_table(relation, column) -%}
    {%- if cuts_by_timescale() -%}
    create table {{ relation }} (like shape_of_rows);
    select ops.make_hypertable('{{ relation }}', '{{ column }}', interval '{{ var('chunk_days') }} days');
    {%- else -%}
    create table {{ relation }} (like shape_of_rows) partition by range ({{ column }});
    select ops.follow_events('{{ relation }}');
    {%- endif -%}
{%- endmacro %}

{#
    What follows once a table has its rows and indexes. Of itself Postgres takes the statistics of each partition, and never those of
    the whole.
#}
{% macro finish_cut_table(relation, meta) -%}
    {% call statement('finish', auto_begin=True) -%}
    select ops.compress_by_symbol(
        '{{ relation }}', '{{ meta['cut_by'] }}', '{ {{- meta['order_by'] | join(',') -}} }', {{ var('compress_days') }}
    );
    analyze {{ relation }}
    {%- endcall %}
    {%- do adapter.commit() -%}
{%- endmacro %}
