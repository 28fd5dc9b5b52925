"""What lies in the lake by its folders, and Parquet files put and removed.

A file is put only over the version that its writer has seen (If-Match), so one who was asleep cannot put an old file
over a new one.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

from include.errors import FencedError, LakeError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

RAW: Final = "raw/"


@dataclass(frozen=True, slots=True)
class Version:
    """What lies under a key: S3's tag of it, and the SHA-256 (hex) that its writer noted."""

    etag: str
    sha256: str | None


def days(s3: S3Client, bucket: str) -> list[date]:
    """The arrival days of which there are raw objects, ascending."""
    return [date.fromisoformat(value) for value in partitions(s3, bucket, RAW)]


def partitions(s3: S3Client, bucket: str, folder: str) -> Iterator[str]:
    """The values of `dt` below a folder, ascending; what is no date there is passed over."""
    with _told(bucket, folder):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{folder}dt=", Delimiter="/"):
            for prefix in page.get("CommonPrefixes", []):
                value = prefix["Prefix"].removeprefix(f"{folder}dt=").rstrip("/")
                try:
                    date.fromisoformat(value)
                except ValueError:
                    continue
                yield value


def sizes(s3: S3Client, bucket: str, prefix: str) -> dict[str, int]:
    """What lies below a prefix: bytes by key, in the order of the keys."""
    with _told(bucket, prefix):
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return {one["Key"]: one["Size"] for page in pages for one in page.get("Contents", [])}


def version(s3: S3Client, bucket: str, key: str) -> Version | None:
    """What lies under the key now; None if nothing does."""
    from botocore.exceptions import ClientError

    with _told(bucket, key):
        try:
            found = s3.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise
    return Version(found["ETag"], found["Metadata"].get("sha256"))


def replace(s3: S3Client, bucket: str, key: str, path: Path, sha256: str, seen: Version | None) -> None:
    """Put a file over the version that was seen there (None: over nothing); S3 checks the bytes against `sha256`.

    Raises FencedError if something else lies there by now, LakeError if the lake does not answer or refuses.
    """
    from botocore.exceptions import ClientError

    with _told(bucket, key), path.open("rb") as body:
        condition = {"IfNoneMatch": "*"} if seen is None else {"IfMatch": seen.etag}
        try:
            s3.put_object(
                Bucket=bucket, Key=key, Body=body, ContentType="application/vnd.apache.parquet",
                ChecksumSHA256=base64.b64encode(bytes.fromhex(sha256)).decode(), Metadata={"sha256": sha256},
                **condition,  # type: ignore[arg-type]
            )  # fmt: skip
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] not in (404, 409, 412):
                raise
            now = version(s3, bucket, key)
            if now is None or now.sha256 != sha256:  # else it was this very put, whose answer was lost
                raise FencedError(
                    f"s3://{bucket}/{key} was changed by somebody else meanwhile; it was left as it is. "
                    "Run the compaction again."
                ) from None


def remove(s3: S3Client, bucket: str, key: str) -> None:
    """Remove a Parquet file; one that is gone is no error."""
    with _told(bucket, key):
        s3.delete_object(Bucket=bucket, Key=key)


def digest(s3: S3Client, bucket: str, key: str) -> str:
    """The SHA-256 (hex) of what lies there now. Raises LakeError if nothing does."""
    with _told(bucket, key):
        found = hashlib.sha256()
        for part in s3.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(1024 * 1024):
            found.update(part)
    return found.hexdigest()


@contextmanager
def _told(bucket: str, what: str) -> Iterator[None]:
    """What S3 or the way to it says becomes an error of the lake."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise LakeError(f"s3://{bucket}/{what}: {error}") from error
