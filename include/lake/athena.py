"""Queries on the lake: sent to Athena, waited for, fetched as rows with types."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from include.aws import client
from include.errors import LakeError
from include.lake import local_athena
from include.lake.lifecycle import RESULTS
from include.settings import PREFIX, Settings

if TYPE_CHECKING:
    from mypy_boto3_athena import AthenaClient
    from mypy_boto3_athena.type_defs import DatumTypeDef, QueryExecutionTypeDef

_ENDED: Final = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})
_MISSING: Final = ("TABLE_NOT_FOUND", "SCHEMA_NOT_FOUND", "does not exist", "EntityNotFoundException")
_FIRST_WAIT: Final = 0.1
_LONGEST_WAIT: Final = 2.0
_WHOLE: Final = frozenset({"tinyint", "smallint", "integer", "int", "bigint"})

Progress = Callable[[str, float], object]
"""Told the state of the query and the seconds since it was sent, each time it was asked for."""


class QueryError(LakeError):
    """Athena did not run the query to its end; the text is Athena's own, and what to do where that is known."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows with the names and types of their columns, as Athena calls them; what the query took and read.

    `scanned` are bytes. `is_reported`: Athena counted them, and bills them (10 MB at least); else they were computed
    from the columns and files that the query needs, because the local one does not count.
    """

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    seconds: float
    scanned: int
    is_reported: bool


def run(settings: Settings, query: str, *, progress: Progress | None = None) -> Answer:
    """Run one statement in the lake's database and fetch what it gives. Ctrl-C stops it in Athena as well.

    Raises QueryError for what Athena refuses, botocore's errors if it does not answer.
    """
    athena, is_local = client(settings, "athena"), settings.aws == "local"
    sent = local_athena.prepared(settings, query) if is_local else query
    done = _run(athena, settings, sent, progress)
    columns, types, rows = _fetch(athena, done)
    scanned = done.get("Statistics", {}).get("DataScannedInBytes", 0)
    if is_local:
        scanned = local_athena.scanned(settings, query, lambda text: _fetch(athena, _run(athena, settings, text))[2])
    millis = done.get("Statistics", {}).get("TotalExecutionTimeInMillis", 0)
    return Answer(columns, types, rows, millis / 1000, scanned, not is_local)


def _run(
    athena: AthenaClient, settings: Settings, query: str, progress: Progress | None = None
) -> QueryExecutionTypeDef:
    """The execution, once it has succeeded."""
    with _told(settings):
        id_ = athena.start_query_execution(
            QueryString=query,
            QueryExecutionContext={"Database": settings.glue_database},
            ResultConfiguration={"OutputLocation": f"s3://{settings.bucket}/{RESULTS}"},
            WorkGroup=settings.athena_workgroup,
        )["QueryExecutionId"]
        try:
            execution = _wait(athena, id_, progress)
        except BaseException:
            athena.stop_query_execution(QueryExecutionId=id_)
            raise
    status = execution["Status"]
    if status["State"] != "SUCCEEDED":
        reason = status.get("StateChangeReason") or f"the query was {status['State'].lower()}"
        raise QueryError(_with_remedy(settings, reason))
    return execution


def _wait(athena: AthenaClient, id_: str, progress: Progress | None) -> QueryExecutionTypeDef:
    started, wait = time.monotonic(), _FIRST_WAIT
    while True:
        execution = athena.get_query_execution(QueryExecutionId=id_)["QueryExecution"]
        state = execution["Status"]["State"]
        if progress:
            progress(state, time.monotonic() - started)
        if state in _ENDED:
            return execution
        time.sleep(wait)
        wait = min(wait * 1.5, _LONGEST_WAIT)


def _fetch(
    athena: AthenaClient, execution: QueryExecutionTypeDef
) -> tuple[tuple[str, ...], tuple[str, ...], list[tuple[Any, ...]]]:
    pages = athena.get_paginator("get_query_results").paginate(QueryExecutionId=execution["QueryExecutionId"])
    columns: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    rows: list[tuple[Any, ...]] = []
    skip = execution.get("StatementType") == "DML"  # its first row is the names
    for page in pages:
        info = page["ResultSet"]["ResultSetMetadata"].get("ColumnInfo", [])
        columns, types = tuple(one["Name"] for one in info), tuple(one["Type"] for one in info)
        for row in page["ResultSet"]["Rows"][1 if skip else 0 :]:
            rows.append(tuple(_value(datum, type_) for datum, type_ in zip(row["Data"], types, strict=True)))
        skip = False
    return columns, types, rows


def _value(datum: DatumTypeDef, type_: str) -> Any:
    text = datum.get("VarCharValue")
    if text is None:
        return None
    if type_ in _WHOLE:
        return int(text)
    if type_ in ("double", "float", "real"):
        return float(text)
    if type_ == "decimal":
        return Decimal(text)
    return {"true": True, "false": False}[text] if type_ == "boolean" else text


@contextmanager
def _told(settings: Settings) -> Iterator[None]:
    """What Athena refuses at once becomes an error for people."""
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        code, text = error.response["Error"]["Code"], error.response["Error"]["Message"]
        if code != "InvalidRequestException":
            raise
        if "orkGroup" in text:
            text += f"\n{PREFIX}ATHENA_WORKGROUP = {settings.athena_workgroup!r} names the workgroup"
        raise QueryError(_with_remedy(settings, text)) from None


def _with_remedy(settings: Settings, reason: str) -> str:
    if any(mark in reason for mark in _MISSING):
        return f"{reason}\n{_tables(settings)}"
    return reason


def _tables(settings: Settings) -> str:
    glue = client(settings, "glue")
    try:
        pages: Sequence[Any] = list(glue.get_paginator("get_tables").paginate(DatabaseName=settings.glue_database))
    except glue.exceptions.EntityNotFoundException:
        pages = []
    names = sorted(table["Name"] for page in pages for table in page["TableList"])
    if not names:
        return f"there is no table in {settings.glue_database}: `quantstream up` or `quantstream provision` makes them"
    return f"the tables of {settings.glue_database} are {', '.join(names)}"
