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
    portfolios_file: Path = Field(ROOT / "dbt" / "seeds" / "portfolios.csv", description="who holds what, at what cost")
    corporate_actions_file: Path = Field(
        ROOT / "dbt" / "seeds" / "corporate_actions.csv", description="splits and dividends that no source tells"
    )
    simulator_seed: int = Field(7, ge=0, description="the same seed gives the same market")
    simulator_trades_per_minute: int = Field(
        0, ge=0, le=1_000_000, description="trades of all instruments together beside the quotes; 0: none"
    )
    warmup_minutes: int = Field(
        120, ge=0, le=1440, description="minutes of simulated past brought in by `up` and `run`"
    )
    coingecko_url: str = Field("", description="address of the CoinGecko API; empty: by plan")
    coingecko_plan: Literal["public", "demo", "pro"] = Field(
        "public", description="which CoinGecko plan the key is for"
    )
    coingecko_api_key: SecretStr | None = Field(None, description="the demo or pro key")
    yahoo_url: str = Field("https://query1.finance.yahoo.com", description="address of Yahoo's chart API")
    alphavantage_url: str = Field("https://www.alphavantage.co", description="address of Alpha Vantage's API")
    alphavantage_api_key: SecretStr | None = Field(None, description="the key of Alpha Vantage")
    alphavantage_plan: Literal["free", "premium"] = Field("free", description="which Alpha Vantage plan the key is for")
    polygon_url: str = Field("https://api.polygon.io", description="address of Polygon's API")
    polygon_api_key: SecretStr | None = Field(None, description="the key of Polygon")
    polygon_plan: Literal["basic", "starter", "advanced"] = Field(
        "basic", description="which Polygon plan the key is for"
    )
    binance_url: str = Field("https://api.binance.com", description="address of Binance's REST API")
    binance_feed_url: str = Field("wss://stream.binance.com:9443", description="address of Binance's WebSocket")
    coinbase_url: str = Field("https://api.exchange.coinbase.com", description="address of Coinbase's REST API")
    coinbase_feed_url: str = Field("wss://ws-feed.exchange.coinbase.com", description="address of Coinbase's WebSocket")
    kraken_url: str = Field("https://api.kraken.com", description="address of Kraken's REST API")
    kraken_feed_url: str = Field("wss://ws.kraken.com/v2", description="address of Kraken's WebSocket")
    http_timeout_seconds: float = Field(10.0, gt=0, le=120, description="per attempt, for vendors' HTTP APIs")
    vendor_budgets: Annotated[dict[str, str], NoDecode] = Field(
        {},
        description="calls allowed where not the plan's, as in yahoo=60/minute+2000/day,kraken=30/minute",
    )
    collect: Annotated[list[str], NoDecode] = Field(
        [], description="exchanges whose streamed trades the stack collects, comma separated"
    )

    # The market's clock
    cadence_seconds: Literal[10, 30, 60] = Field(60, description="how often the sources are pulled")
    extended_hours: bool = Field(False, description="pull equities before the opening and after the close too")

    # Postgres
    postgres: Literal["embedded", "external"] = Field("embedded", description="embedded: `up` starts one")
    postgres_port: Port = Field(5433, description="port of the embedded Postgres, on loopback")
    warehouse_dsn: SecretStr | None = Field(None, description="the pipeline's connection to the warehouse")
    owner_dsn: SecretStr | None = Field(
        None, description="the warehouse's owner, who migrates; only `up` and `provision` use it"
    )
    analyst_dsn: SecretStr | None = Field(None, description="the read-only connection used by `quantstream sql`")
    airflow_dsn: SecretStr | None = Field(None, description="Airflow's metadata database")
    admin_dsn: SecretStr | None = Field(
        None,
        description="an administrator of an external Postgres, who makes roles; only `provision` and `analyst` use it",
    )
    analyst_statement_seconds: int = Field(30, ge=1, le=3600, description="how long one query of an analyst may take")
    analyst_connections: int = Field(20, ge=1, le=1000, description="sessions that one analyst may have at once")
    analyst_work_mem_mb: int = Field(32, ge=1, le=4096, description="memory of one sort or hash of an analyst's query")

    timescale_chunk_days: int = Field(7, ge=1, le=366, description="days in a chunk of a TimescaleDB hypertable")
    timescale_compress_days: int = Field(
        30, ge=0, description="TimescaleDB compresses chunks that are so many days old; 0: none"
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
    topic_critical: str = Field("", description="another topic for critical alerts, a name or an ARN; empty: the one")
    topic_warning: str = Field("", description="another topic for warnings, a name or an ARN; empty: the one")
    topic_info: str = Field("", description="another topic for what only informs, a name or an ARN; empty: the one")
    inbox: str = Field("quantstream-inbox.fifo", description="the SQS queue subscribed to the topic, read by `alerts`")
    inbox_url: str | None = Field(None, description="URL of that queue; `up` fills it in")

    dead_letters: str = Field(
        "quantstream-dead-letters.fifo",
        description="the SQS queue for alerts that SNS or the inbox will not take; FIFO as the topic is; empty: none",
    )
    kms_key: str = Field(
        "", description="alias or ARN of the KMS key that encrypts topics and queues; empty: as they are"
    )

    # Airflow
    airflow_port: Port = Field(8080, description="port of the Airflow UI, on loopback")
    statsd: str = Field(
        "", pattern=r"^([^:\s]+:\d{1,5})?$", description="a StatsD server for Airflow's metrics, host:port; empty: none"
    )

    # Stream and load
    batch_max_records: int = Field(100_000, ge=1, description="events in one raw object at the most")
    batch_max_bytes: int = Field(
        32 * 1024 * 1024, ge=1024, description="bytes (before gzip) in one raw object at the most"
    )
    land_max_records: int = Field(
        500_000, ge=1, description="events that one landing takes at the most; the next run goes on behind them"
    )
    lease_seconds: int = Field(120, ge=5, le=3600, description="a silent holder of a step loses it after this long")

    # Audit
    audit_max_bad_share: float = Field(
        0.2, ge=0, le=1, description="a load with a larger share of bad rows is rejected"
    )
    audit_min_symbol_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="a pull with a smaller share of its known symbols is rejected (markets it lacks do not count)",
    )
    audit_future_seconds: int = Field(60, ge=0, description="how far in the future an event_time may lie")
    stream_retention_hours: int = Field(24, ge=24, le=8760, description="live events older than this are quarantined")

    # History
    history_land_events: int = Field(
        100_000, ge=1000, description="events of history in one raw object (and load) at the most"
    )
    history_live_share: float = Field(
        0.5, ge=0, lt=1, description="share of each vendor's budget that history leaves to the minutes"
    )
    transform_history_events: int = Field(
        60_000, ge=1000, description="events of history in one build at the most; what is live comes before each"
    )
    silent_minutes: int = Field(
        10, ge=0, le=1440, description="open minutes without a candle after which an instrument is silent; 0: none is"
    )
    alert_max_age_hours: float = Field(
        24.0, ge=0, description="alerts of older candles are written down and sent to nobody; 0: all are sent"
    )
    backfill_alert_max_age_minutes: float = Field(
        60.0, ge=0, description="the same of candles that a backfill or a file brings; 0: as of those that come live"
    )
    alert_late_seconds: int = Field(
        300, ge=1, description="an alert that SNS takes longer after its candle's end is marked as late"
    )
    chart_url: str = Field(
        "", description="address of a chart for each alert, with {symbol}, {rule}, {start}, {end} in it; empty: none"
    )

    # Lake and retention; 0 days: kept for ever
    lake_infrequent_days: int = Field(30, ge=0, description="raw objects move to infrequent access after so many days")
    lake_glacier_days: int = Field(90, ge=0, description="raw objects move to Glacier after so many days")
    lake_expire_days: int = Field(0, ge=0, description="raw objects are removed after so many days")
    keep_events_days: int = Field(0, ge=0, description="days that raw events stay in Postgres; the lake keeps them all")
    keep_quarantine_days: int = Field(0, ge=0, description="days that quarantined rows stay")
    keep_ledger_days: int = Field(90, ge=0, description="days that outcomes and finished rows of the ledger stay")
    keep_logs_days: int = Field(14, ge=0, description="days that logs and Airflow's record of past runs stay")
    athena_workgroup: str = Field("primary", description="the Athena workgroup that `quantstream athena` asks in")
    glue_database: str = Field("quantstream", pattern=r"^[a-z][a-z0-9_]*$", description="the lake's tables in Glue")

    # Several sources
    divergence_basis_points: float = Field(
        100.0, gt=0, description="a source's close this far from the other sources' median is flagged"
    )

    # Detection and alerts
    detection_file: Path = Field(ROOT / "include" / "config" / "detection.yml", description="rules and thresholds")
    alerting_file: Path = Field(
        ROOT / "include" / "config" / "alerting.yml", description="groups, escalation and maintenance windows of alerts"
    )

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="verbosity of the logs")

    @field_validator(
        "coingecko_api_key", "alphavantage_api_key", "polygon_api_key", "warehouse_dsn", "owner_dsn", "analyst_dsn",
        "airflow_dsn", "admin_dsn", "aws_endpoint_url", "topic_arn", "inbox_url",
        mode="before",
    )  # fmt: skip
    @classmethod
    def _empty_is_unset(cls, value: Any) -> Any:
        return None if value == "" else value  # `NAME=` in a file, or an empty secret file

    @field_validator("sources", "collect", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("cadence_seconds", mode="before")
    @classmethod
    def _whole(cls, value: Any) -> Any:
        return int(value) if isinstance(value, str) and value.strip().isdecimal() else value  # Literal takes no text

    @field_validator("vendor_budgets", mode="before")
    @classmethod
    def _pairs(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        names = [name.strip() for name, _, _ in pairs]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{', '.join(twice)} is there twice; write yahoo=60/minute+2000/day")
        return {name: budget.strip() for name, (_, _, budget) in zip(names, pairs, strict=True)}

    @field_validator("vendor_budgets")
    @classmethod
    def _budgets(cls, value: dict[str, str]) -> dict[str, str]:
        from include.sources import NAMES
        from include.sources.gate import Limits

        for name, budget in value.items():
            if name not in NAMES:
                raise ValueError(f"there is no vendor {name!r}; allowed: {', '.join(NAMES)}")
            try:
                Limits.parse(budget)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return value

    @field_validator(
        "home", "instruments_file", "portfolios_file", "corporate_actions_file", "detection_file", "alerting_file"
    )
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value if value.is_absolute() else ROOT / value

    @field_validator("chart_url")
    @classmethod
    def _chart(cls, value: str) -> str:
        try:
            value.format(symbol="", rule="", start="", end="")
        except (AttributeError, KeyError, IndexError, ValueError) as error:
            raise ValueError(f"only {{symbol}}, {{rule}}, {{start}} and {{end}} stand for something: {error}") from None
        return value

    @field_validator("sources")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        from include.sources import NAMES

        unknown = [name for name in value if name not in NAMES]
        if unknown or not value:
            raise ValueError(f"allowed: {', '.join(NAMES)} (comma separated, at least one)")
        return value

    @field_validator("collect")
    @classmethod
    def _have_feeds(cls, value: list[str]) -> list[str]:
        from include.feeds import NAMES

        if any(name not in NAMES for name in value) or len(set(value)) < len(value):
            raise ValueError(f"allowed: {', '.join(NAMES)} (comma separated, each once)")
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
