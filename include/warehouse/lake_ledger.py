"""The ledger of the lake: which raw objects are in Parquet, in which files, and what was counted (ops.lake_*)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from datetime import date, datetime
from typing import Final

import psycopg
from psycopg.rows import class_row


@dataclass(frozen=True, slots=True)
class Day:
    """A compacted arrival day: lines = rows + exact repeats + malformed."""

    arrival_day: date
    object_count: int
    raw_bytes: int
    line_count: int
    row_count: int
    repeated_count: int
    malformed_count: int
    file_count: int
    parquet_bytes: int
    views_hash: str
    seconds: float


@dataclass(frozen=True, slots=True)
class File:
    """A Parquet file: rows of one kind and event date from (first_symbol, first_event_at) on; both None: from the
    beginning. `first_event_at` is UTC. `is_announced`: it is being written, or a process died while it was."""

    key: str
    kind: str
    event_date: date
    first_symbol: str | None
    first_event_at: datetime | None
    row_count: int
    bytes: int
    checksum: int
    sha256: str
    is_announced: bool


_DAY: Final = ", ".join(field.name for field in fields(Day))
_FILE: Final = ", ".join(field.name for field in fields(File))
_ANNOUNCE: Final = """
insert into ops.lake_files (arrival_day, key, kind, event_date, first_symbol, first_event_at, row_count, bytes,
    checksum, sha256, is_announced)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, true)
on conflict (key) do update set
    row_count = excluded.row_count, bytes = excluded.bytes, checksum = excluded.checksum, sha256 = excluded.sha256,
    is_announced = true
"""
_COUNT: Final = f"""
insert into ops.lake_days ({_DAY}) values ({", ".join("%s" for _ in fields(Day))})
on conflict (arrival_day) do update
set ({_DAY}) = row ({", ".join(f"excluded.{field.name}" for field in fields(Day))}), compacted_at = clock_timestamp()
"""  # noqa: S608  # our own names


def days(conn: psycopg.Connection) -> dict[date, Day]:
    """All compacted days."""
    with conn.cursor(row_factory=class_row(Day)) as cursor:
        return {day.arrival_day: day for day in cursor.execute(f"select {_DAY} from ops.lake_days")}  # noqa: S608


def objects(conn: psycopg.Connection, day: date) -> set[str]:
    """The keys of the raw objects that are in the files of a day."""
    return {key for (key,) in conn.execute("select key from ops.lake_objects where arrival_day = %s", [day])}


def files(conn: psycopg.Connection, day: date) -> list[File]:
    """The files of a day, announced ones among them, by key."""
    with conn.cursor(row_factory=class_row(File)) as cursor:
        query = f"select {_FILE} from ops.lake_files where arrival_day = %s order by key"  # noqa: S608
        # Postgres has no 64 bits without a sign, so the sum comes as a decimal number
        return [replace(file, checksum=int(file.checksum)) for file in cursor.execute(query, [day])]


def unfinished(conn: psycopg.Connection) -> set[date]:
    """Days of which files were announced and not finished: somebody is at it, or died."""
    return {day for (day,) in conn.execute("select distinct arrival_day from ops.lake_files where is_announced")}


def announce(conn: psycopg.Connection, day: date, planned: Iterable[File]) -> None:
    """Write down which files are about to be put, as part of the caller's transaction."""
    with conn.cursor() as cursor:
        cursor.executemany(
            _ANNOUNCE,
            [
                (
                    day, file.key, file.kind, file.event_date, file.first_symbol, file.first_event_at, file.row_count,
                    file.bytes, file.checksum, file.sha256,
                )
                for file in planned
            ],
        )  # fmt: skip


def finish(conn: psycopg.Connection, day: Day, objects: Mapping[str, tuple[int, int]], keys: Sequence[str]) -> None:
    """The day is done: these objects (bytes and lines by key) are in these files. In the caller's transaction."""
    conn.execute("delete from ops.lake_files where arrival_day = %s and key <> all (%s)", [day.arrival_day, list(keys)])
    conn.execute("update ops.lake_files set is_announced = false where arrival_day = %s", [day.arrival_day])
    conn.execute("delete from ops.lake_objects where arrival_day = %s", [day.arrival_day])
    with conn.cursor().copy("copy ops.lake_objects (key, arrival_day, bytes, line_count) from stdin") as copy:
        for key, (size, lines) in objects.items():
            copy.write_row((key, day.arrival_day, size, lines))
    conn.execute(_COUNT, list(astuple(day)))
