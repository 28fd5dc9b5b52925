{#
    dbt's materialization `incremental`, with a shorter way for the minute: where the table is there and was built by these very
    models (var `check` = changed), its columns are those that its .yml documents, and the rows go into it by one statement. dbt's
    own way makes a temporary table, and asks the catalogue for the columns of both more than once.
#}
{% materialization incremental, default -%}
    {%- set existing = load_cached_relation(this) -%}
    {%- if var('check') != 'changed' or existing is none or existing.is_view or should_full_refresh() -%}
        {%- set made = dbt.materialization_incremental_default() -%}
        {%- set meta = config.get('meta', {}) -%}
        {%- if meta.get('cut_by') and (existing is none or existing.is_view or should_full_refresh()) -%}
            {%- do finish_cut_table(this, meta) -%}
        {%- endif -%}
        {%- set columns = adapter.get_columns_in_relation(this) | map(attribute='name') | sort | list -%}
        {%- if columns != model.columns.keys() | sort | list -%}
            {{ exceptions.raise_compiler_error(
                this ~ ' has the columns ' ~ columns ~ ', its .yml describes ' ~ (model.columns.keys() | sort | list)
            ) }}
        {%- endif -%}
        {{ return(made) }}
    {%- endif -%}

    {%- set target = this.incorporate(type='table') -%}
    {%- set columns = [] -%}
    {%- for column in model.columns.values() -%}
        {%- do columns.append(api.Column(column.name, column.data_type or '')) -%}
    {%- endfor -%}
    {%- set strategy = adapter.get_incremental_strategy_macro(context, config.get('incremental_strategy')) -%}

    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {% call statement("main") %}
        {{ strategy({
            'target_relation': target,
            'temp_relation': '(\n' ~ sql ~ '\n) as made',
            'unique_key': config.get('unique_key'),
            'dest_columns': columns,
            'incremental_predicates': none,
        }) }}
    {% endcall %}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% do adapter.commit() %}

    {{ return({'relations': [target]}) }}
{%- endmaterialization %}
