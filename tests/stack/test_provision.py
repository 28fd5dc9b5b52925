"""`quantstream provision` on servers that somebody else runs: from empty to ready, and once more without harm."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr
from rich.console import Console

from include.errors import ConfigError
from include.settings import Settings
from include.stack.layout import Layout
from include.stack.provision import make_pools, provision_external
from tests.conftest import Servers

pytestmark = pytest.mark.stack


@pytest.fixture
def foreign(servers: Servers, tmp_path: Path) -> Iterator[Settings]:
    """Settings for a Postgres and an AWS that run already, with nothing of ours in them."""
    mark = uuid.uuid4().hex[:8]
    server = f"@127.0.0.1:{servers.postgres_port}"
    yield Settings(
        _env_file=None, home=tmp_path / "home", postgres="external", warmup_minutes=0,
        admin_dsn=f"postgresql://postgres:{servers.passwords.postgres}{server}/postgres",
        warehouse_dsn=f"postgresql://owner_{mark}:one{server}/house_{mark}",
        analyst_dsn=f"postgresql://reader_{mark}:two{server}/house_{mark}",
        airflow_dsn=f"postgresql://airflow_{mark}:three{server}/meta_{mark}",
        aws_endpoint_url=f"http://127.0.0.1:{servers.aws_port}", stream=f"{mark}-events", bucket=f"{mark}-lake",
        topic=f"{mark}-alerts.fifo", inbox=f"{mark}-inbox.fifo",
    )  # fmt: skip
    with servers.admin() as conn:
        for database in ("house", "meta"):
            conn.execute(f'drop database if exists "{database}_{mark}" with (force)')
        for role in ("owner", "reader", "airflow"):
            conn.execute(f'drop role if exists "{role}_{mark}"')


def said_by(work: Callable[[Console], object]) -> str:
    screen = io.StringIO()
    work(Console(file=screen, width=200))
    return screen.getvalue()


def test_it_makes_everything_and_a_second_time_nothing(foreign: Settings) -> None:
    first = said_by(lambda console: provision_external(foreign, console))
    assert f"made stream {foreign.stream}, bucket {foreign.bucket}" in first
    assert "models and their docs" in first

    assert foreign.analyst_dsn is not None and foreign.airflow_dsn is not None
    with psycopg.connect(foreign.analyst_dsn.get_secret_value()) as analyst:
        assert analyst.execute("select count(*) from indicators_1m").fetchone() == (0,)
    with psycopg.connect(foreign.airflow_dsn.get_secret_value()) as airflow:
        assert airflow.execute("select slots from slot_pool where pool = 'market'").fetchone() == (4,)
    written = Layout(foreign.home).stack_env.read_text()
    assert "QUANTSTREAM_TOPIC_ARN=arn:aws:sns:" in written and "QUANTSTREAM_INBOX_URL=http" in written
    assert "postgresql://" not in written

    second = said_by(lambda console: provision_external(foreign, console))
    assert "is complete" in second and "is up to date" in second and "models and their docs" not in second
    assert make_pools(foreign) == []


def test_an_embedded_database_and_missing_addresses_are_refused(tmp_path: Path) -> None:
    console = Console(file=io.StringIO())
    embedded = Settings(_env_file=None, home=tmp_path)
    with pytest.raises(ConfigError, match="use `make up`"):
        provision_external(embedded, console)
    half = Settings(_env_file=None, home=tmp_path, postgres="external", warehouse_dsn=SecretStr("postgresql://h/d"))
    with pytest.raises(ConfigError, match="QUANTSTREAM_ANALYST_DSN, QUANTSTREAM_AIRFLOW_DSN"):
        provision_external(half, console)
