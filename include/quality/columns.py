"""The rows of a load as typed columns: quick to judge, and exact where a double cannot tell.

Postgres' numbers are exact, a double has about 16 digits. Read as doubles, numbers keep their order, but two that
differ behind the 16th digit may become equal; nothing else that a rule asks changes (0 stays 0, what is finite stays
finite: ops.to_number sees to that). So each number is kept as its text, too: `Columns.ties` finds the rows whose order
only the exact numbers tell, and `Columns.exact` gives those numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal

from psycopg import sql

if TYPE_CHECKING:
    import pandas as pd
    import psycopg
    import pyarrow as pa
    from psycopg.abc import PQGen
    from psycopg.pq.abc import PGconn

Type = Literal["whole", "number", "time", "text", "word"]
"""`number` is numeric and comes as its text; `word` is a text of which there are few different ones."""


@dataclass(frozen=True)
class Columns:
    """`frame` holds numbers as doubles and words as categories; `numbers` the texts of the numbers, row by row."""

    frame: pd.DataFrame
    numbers: dict[str, pa.ChunkedArray] = field(default_factory=dict)

    def exact(self) -> pd.DataFrame:
        """The frame with each number as Decimal and each word as text, None where there is none."""
        import pandas as pd

        found = self.frame.copy()
        for name, texts in self.numbers.items():
            values = [None if text is None else Decimal(text) for text in texts.to_pylist()]
            found[name] = pd.Series(values, index=found.index, dtype=object)
        for name in found.columns[found.dtypes == "category"]:
            words = found[name].astype(object)
            found[name] = words.where(words.notna(), None)
        return found

    def ties(self, one: str, other: str) -> bool:
        """Whether there are rows in which two columns are equal as doubles, but not as numbers."""
        import pyarrow.compute as pc

        if one not in self.numbers or other not in self.numbers:
            return False
        equal = self.frame[one].to_numpy() == self.frame[other].to_numpy()
        if not equal.any():
            return False
        # staging trims zeros (trim_scale), so equal numbers are equal texts; others are looked at once more for nothing
        texts = [self.numbers[name].filter(equal) for name in (one, other)]
        return bool(pc.any(pc.not_equal(*texts)).as_py())


def read_columns(conn: psycopg.Connection, query: sql.Composable, types: dict[str, Type]) -> pa.Table:
    """The rows of a query as an Arrow table. `types` names its columns, in its order.

    Raises psycopg.Error as the query would. The connection is in autocommit or in a transaction.
    """
    import pyarrow as pa
    from pyarrow import csv

    kinds = _arrow_types(types)
    asked = sql.SQL("copy ({}) to stdout (format csv)").format(query).as_bytes(conn)
    with conn.lock:  # from start to end: another thread may use the connection to keep its lease
        rows = conn.wait(_copied(conn.pgconn, asked))
    if not rows:
        return pa.schema(kinds.items()).empty_table()
    return csv.read_csv(
        pa.py_buffer(rows),
        read_options=csv.ReadOptions(column_names=list(types), use_threads=False),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=kinds, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )


def columns(table: pa.Table, numbers: Sequence[str]) -> Columns:
    """An Arrow table with its numbers as doubles."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = {name: table[name] for name in numbers}
    for name, column in texts.items():
        table = table.set_column(table.schema.get_field_index(name), name, pc.cast(column, pa.float64()))
    return Columns(table.to_pandas(), texts)


def _copied(pgconn: PGconn, query: bytes) -> PQGen[bytes]:
    """All that a COPY sends. What `cursor.copy` does, but it asks the connection anew for each row."""
    from psycopg.errors import error_from_result
    from psycopg.generators import copy_from, execute
    from psycopg.pq import ExecStatus

    pgconn.send_query(query)
    (started,) = yield from execute(pgconn)
    if started.status != ExecStatus.COPY_OUT:
        raise error_from_result(started)
    rows: list[bytes] = []
    while isinstance(row := (yield from copy_from(pgconn)), memoryview):
        rows.append(bytes(row))
    return b"".join(rows)


_ARROW: Final = {"whole": "int64", "number": "string", "text": "string"}


def _arrow_types(types: dict[str, Type]) -> dict[str, Any]:
    import pyarrow as pa

    special = {"time": pa.timestamp("us", tz="UTC"), "word": pa.dictionary(pa.int32(), pa.string())}
    return {name: special.get(kind) or pa.type_for_alias(_ARROW[kind]) for name, kind in types.items()}
