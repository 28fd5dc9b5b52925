"""What lies in the lake as Parquet, as whoever reads the files sees it."""

from __future__ import annotations

import io
from typing import Any

from include.aws import client
from include.lake import objects
from include.settings import Settings


def files(settings: Settings) -> dict[str, bytes]:
    """The bodies of all Parquet files by key."""
    s3 = client(settings, "s3")
    keys = objects.sizes(s3, settings.bucket, "parquet/")
    return {key: s3.get_object(Bucket=settings.bucket, Key=key)["Body"].read() for key in keys}


def rows(settings: Settings, *columns: str) -> dict[str, list[tuple[Any, ...]]]:
    """By key, without the leading `parquet/kind=` and the ending: the rows with these columns, in their order."""
    import pyarrow.parquet as pq

    return {
        key.removeprefix("parquet/kind=").removesuffix(".parquet"): [
            tuple(row.values()) for row in pq.read_table(io.BytesIO(body), columns=list(columns)).to_pylist()
        ]
        for key, body in files(settings).items()
    }
