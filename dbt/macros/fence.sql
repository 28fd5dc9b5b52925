{#
    Refuse to commit when another process has taken the transform's lease meanwhile: what this one computed may be stale.
    Runs as a post-hook, inside the model's transaction.
#}
{% macro fence() -%}
    {% if execute and var('lease_epoch') | int > 0 -%}
    do $fence$ begin
        perform 1 from ops.leases where name = 'transform' and epoch = {{ var('lease_epoch') | int }} for share;
        if not found then
            raise exception 'the step transform was taken over by another process; this one writes nothing';
        end if;
    end $fence$
    {%- endif %}
{%- endmacro %}
