"""boto3 clients for the local AWS and the real one: the same code, another address."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Literal, overload

from include.settings import Settings

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_athena import AthenaClient
    from mypy_boto3_glue import GlueClient
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

Service = Literal["kinesis", "s3", "sns", "sqs", "glue", "athena"]


@overload
def client(settings: Settings, service: Literal["kinesis"]) -> KinesisClient: ...
@overload
def client(settings: Settings, service: Literal["s3"]) -> S3Client: ...
@overload
def client(settings: Settings, service: Literal["sns"]) -> SNSClient: ...
@overload
def client(settings: Settings, service: Literal["sqs"]) -> SQSClient: ...
@overload
def client(settings: Settings, service: Literal["glue"]) -> GlueClient: ...
@overload
def client(settings: Settings, service: Literal["athena"]) -> AthenaClient: ...
def client(settings: Settings, service: Service) -> Any:
    """A client with short timeouts and botocore's standard retries (with back-off and jitter).

    On the local AWS the keys are the emulator's placeholders; on real AWS boto3's own chain finds them.
    """
    from botocore.config import Config

    local = settings.aws == "local"
    return _session().client(
        service,
        region_name=settings.aws_region,
        endpoint_url=settings.aws_endpoint_url or (f"http://127.0.0.1:{settings.aws_port}" if local else None),
        aws_access_key_id="local" if local else None,
        aws_secret_access_key="local" if local else None,  # the emulator takes anything
        config=Config(
            connect_timeout=3,
            read_timeout=20,
            retries={"mode": "standard", "max_attempts": 4},
            s3={"addressing_style": "path"} if local else {},
        ),
    )


@cache
def _session() -> boto3.session.Session:
    """One session per process: it keeps the parsed service models (0.3 s the first time)."""
    import boto3

    return boto3.session.Session()
