"""A Kinesis fake with a stream in it, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.faults.kinesis import FakeKinesis
from tests.faults.kinesis_calls import S


@pytest.fixture
def fake() -> Iterator[FakeKinesis]:
    """A stream `s` of one shard."""
    with FakeKinesis() as fake:
        fake.do("CreateStream", StreamName=S, ShardCount=1)
        yield fake


@pytest.fixture(scope="module")
def session() -> boto3.session.Session:
    return boto3.session.Session(aws_access_key_id="any", aws_secret_access_key="any", region_name="us-east-1")


@pytest.fixture
def kinesis(fake: FakeKinesis, session: boto3.session.Session) -> Any:
    """A client that repeats nothing."""
    return session.client("kinesis", endpoint_url=fake.url, config=Config(retries={"total_max_attempts": 1}))
