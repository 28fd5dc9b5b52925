"""The whole platform, as `make up` starts it: one Airflow for all tests here."""

from contextlib import suppress

import httpx
import psutil
import pytest

from include.settings import Settings
from include.stack.airflow import DAGS, HISTORY_DAGS, url
from include.stack.layout import Layout
from include.stack.secrets import load_secrets
from include.stack.status import read_status
from include.stack.supervision import Supervisor

pytestmark = [pytest.mark.airflow, pytest.mark.stack, pytest.mark.timeout(600)]


def test_after_up_every_dag_ran_and_all_processes_are_healthy(platform: Settings) -> None:
    found = read_status(platform)
    assert {process.name: process.state for process in found.processes if process.state != "RUNNING"} == {}
    assert sorted(found.runs) == sorted((*DAGS, *HISTORY_DAGS))
    assert all(found.runs[dag_id] for dag_id in DAGS)
    assert found.newest_candle is not None
    assert found.lag is not None


def test_the_dbt_docs_and_the_data_docs_are_served(platform: Settings) -> None:
    for path in ("/cosmos/quantstream/dbt_docs_index.html", "/data-docs/index.html"):
        answer = httpx.get(url(platform) + path, timeout=30, follow_redirects=True, trust_env=False)
        assert (path, answer.status_code) == (path, 200)
        assert "<html" in answer.text


def test_the_password_is_not_in_any_log(platform: Settings) -> None:
    secrets = load_secrets(Layout(platform.home))
    logs = "".join(path.read_text(errors="replace") for path in Layout(platform.home).logs.glob("*.log"))
    for secret in (secrets.admin, secrets.jwt_secret, secrets.fernet_key, secrets.postgres.quantstream):
        assert secret not in logs


def test_nothing_listens_beyond_loopback(platform: Settings) -> None:
    daemon = psutil.Process(Supervisor(platform).pid())
    listening = []
    for process in [daemon, *daemon.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):  # a task that ended meanwhile
            found = process.net_connections(kind="inet")
            listening += [connection.laddr for connection in found if connection.status == psutil.CONN_LISTEN]
    assert len(listening) >= 3
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_the_scheduler_says_what_it_has_warmed_up(platform: Settings) -> None:
    log = (Layout(platform.home).logs / "scheduler.log").read_text(errors="replace")
    assert "dbt is warm after" in log
    assert "Great Expectations is warm after" in log
    assert "is not warm" not in log
