"""Typed rows of a day -> Parquet files sorted by symbol and time, in flat memory.

Rows come in as CSV, as Postgres writes it, and are put down on disk as they come. DuckDB then sorts each kind and
event date, spilling to disk where it must. What came in and what lies in the files is summed up row by row; the order
does not count, so the sums must be equal.
"""

# ruff: noqa: S608  # the SQL is made of our own names of columns and files

from __future__ import annotations

import hashlib
import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from math import ceil
from pathlib import Path
from typing import Any, Final

from include.errors import LakeError
from include.lake.tables import HASH, TABLES

MAX_BYTES: Final = 256 * 1024 * 1024  # a file that is larger is cut
_CUT_BYTES: Final = 192 * 1024 * 1024  # ... into equal pieces of at most about so much
_ROW_GROUP: Final = 122_880  # rows; small enough to skip most of a file when one symbol is asked for
_MODULUS: Final = 2**64

Start = tuple[str, datetime]
"""Where the rows of a file begin: symbol and event time (UTC, without a zone)."""


@dataclass(frozen=True, slots=True)
class Sum:
    """So many rows, and the sum of the rows' hashes modulo 2 ** 64."""

    rows: int = 0
    checksum: int = 0

    def plus(self, other: Sum) -> Sum:
        return Sum(self.rows + other.rows, (self.checksum + other.checksum) % _MODULUS)


@dataclass(frozen=True, slots=True)
class Part:
    """A file on this disk: the rows from `start` (None: from the beginning) on."""

    path: Path
    start: Start | None
    sum: Sum
    bytes: int
    sha256: str


@dataclass(slots=True)
class Sorter:
    """Takes the rows of a day and writes its files below `folder`. Close it (or use `with`) to free what it holds."""

    folder: Path
    max_bytes: int = MAX_BYTES
    memory: str = "256MB"
    threads: int = 2
    came: dict[tuple[str, date], Sum] = field(default_factory=dict)
    """What came in, by kind and event date."""
    _writers: dict[str, Any] = field(default_factory=dict)
    _duck: Any = None
    _files: Iterator[int] = field(default_factory=lambda: iter(range(1_000_000)))

    def __enter__(self) -> Sorter:
        import duckdb

        spill = self.folder / "spill"
        spill.mkdir(parents=True, exist_ok=True)
        self._duck = duckdb.connect(
            config={
                "memory_limit": self.memory, "threads": self.threads, "temp_directory": str(spill),
                "autoinstall_known_extensions": False, "autoload_known_extensions": False,
            }
        )  # fmt: skip
        self._duck.execute("set enable_progress_bar = false")
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self._writers.values():
            writer.close()
        self._duck.close()

    def add(self, kind: str, csv: bytes) -> int:
        """Take rows of one kind (the columns of TABLES and the payload's hash); returns how many."""
        import pyarrow.parquet as pq

        table = _table(kind, csv)
        if not table.num_rows:
            return 0
        self._duck.register("came", table)
        found = self._duck.execute(f"select event_time::date, {_sums(kind)} from came group by 1").fetchall()
        self._duck.unregister("came")
        for day, rows, checksum in found:
            self.came[kind, day] = self.came.get((kind, day), Sum()).plus(Sum(rows, int(checksum)))
        if kind not in self._writers:
            self._writers[kind] = pq.ParquetWriter(self._staged(kind), table.schema, compression="lz4")
        self._writers[kind].write_table(table, row_group_size=table.num_rows)
        return int(table.num_rows)

    def write(self, kind: str, day: date, starts: Sequence[Start] = ()) -> tuple[list[Part], Sum]:
        """The files of one kind and event date, and the sum of the repeats that were left out.

        `starts`: where the second and further files began last time; they begin there again, and a file that is too
        large is cut. Nothing can be added afterwards. Raises LakeError if what lies in the files is not what came in.
        """
        if writer := self._writers.get(kind):
            writer.close()
        bounds: list[Start | None] = [None, *sorted(starts)]
        parts = [
            part
            for low, high in zip(bounds, [*bounds[1:], None], strict=True)
            for part in self._range(kind, day, low, high)
        ]
        written = Sum()
        for part in parts:
            written = written.plus(part.sum)
        repeats = self._repeats(kind, day)
        if written.plus(repeats) != self.came[kind, day]:
            raise LakeError(
                f"{kind}s of {day}: {self.came[kind, day]} came in, but the files hold {written} and the repeats left "
                f"out are {repeats}; nothing of this day was published. Run it again; if it stays so, look at the disk "
                f"below {self.folder}"
            )
        return parts, repeats

    def _range(self, kind: str, day: date, low: Start | None, high: Start | None) -> Iterator[Part]:
        path = self.folder / f"part-{next(self._files)}.parquet"
        columns = ", ".join(TABLES[kind])
        self._duck.execute(
            f"copy (select {columns} from ({self._rows(kind)}) where nth = 1 "
            f"{'' if low is None else 'and ' + _from('low')} {'' if high is None else 'and not ' + _from('high')} "
            f"order by symbol, event_time, {columns}) "
            f"to '{path}' (format parquet, compression zstd, row_group_size {_ROW_GROUP})",
            self._day(day) | _bound("low", low) | _bound("high", high),
        )
        found, size = self.read_back(kind, path), path.stat().st_size
        cuts = self._cuts(path, low, found.rows, size) if size > self.max_bytes else []
        if cuts:
            path.unlink()
            for begin, end in zip([low, *cuts], [*cuts, high], strict=True):
                yield from self._range(kind, day, begin, end)
        elif found.rows:
            with path.open("rb") as body:
                yield Part(path, low, found, size, hashlib.file_digest(body, "sha256").hexdigest())

    def _cuts(self, path: Path, low: Start | None, rows: int, size: int) -> list[Start]:
        """Where a file is cut into equal pieces; nothing if all its rows have one symbol and time."""
        pieces = max(2, ceil(size / min(_CUT_BYTES, self.max_bytes)))
        places = [rows * n // pieces for n in range(1, pieces)]
        first, *others = self._duck.execute(
            "select distinct symbol, event_time from read_parquet($path, file_row_number = true) "
            "where file_row_number = 0 or file_row_number in (select unnest($places)) order by all",
            {"path": str(path), "places": places},
        ).fetchall()
        return [start for start in others if start not in (low, first)]

    def read_back(self, kind: str, path: Path) -> Sum:
        """What lies in a file."""
        rows, checksum = self._duck.execute(f"select {_sums(kind)} from read_parquet($1)", [str(path)]).fetchone()
        return Sum(rows, int(checksum))

    def _repeats(self, kind: str, day: date) -> Sum:
        rows, checksum = self._duck.execute(
            f"select {_sums(kind)} from ({self._rows(kind)}) where nth > 1", self._day(day)
        ).fetchone()
        return Sum(rows, int(checksum))

    def _rows(self, kind: str) -> str:
        """The day's rows; `nth` counts those with equal keys and payloads, the one received last first."""
        return (
            f"select *, row_number() over (partition by source, symbol, event_time, vendor_id, {HASH} "
            f"order by received_at desc) as nth from read_parquet('{self._staged(kind)}') "
            "where event_time >= $day and event_time < $day + interval 1 day"
        )

    @staticmethod
    def _day(day: date) -> dict[str, Any]:
        return {"day": datetime(day.year, day.month, day.day)}  # noqa: DTZ001  # DuckDB's TIMESTAMP has no zone

    def _staged(self, kind: str) -> str:
        return str(self.folder / f"{kind}.staged")


def _from(name: str) -> str:
    return f"(symbol > ${name}_symbol or symbol = ${name}_symbol and event_time >= ${name}_time::timestamp)"


def _bound(name: str, start: Start | None) -> dict[str, Any]:
    return {} if start is None else {f"{name}_symbol": start[0], f"{name}_time": start[1]}


def _sums(kind: str) -> str:
    return f"count(*), coalesce(sum(hash({', '.join(TABLES[kind])})::hugeint) % {_MODULUS}::hugeint, 0)"


def _table(kind: str, csv: bytes) -> Any:
    import pyarrow as pa
    from pyarrow import csv as reader

    arrow: defaultdict[str, Any] = defaultdict(
        pa.string, double=pa.float64(), bigint=pa.int64(), timestamp=pa.timestamp("us")
    )
    types = {name: arrow[type_] for name, type_ in TABLES[kind].items()} | {HASH: pa.string()}
    if not csv:
        return pa.schema(list(types.items())).empty_table()
    return reader.read_csv(
        io.BytesIO(csv),
        read_options=reader.ReadOptions(column_names=list(types), block_size=max(len(csv), 1), use_threads=False),
        parse_options=reader.ParseOptions(newlines_in_values=True),
        convert_options=reader.ConvertOptions(
            column_types=types, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )
