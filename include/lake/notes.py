"""Notes in the lake: the little that people decided and that no raw object tells, under `state/`.

Notes are JSON lines under a key made of their content: writing them again changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import orjson

from include.errors import LakeError
from include.lake import raw

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Kind = Literal["instruments", "accepted", "replays", "alerts", "history", "models", "mutes"]


def write_notes(s3: S3Client, bucket: str, kind: Kind, notes: Iterable[Mapping[str, Any]]) -> str:
    """Put notes into one object unless it is there; its key. Raises LakeError if the lake does not answer."""
    lines = [orjson.dumps(note, option=orjson.OPT_SORT_KEYS) + b"\n" for note in notes]
    key = f"{_prefix(kind)}{hashlib.sha256(b''.join(lines)).hexdigest()[:32]}.jsonl.gz"
    raw.put_once(s3, bucket, key, raw.encode(lines))
    return key


def read_notes(s3: S3Client, bucket: str, kind: Kind) -> Iterator[dict[str, Any]]:
    """All notes of a kind, in no order that means anything. Raises LakeError if one cannot be read."""
    from botocore.exceptions import BotoCoreError, ClientError

    prefix = _prefix(kind)
    try:
        pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix))
    except (BotoCoreError, ClientError) as error:
        raise LakeError(f"s3://{bucket}/{prefix} cannot be listed: {error}") from error
    for page in pages:
        for one in page.get("Contents", []):
            for _, line in raw.read_lines(s3, bucket, one["Key"]):
                yield orjson.loads(line)


def _prefix(kind: Kind) -> str:
    return f"state/{kind}/"
