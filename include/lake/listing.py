"""What lies in the raw lake, by the hour in which it arrived: nothing but the listing is asked for.

A key tells where an object came from: a range of a shard, or a piece of history. Its folder is the hour in which its
first record arrived.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Final

from include.errors import LakeError
from include.events import Window

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ObjectTypeDef

_KEY: Final = re.compile(r"raw/dt=(\d{4}-\d{2}-\d{2})/hh=(\d{2})/([^/]+)\.jsonl\.gz")
_OF_STREAM: Final = re.compile(r"(.+)-(shardId-\d+)-(\d+)-(\d+)(?:-again(\d+))?")
_OF_HISTORY: Final = re.compile(r"history-([a-z0-9_]+)-([a-z]+)-(\d{4}-?\d{2}-?\d{2})-(.+)")
_ARCHIVED: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Piece:
    """The range of a shard that an object holds, both ends included; `again`: read once more, for the n-th time."""

    stream: str
    shard_id: str
    first: str
    last: str
    again: int = 0


@dataclass(frozen=True, slots=True)
class RawFile:
    """An object of the raw lake as the listing tells it; times are UTC.

    `hour`: when its first record arrived, rounded down. `written_at`: when this copy was written. `piece` is the range
    of the stream that it holds; None for history, whose `source` and `kind` its key names (None: another writer's).
    `is_archived`: it must be restored before it can be read.
    """

    key: str
    size: int
    hour: datetime
    written_at: datetime
    piece: Piece | None = None
    source: str | None = None
    kind: str | None = None
    is_archived: bool = False

    @property
    def is_history(self) -> bool:
        return self.piece is None

    def judged_at(self, longest: timedelta) -> datetime:
        """About when its events were judged: when it was written, unless that is a later copy.

        A record is landed within the stream's retention, `longest`, after it arrived.
        """
        end = self.hour + _HOUR
        return self.written_at if self.hour <= self.written_at < end + longest else end


def list_raw(s3: S3Client, bucket: str, window: Window | None = None) -> Iterator[RawFile]:
    """The raw objects of the hours that touch the window (None: all), hour by hour, in the order they were written in.

    At most an hour of them is in memory. What lies under `raw/` and is no raw object is left out. Raises LakeError if
    the lake does not answer.
    """
    found = (file for prefix in _prefixes(window) for file in _listed(s3, bucket, prefix))
    for hour, files in groupby(found, key=lambda file: file.hour):
        if window is None or (hour < window.end and hour + _HOUR > window.start):
            yield from sorted(files, key=lambda file: (file.written_at, file.key))


def describe_key(key: str) -> tuple[datetime, Piece | None, str | None, str | None] | None:
    """Hour, range, source and kind as `RawFile` has them; None if the key is not one of a raw object."""
    named = _KEY.fullmatch(key)
    if named is None:
        return None
    day, hour, name = named.groups()
    try:
        at = datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC).replace(hour=int(hour))
    except ValueError:
        return None
    if of_stream := _OF_STREAM.fullmatch(name):
        stream, shard_id, first, last, again = of_stream.groups()
        return at, Piece(stream, shard_id, first, last, int(again or 0)), None, None
    if of_history := _OF_HISTORY.fullmatch(name):
        return at, None, of_history[1], of_history[2]
    return at, None, None, None


def _prefixes(window: Window | None) -> Iterator[str]:
    if window is None:
        yield "raw/dt="
        return
    day = window.start.date()
    while datetime.combine(day, datetime.min.time(), UTC) < window.end:
        yield f"raw/dt={day}/"
        day += timedelta(days=1)


def _listed(s3: S3Client, bucket: str, prefix: str) -> Iterator[RawFile]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for one in page.get("Contents", []):
                if file := _file(one):
                    yield file
    except (BotoCoreError, ClientError) as error:
        raise LakeError(f"s3://{bucket}/{prefix} cannot be listed: {error}") from error


def _file(one: ObjectTypeDef) -> RawFile | None:
    described = describe_key(one["Key"])
    if described is None:
        return None
    hour, piece, source, kind = described
    written_at = one["LastModified"].astimezone(UTC)
    return RawFile(one["Key"], one["Size"], hour, written_at, piece, source, kind, one.get("StorageClass") in _ARCHIVED)
