"""One raw object of the lake -> the warehouse, once more: for replays and rebuilds.

Objects are independent: they may be brought in many at once, in any order, by several processes. A load's origin says
what it is; one that is known is not loaded again, so whoever died goes on where it was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

import orjson
import psycopg

from include.aws import client
from include.crashpoints import crash_point
from include.errors import LakeError
from include.lake import raw
from include.lake.listing import RawFile
from include.settings import Settings
from include.warehouse import loader
from include.warehouse.db import connect
from include.warehouse.leases import lease
from include.warehouse.lines import time_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ARCHIVED: Final = "InvalidObjectState"

Also = Callable[[psycopg.Connection, loader.Loaded, "Seen"], object]


@dataclass(slots=True)
class Seen:
    """What the lines of an object said while they were read: when the first of them arrived (UTC), if they tell."""

    first_arrived_at: datetime | None = None
    lines: int = 0


def bring_in(
    settings: Settings,
    file: RawFile,
    *,
    origin: str,
    is_live: bool = False,
    sources: Collection[str] | None = None,
    sha256: str | None = None,
    also: Also | None = None,
) -> loader.Loaded:
    """Load an object (only its lines of these sources) under this origin; `also` writes in the same transaction.

    Raises LeaseHeldError if another process loads this origin right now, and LakeError naming the key and the remedy;
    nothing is written then.
    """
    with connect(settings) as conn, lease(conn, f"load {origin}", seconds=settings.lease_seconds) as held:
        with held.kept():
            lines = read(client(settings, "s3"), settings.bucket, file.key, sha256)
        seen = Seen()
        with conn.transaction():
            held.fence()
            chosen = _seen(_of(lines, sources), seen)
            loaded = loader.store(conn, chosen, origin=origin, is_live=is_live)
            if also is not None and loaded.is_new:
                also(conn, loaded, seen)
            crash_point("before_load_commit")
        crash_point("after_load_commit")
    return loaded


def read(s3: S3Client, bucket: str, key: str, sha256: str | None = None) -> Iterator[tuple[int, bytes]]:
    """The lines of an object as `raw.read_lines`; one in an archive says how to get it out of there."""
    try:
        return raw.read_lines(s3, bucket, key, sha256=sha256)
    except LakeError as error:
        if _ARCHIVED in str(error.__cause__):
            raise LakeError(
                f"s3://{bucket}/{key} lies in an archive (Glacier). Restore it, wait until that is done (hours), and "
                f"repeat this: aws s3api restore-object --bucket {bucket} --key {key} --restore-request Days=7"
            ) from None
        if "does not exist" in str(error):
            raise LakeError(
                f"{error}; the ledger or whoever asked knows it. Bring it back from a version or a copy of the "
                "bucket, then repeat this"
            ) from None
        raise


def arrived_at(s3: S3Client, bucket: str, key: str) -> datetime | None:
    """When the first line of an object arrived in the stream (UTC); None if it does not tell. Raises LakeError."""
    for _, line in read(s3, bucket, key):
        return _arrival(line)
    return None


def last_arrival(s3: S3Client, bucket: str, key: str) -> datetime | None:
    """When the last line of an object arrived in the stream (UTC); None if it does not tell. Raises LakeError."""
    last = deque(read(s3, bucket, key), maxlen=1)
    return _arrival(last[0][1]) if last else None


def _arrival(line: bytes) -> datetime | None:
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return time_of(fields.get("arrived_at")) if isinstance(fields, dict) else None


def _seen(lines: Iterator[tuple[int, bytes]], seen: Seen) -> Iterator[tuple[int, bytes]]:
    for number, line in lines:
        if not seen.lines:
            seen.first_arrived_at = _arrival(line)
        seen.lines += 1
        yield number, line


def _of(lines: Iterator[tuple[int, bytes]], sources: Collection[str] | None) -> Iterator[tuple[int, bytes]]:
    """The lines that name one of these sources, with the numbers they have in their object."""
    if sources is None:
        yield from lines
        return
    for number, line in lines:
        try:
            fields = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(fields, dict) and fields.get("source") in sources:
            yield number, line
