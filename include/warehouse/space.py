"""How much room the tables of the warehouse take: rows, tables, indexes, parts, and what compression saves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import psycopg

# Rows are those that the last statistics counted: nobody waits for a count of millions. A table that has none yet
# (reltuples is -1) has what the server has counted of writes.
_TABLES: Final = """
select
    format('%%I.%%I', n.nspname, c.relname) as name,
    sum(case when leaf.reltuples < 0 then pg_stat_get_live_tuples(leaf.oid) else leaf.reltuples end)::bigint,
    coalesce(sum(pg_table_size(leaf.oid)), 0)::bigint,
    coalesce(sum(pg_indexes_size(leaf.oid)), 0)::bigint,
    count(*) filter (where leaf.relispartition)
from pg_class as c
inner join pg_namespace as n on n.oid = c.relnamespace
left join pg_class as leaf
    on leaf.oid = c.oid and c.relkind = 'r'
    or leaf.oid in (select relid from pg_partition_tree(c.oid) where isleaf)
where n.nspname = any(%s) and c.relkind in ('r', 'p')
group by name
"""
_HYPERTABLES: Final = """
select
    h.name,
    approximate_row_count(h.name::regclass),
    coalesce(size.table_bytes, 0) + coalesce(size.toast_bytes, 0),
    coalesce(size.index_bytes, 0),
    h.num_chunks,
    coalesce(packed.number_compressed_chunks, 0),
    coalesce(packed.before_compression_total_bytes, 0),
    coalesce(packed.after_compression_total_bytes, 0)
from (
    select format('%I.%I', hypertable_schema, hypertable_name) as name, num_chunks
    from timescaledb_information.hypertables
) as h
cross join lateral hypertable_detailed_size(h.name::regclass) as size
left join lateral hypertable_columnstore_stats(h.name::regclass) as packed on true
"""
_SCHEMAS: Final = ("raw", "ops", "intermediate", "marts")


@dataclass(frozen=True, slots=True)
class Space:
    """Of one table: about how many rows, and bytes.

    `parts` are partitions or chunks (0: the table is not cut), `compressed` how many of them TimescaleDB has
    compressed, from `before_bytes` to `after_bytes`.
    """

    name: str
    rows: int
    table_bytes: int
    index_bytes: int
    parts: int = 0
    compressed: int = 0
    before_bytes: int = 0
    after_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        return self.table_bytes + self.index_bytes


def read_space(conn: psycopg.Connection, schemas: Sequence[str] = _SCHEMAS) -> list[Space]:
    """What each table takes, the largest first; of a table that is cut, all of its parts together."""
    found = {row[0]: Space(*row) for row in conn.execute(_TABLES, [list(schemas)])}
    if conn.execute("select ops.cuts_by()").fetchone() == ("timescale",):
        found |= {row[0]: Space(*row) for row in conn.execute(_HYPERTABLES)}
    return sorted(found.values(), key=lambda one: (-one.total_bytes, one.name))
