"""The lake's tables in Glue, for Athena: raw JSON, and one table per kind of Parquet.

Partitions are projected: Athena computes them from the query, nothing is registered and no crawler runs. The first day
of a projection is the first one that there is, because a query that names no day lists every day of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from include.aws import client
from include.lake.objects import RAW, partitions
from include.lake.tables import RAW_COLUMNS, RAW_TABLE, TABLES, folder, table_name
from include.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_glue import GlueClient
    from mypy_boto3_glue.type_defs import ColumnTypeDef, TableInputTypeDef
    from mypy_boto3_s3 import S3Client

_MEANS: Final[Mapping[str, str]] = {
    "event_time": "the vendor's time, UTC", "received_at": "ours at the edge, UTC", "arrived_at": "in the stream, UTC",
    "payload": "what the vendor sent, JSON", "raw_base64": "a record that is no JSON object",
}  # fmt: skip
_TEXT_IN: Final = "org.apache.hadoop.mapred.TextInputFormat"
_TEXT_OUT: Final = "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat"
_JSON: Final = "org.openx.data.jsonserde.JsonSerDe"
_PARQUET: Final = "org.apache.hadoop.hive.ql.io.parquet"
_NONE_YET: Final = "NOW-1MONTH"  # where the projection begins while there is nothing


def make_catalogue(settings: Settings) -> list[str]:
    """Make the database and its tables where they are missing or other than they should be; returns those changed.

    Raises botocore's errors if Glue does not answer or refuses.
    """
    glue, s3 = client(settings, "glue"), client(settings, "s3")
    made = _database(glue, settings.glue_database)
    for table in tables(settings, s3):
        name = table["Name"]
        there = _table(glue, settings.glue_database, name)
        if there is None:
            glue.create_table(DatabaseName=settings.glue_database, TableInput=table)
        elif not _same(dict(table), there):
            glue.update_table(DatabaseName=settings.glue_database, TableInput=table, SkipArchive=True)
        else:
            continue
        made.append(f"table {settings.glue_database}.{name}")
    return made


def tables(settings: Settings, s3: S3Client) -> list[TableInputTypeDef]:
    """The definitions of all tables, as Glue takes them."""
    bucket = settings.bucket
    raw = _definition(
        RAW_TABLE, "events as they came, one line each", f"s3://{bucket}/{RAW}", RAW_COLUMNS,
        (_TEXT_IN, _TEXT_OUT, _JSON, {"ignore.malformed.json": "true"}),
        {"classification": "json", "compressionType": "gzip", **_days(s3, bucket, RAW),
         "projection.hh.type": "integer", "projection.hh.range": "0,23", "projection.hh.digits": "2"},
        {"dt": "the day of arrival, UTC: YYYY-MM-DD", "hh": "its hour: 00 to 23"},
    )  # fmt: skip
    parquet = (f"{_PARQUET}.MapredParquetInputFormat", f"{_PARQUET}.MapredParquetOutputFormat",
               f"{_PARQUET}.serde.ParquetHiveSerDe", {"serialization.format": "1"})  # fmt: skip
    return [
        raw,
        *(
            _definition(
                table_name(kind), f"every {kind} that came, typed; sorted by symbol and time",
                f"s3://{bucket}/{folder(kind)}", columns, parquet,
                {"classification": "parquet", "parquet.compression": "ZSTD", **_days(s3, bucket, folder(kind))},
                {"dt": "the day of event_time, UTC: YYYY-MM-DD"},
            )
            for kind, columns in TABLES.items()
        ),
    ]  # fmt: skip


def _definition(
    name: str,
    comment: str,
    location: str,
    columns: Mapping[str, str],
    formats: tuple[str, str, str, dict[str, str]],
    parameters: Mapping[str, str],
    partition_keys: Mapping[str, str],
) -> TableInputTypeDef:
    takes, gives, serde, serde_parameters = formats
    described: list[ColumnTypeDef] = []
    for column, type_ in columns.items():
        comment_of = {"Comment": _MEANS[column]} if column in _MEANS else {}
        described.append({"Name": column, "Type": type_, **comment_of})  # type: ignore[typeddict-item]
    return {
        "Name": name,
        "Description": comment,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"EXTERNAL": "TRUE", "projection.enabled": "true", **parameters},
        "PartitionKeys": [{"Name": key, "Type": "string", "Comment": text} for key, text in partition_keys.items()],
        "StorageDescriptor": {
            "Location": location,
            "Columns": described,
            "InputFormat": takes,
            "OutputFormat": gives,
            "SerdeInfo": {"SerializationLibrary": serde, "Parameters": serde_parameters},
        },
    }


def _days(s3: S3Client, bucket: str, prefix: str) -> dict[str, str]:
    first = next(islice(partitions(s3, bucket, prefix), 1), _NONE_YET)
    return {
        "projection.dt.type": "date", "projection.dt.format": "yyyy-MM-dd", "projection.dt.range": f"{first},NOW+1DAY",
        "projection.dt.interval": "1", "projection.dt.interval.unit": "DAYS",
    }  # fmt: skip


def _database(glue: GlueClient, name: str) -> list[str]:
    try:
        glue.get_database(Name=name)
        return []
    except glue.exceptions.EntityNotFoundException:
        pass
    try:
        glue.create_database(DatabaseInput={"Name": name, "Description": "QuantStream's lake"})
    except glue.exceptions.AlreadyExistsException:
        return []  # somebody else was faster
    return [f"database {name}"]


def _table(glue: GlueClient, database: str, name: str) -> Any:
    try:
        return glue.get_table(DatabaseName=database, Name=name)["Table"]
    except glue.exceptions.EntityNotFoundException:
        return None


def _same(wanted: Any, there: Any) -> bool:
    """Whether everything wanted is there; Glue adds fields of its own."""
    if isinstance(wanted, dict):
        return isinstance(there, dict) and all(_same(value, there.get(key)) for key, value in wanted.items())
    if isinstance(wanted, list):
        return len(wanted) == len(there or []) and all(map(_same, wanted, there))
    return bool(wanted == there)
