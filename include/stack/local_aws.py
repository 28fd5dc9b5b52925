"""The local AWS (MiniStack): its process, and the stream, bucket, topic, inbox and tables the platform uses.

What is made here is made on real AWS as well, and only where it is missing.
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path

from include.aws import client
from include.settings import Settings
from include.stack.delivery import provision_delivery


@dataclass(frozen=True, slots=True)
class Provisioned:
    """What `provision` found or made."""

    topic_arn: str
    inbox_url: str
    created: tuple[str, ...]


def command() -> list[str]:
    """The emulator as a foreground process."""
    return [sys.executable, "-m", "ministack"]


def environment(home: Path, port: int) -> dict[str, str]:
    """Loopback only; objects are written to disk at once, the rest at a clean stop."""
    return {
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "PERSIST_STATE": "1",
        "STATE_DIR": str(home / "aws" / "state"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(home / "aws" / "s3"),
        "TMPDIR": str(home / "aws" / "tmp"),
        "SERVICES": "kinesis,s3,sns,sqs,sts,glue,athena",
        "LOG_LEVEL": "WARNING",
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",  # it would listen everywhere
    }


def ping(port: int) -> bool:
    """Whether the emulator answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_ministack/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def provision(settings: Settings) -> Provisioned:
    """Make the stream, the bucket, topics, inbox and dead letters where they are missing. Raises ConfigError."""
    created: list[str] = []
    kinesis, s3 = client(settings, "kinesis"), client(settings, "s3")

    if settings.stream not in kinesis.list_streams(Limit=1000)["StreamNames"]:
        kinesis.create_stream(StreamName=settings.stream, ShardCount=settings.shards)
        created.append(f"stream {settings.stream}")
    kinesis.get_waiter("stream_exists").wait(StreamName=settings.stream, WaiterConfig={"Delay": 1, "MaxAttempts": 60})

    if settings.bucket not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]:
        if settings.aws_region == "us-east-1":
            s3.create_bucket(Bucket=settings.bucket)
        else:
            s3.create_bucket(
                Bucket=settings.bucket,
                CreateBucketConfiguration={"LocationConstraint": settings.aws_region},  # type: ignore[typeddict-item]
            )
        created.append(f"bucket {settings.bucket}")

    delivery = provision_delivery(settings)
    return Provisioned(delivery.topic_arn, delivery.inbox_url, (*created, *delivery.created))


def provision_with_lake(settings: Settings) -> Provisioned:
    """The same, and the bucket's rules for what grows old and the lake's tables, where they are missing or other.

    Results of queries go below a prefix of their own, which needs no making. Raises ConfigError for rules that S3 does
    not take.
    """
    from include.lake.catalogue import make_catalogue
    from include.lake.lifecycle import apply_lifecycle

    made = provision(settings)
    rules = (f"rules of {settings.bucket}",) if apply_lifecycle(settings) else ()
    return replace(made, created=(*made.created, *rules, *make_catalogue(settings)))
