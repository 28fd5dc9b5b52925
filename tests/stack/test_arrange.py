"""Ports and addresses are decided and written down before anything starts."""

import os
import socket
import stat
from pathlib import Path

import pytest

from include.errors import ConfigError
from include.settings import Settings, load_settings
from include.stack.arrange import arrange, write_stack_env
from include.stack.layout import Layout
from include.stack.secrets import Secrets
from tests.conftest import free_port

SECRETS = Secrets.generate()


def settings(tmp_path: Path, **overrides: object) -> Settings:
    ports = {"postgres_port": free_port(), "aws_port": free_port(), "airflow_port": free_port()}
    return Settings(_env_file=None, home=tmp_path, **(ports | overrides))


def test_what_was_arranged_is_what_every_process_reads(tmp_path: Path) -> None:
    arranged, notes = arrange(settings(tmp_path), SECRETS, running=(), airflow=True)
    arranged = arranged.model_copy(update={"topic_arn": "arn:x", "inbox_url": "http://inbox"})
    write_stack_env(arranged)
    assert notes == []
    assert load_settings(home=tmp_path) == arranged.model_copy(update={"owner_dsn": None})  # that is for `up` alone
    assert SECRETS.postgres.owner not in Layout(tmp_path).stack_env.read_text()
    assert stat.S_IMODE(Layout(tmp_path).stack_env.stat().st_mode) == 0o600


def test_a_strangers_port_is_avoided_and_said_so(tmp_path: Path) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        arranged, notes = arrange(settings(tmp_path, aws_port=port), SECRETS, running=(), airflow=True)
    assert arranged.aws_port != port
    assert f":{arranged.aws_port}" in str(arranged.aws_endpoint_url)
    assert [note for note in notes if f"port {port} is in use" in note and f"aws takes {arranged.aws_port}" in note]


def test_what_runs_already_keeps_its_port(tmp_path: Path) -> None:
    with socket.socket() as ours:
        ours.bind(("127.0.0.1", 0))
        ours.listen()
        port = ours.getsockname()[1]
        arranged, notes = arrange(settings(tmp_path, postgres_port=port), SECRETS, running={"postgres"}, airflow=True)
    assert (arranged.postgres_port, notes) == (port, [])


def test_airflows_port_does_not_matter_when_airflow_is_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        monkeypatch.setenv("QUANTSTREAM_AIRFLOW_PORT", str(port))
        assert arrange(settings(tmp_path, airflow_port=port), SECRETS, running=(), airflow=False)
        with pytest.raises(ConfigError, match="QUANTSTREAM_AIRFLOW_PORT"):
            arrange(settings(tmp_path, airflow_port=port), SECRETS, running=(), airflow=True)


def test_an_external_database_needs_its_addresses(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"set QUANTSTREAM_WAREHOUSE_DSN, .*QUANTSTREAM_AIRFLOW_DSN"):
        arrange(settings(tmp_path, postgres="external"), SECRETS, running=(), airflow=True)


def test_an_own_address_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "QUANTSTREAM_AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    mine = settings(tmp_path, aws_endpoint_url="http://127.0.0.1:1")
    assert arrange(mine, SECRETS, running=(), airflow=False)[0].aws_endpoint_url == "http://127.0.0.1:1"
