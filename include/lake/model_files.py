"""The files of trained models in the lake, under `models/<name>/<version>/`. Written once, never overwritten."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from include.errors import LakeConflictError, LakeError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def prefix(name: str, version: str) -> str:
    """Where the files of a version lie."""
    return f"models/{name}/{version}/"


def put_once(s3: S3Client, bucket: str, key: str, body: bytes) -> None:
    """Put a file unless it is there already.

    Raises LakeConflictError if other content is there, LakeError if the lake does not answer or refuses.
    """
    from botocore.exceptions import ClientError

    sha256 = hashlib.sha256(body)
    with _told(bucket, key):
        try:
            s3.put_object(
                Bucket=bucket, Key=key, Body=body, IfNoneMatch="*", ContentType="application/octet-stream",
                ChecksumSHA256=base64.b64encode(sha256.digest()).decode(), Metadata={"sha256": sha256.hexdigest()},
            )  # fmt: skip
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] not in (409, 412):
                raise
            if get(s3, bucket, key) != body:
                raise LakeConflictError(f"s3://{bucket}/{key} holds other content; nothing was overwritten") from None


def get(s3: S3Client, bucket: str, key: str) -> bytes:
    """A file. Raises LakeError if it is not there or the lake does not answer."""
    with _told(bucket, key):
        return s3.get_object(Bucket=bucket, Key=key)["Body"].read()


@contextmanager
def _told(bucket: str, key: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise LakeError(f"s3://{bucket}/{key}: {error}") from error
