"""What the local Athena lacks, made up for on the way to it. Real AWS gets the query as it was written.

MiniStack runs queries by DuckDB over copies of the objects below a table's folder. Three things are put right:

- It knows no function that only Athena (Trino) has. Those that queries on this lake need are put before the query.
- It guesses the columns of JSON with all objects open at once, 32 MB each: a day of minutes is more than a machine has.
  So raw_events is put before the query as a view that says its columns, over the files that it keeps the objects in.
- It counts the letters of the result as bytes scanned. So the bytes are computed: DuckDB says which columns and folders
  it needed, the footers of the Parquet files how long those columns are.
"""

# ruff: noqa: S608  # the SQL is made of our own names, and of what DuckDB itself wrote

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import orjson

from include.aws import client
from include.lake.objects import RAW, partitions, sizes
from include.lake.tables import RAW_COLUMNS, RAW_TABLE, TABLES, folder, table_name
from include.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_FUNCTIONS: Final = {
    "json_extract_scalar": "(value, path) as json_extract_string(to_json(value), path)",
    "from_iso8601_timestamp": "(value) as cast(value as timestamptz)",
    "date_format": "(value, format) as strftime(value, replace(replace(format, '%i', '%M'), '%s', '%S'))",
    "approx_distinct": "(value) as approx_count_distinct(value)",
    "approx_percentile": "(value, share) as approx_quantile(value, share)",
}
_FOLDERS: Final = {"dt": "varchar", "hh": "varchar"}
_FOOTER: Final = 8  # at the end of a Parquet file: how long its footer is, and its mark

Ask = Callable[[str], list[tuple[Any, ...]]]


def prepared(settings: Settings, query: str, *, explain: bool = False) -> str:
    """The query as the local one can run it, after the definitions that it lacks; or the same query, explained."""
    before = [
        f"create macro {name}{body}; "
        for name, body in _FUNCTIONS.items()
        if re.search(rf"\b{name}\s*\(", query, re.IGNORECASE)
    ]
    database = re.escape(settings.glue_database)
    named = rf'\b(from|join)\s+(?:"?{database}"?\s*\.\s*)?"?{RAW_TABLE}"?(?![\w.])'
    query, uses = re.subn(named, rf"\1 memory.main.{RAW_TABLE}", query, flags=re.IGNORECASE)
    if uses:
        before.append(f"create view {RAW_TABLE} as {_raw_events(settings)}; ")
    return f"{''.join(before)}{'explain (analyze, format json) ' if explain else ''}{query}"


def _raw_events(settings: Settings) -> str:
    """All raw objects as rows, with the columns of the table in Glue. MiniStack knows where it keeps an s3 address."""
    duck = {"int": "integer"}
    types = {name: "json" if name == "payload" else duck.get(type_, "varchar") for name, type_ in RAW_COLUMNS.items()}
    if next(partitions(client(settings, "s3"), settings.bucket, RAW), None) is None:
        empty = ", ".join(f"null::{type_} as {name}" for name, type_ in (types | _FOLDERS).items())
        return f"select {empty} where false"
    columns = ", ".join(f"{name}: '{type_}'" for name, type_ in types.items())
    folders = ", ".join(f"{name}: '{type_}'" for name, type_ in _FOLDERS.items())
    return (
        f"select * from read_json('s3://{settings.bucket}/{RAW}dt=*/hh=*/*.jsonl.gz', format = 'newline_delimited', "
        f"columns = {{{columns}}}, hive_partitioning = true, hive_types = {{{folders}}}, ignore_errors = true)"
    )


def scanned(settings: Settings, query: str, ask: Ask) -> int:
    """The bytes that Athena would read for the query; `ask` runs a statement on the local one. 0 for no query."""
    if not re.match(r"\s*(--[^\n]*\n\s*)*[(\s]*(select|with)\b", query, re.IGNORECASE):
        return 0
    explained = ask(prepared(settings, query, explain=True))
    plan = orjson.loads(explained[0][1])
    s3 = client(settings, "s3")
    return sum(_read(s3, settings.bucket, node["extra_info"]) for node in _scans(plan))


def _scans(plan: Any) -> Iterator[Any]:
    """The nodes of the plan that read files."""
    if isinstance(plan, dict):
        if plan.get("extra_info", {}).get("Filename(s)"):
            yield plan
        for value in plan.values():
            yield from _scans(value)
    elif isinstance(plan, list):
        for value in plan:
            yield from _scans(value)


def _read(s3: S3Client, bucket: str, scan: Any) -> int:
    """What one scan reads of the objects in the folders that it was left with."""
    first = scan["Filename(s)"].split(", ")[0].rsplit("/", 1)[-1]
    kind = next((kind for kind in TABLES if first.startswith(f"{table_name(kind)}-")), None)
    found = _left(sizes(s3, bucket, folder(kind) if kind else RAW), scan.get("File Filters"))
    if kind is None:
        return sum(found.values())
    named = scan.get("Projections", [])
    columns = {named} if isinstance(named, str) else set(named)
    return sum(_columns(s3, bucket, key, size, columns) for key, size in found.items())


def _left(found: dict[str, int], condition: str | None) -> dict[str, int]:
    """The objects whose folders fulfil a condition on `dt` and `hh`, as DuckDB wrote it."""
    import duckdb

    if not condition or not found:
        return found
    with duckdb.connect() as duck:
        duck.execute("create table files (key varchar, dt varchar, hh varchar)")
        duck.executemany(
            "insert into files values (?, ?, ?)", [[key, _part(key, "dt"), _part(key, "hh")] for key in found]
        )
        keys = duck.execute(f"select key from files where {condition}").fetchall()
    return {key: found[key] for (key,) in keys}


def _part(key: str, name: str) -> str | None:
    match = re.search(rf"/{name}=([^/]+)/", key)
    return match[1] if match else None


def _columns(s3: S3Client, bucket: str, key: str, size: int, columns: set[str]) -> int:
    """The bytes of these columns in a Parquet file, and of its footer."""
    import pyarrow.parquet as pq

    def last(count: int) -> bytes:
        return s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={max(0, size - count)}-{size - 1}")["Body"].read()

    length = int.from_bytes(last(_FOOTER)[:4], "little") + _FOOTER
    footer = pq.read_metadata(io.BytesIO(b"PAR1" + last(length)))
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    chunks = [group.column(number) for group in groups for number in range(group.num_columns)]
    return length + sum(int(chunk.total_compressed_size) for chunk in chunks if chunk.path_in_schema in columns)
