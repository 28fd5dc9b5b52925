"""Every setting, typed, in one place.

Precedence: environment (`QUANTSTREAM_<NAME>`) over `.env` over what `quantstream up` generated for the local stack
(`<home>/stack.env`: ports, passwords, addresses) over secret files over the defaults here. `.env.example` documents
each one.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from include.errors import ConfigError

ROOT: Final = Path(__file__).resolve().parent.parent
PREFIX: Final = "QUANTSTREAM_"
Port = Annotated[int, Field(ge=1024, le=65535)]


class Settings(BaseSettings):
    """The platform's settings. Use `get_settings()`; build one by hand only in tests."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    home: Path = Field(ROOT / ".quantstream", description="where all state of the local stack lives")

    # What is pulled
    sources: Annotated[list[str], NoDecode] = Field(["simulator"], description="enabled sources, comma separated")
    instruments_file: Path = Field(ROOT / "dbt" / "seeds" / "instruments.csv", description="what is traded")
    simulator_seed: int = Field(7, ge=0, description="the same seed gives the same market")
    warmup_minutes: int = Field(
        120, ge=0, le=1440, description="minutes of simulated past brought in by `up` and `run`"
    )
    coingecko_url: str = Field("", description="address of the CoinGecko API; empty: by plan")
    coingecko_plan: Literal["public", "demo", "pro"] = Field(
        "public", description="which CoinGecko plan the key is for"
    )
    coingecko_api_key: SecretStr | None = Field(None, description="the demo or pro key")
    http_timeout_seconds: float = Field(10.0, gt=0, le=120, description="per attempt, for vendors' HTTP APIs")

    # Postgres
    postgres: Literal["embedded", "external"] = Field("embedded", description="embedded: `up` starts one")
    postgres_port: Port = Field(5433, description="port of the embedded Postgres, on loopback")
    warehouse_dsn: SecretStr | None = Field(None, description="the pipeline's connection to the warehouse")
    analyst_dsn: SecretStr | None = Field(None, description="the read-only connection used by `quantstream sql`")
    airflow_dsn: SecretStr | None = Field(None, description="Airflow's metadata database")
    admin_dsn: SecretStr | None = Field(
        None, description="a superuser of an external Postgres; only `quantstream provision` uses it"
    )

    # AWS
    aws: Literal["local", "aws"] = Field("local", description="local: MiniStack, started by `up`; aws: the real one")
    aws_port: Port = Field(4566, description="port of the local AWS, on loopback")
    aws_endpoint_url: str | None = Field(None, description="address of the AWS API; empty on real AWS")
    aws_region: str = Field(
        "us-east-1",
        validation_alias=AliasChoices("aws_region", PREFIX + "AWS_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"),
        description="the AWS region",
    )
    stream: str = Field("quantstream-events", description="the Kinesis stream")
    shards: int = Field(1, ge=1, le=100, description="shards of the stream when `up` creates it")
    bucket: str = Field("quantstream-lake", description="the S3 bucket of the lake")
    topic: str = Field("quantstream-alerts.fifo", description="the SNS topic of the alerts; a FIFO topic deduplicates")
    topic_arn: str | None = Field(None, description="ARN of that topic; `up` fills it in")
    inbox: str = Field("quantstream-inbox.fifo", description="the SQS queue subscribed to the topic, read by `alerts`")
    inbox_url: str | None = Field(None, description="URL of that queue; `up` fills it in")

    # Airflow
    airflow_port: Port = Field(8080, description="port of the Airflow UI, on loopback")

    # Stream and load
    batch_max_records: int = Field(10_000, ge=1, description="records in one raw object at the most")
    batch_max_bytes: int = Field(
        32 * 1024 * 1024, ge=1024, description="bytes (before gzip) in one raw object at the most"
    )
    lease_seconds: int = Field(120, ge=5, le=3600, description="a silent holder of a step loses it after this long")

    # Audit
    audit_max_bad_share: float = Field(
        0.2, ge=0, le=1, description="a load with a larger share of bad rows is rejected"
    )
    audit_min_symbol_share: float = Field(
        0.5, ge=0, le=1, description="a pull that brings a smaller share of its known symbols is rejected"
    )
    audit_future_seconds: int = Field(60, ge=0, description="how far in the future an event_time may lie")
    stream_retention_hours: int = Field(24, ge=24, le=8760, description="live events older than this are quarantined")

    # Detection and alerts
    detection_file: Path = Field(ROOT / "include" / "config" / "detection.yml", description="rules and thresholds")

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="verbosity of the logs")

    @field_validator(
        "coingecko_api_key", "warehouse_dsn", "analyst_dsn", "airflow_dsn", "admin_dsn",
        "aws_endpoint_url", "topic_arn", "inbox_url",
        mode="before",
    )  # fmt: skip
    @classmethod
    def _empty_is_unset(cls, value: Any) -> Any:
        return None if value == "" else value  # `NAME=` in a file, or an empty secret file

    @field_validator("sources", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("home", "instruments_file", "detection_file")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value if value.is_absolute() else ROOT / value

    @field_validator("sources")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        from include.sources import NAMES

        unknown = [name for name in value if name not in NAMES]
        if unknown or not value:
            raise ValueError(f"allowed: {', '.join(NAMES)} (comma separated, at least one)")
        return value


def load_settings(**overrides: Any) -> Settings:
    """Read the settings afresh. Raises ConfigError listing every wrong one with its value and what is allowed.

    `QUANTSTREAM_ENV_FILE` names another file than `.env` (empty: none). `QUANTSTREAM_SECRETS_DIR` names a folder with
    one file per secret, each called like its variable in small letters (`/run/secrets` in a container).
    """
    home = Path(overrides.get("home") or os.environ.get(PREFIX + "HOME") or Settings.model_fields["home"].default)
    env_file = os.environ.get(PREFIX + "ENV_FILE", str(ROOT / ".env"))
    files = [ROOT / home / "stack.env", *([Path(env_file)] if env_file else [])]
    secrets = Path(os.environ.get(PREFIX + "SECRETS_DIR") or "/nonexistent")
    folder = secrets if secrets.is_dir() else None  # a container without secrets has no such folder
    try:
        return Settings(_env_file=files, _secrets_dir=folder, **overrides)
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None


@cache
def get_settings() -> Settings:
    """The settings of this process, read once."""
    return load_settings()


def _explain(error: ValidationError) -> str:
    lines = ["wrong settings:"]
    for problem in error.errors():
        name = str(problem["loc"][0])
        field = Settings.model_fields.get(name.lower().removeprefix(PREFIX.lower()))
        secret = field is not None and "SecretStr" in str(field.annotation)
        value = "(hidden)" if secret else repr(problem["input"])
        meaning = f" ({field.description})" if field is not None and field.description else ""
        variable = name if name.startswith(PREFIX) else PREFIX + name.upper()
        lines.append(f"  {variable} = {value}: {problem['msg'].removeprefix('Value error, ')}{meaning}")
    lines.append("Change it in the environment or in .env; .env.example documents every setting.")
    return "\n".join(lines)
