"""Airflow's generated configuration: secrets in files that only their owner reads, everything on loopback."""

import configparser
import json
import stat
from pathlib import Path

import pytest
from pydantic import SecretStr

from include.settings import ROOT, Settings
from include.stack import airflow
from include.stack.layout import Layout
from include.stack.programs import environment, programs
from include.stack.secrets import Secrets

SECRETS = Secrets.generate()


@pytest.fixture
def stack(tmp_path: Path) -> Settings:
    settings = Settings(
        _env_file=None, home=tmp_path, airflow_dsn=SecretStr("postgresql://airflow:p%40ss@127.0.0.1:1/a")
    )
    Layout(tmp_path).make()
    airflow.write_configuration(settings, SECRETS)
    return settings


def read(settings: Settings) -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(settings.home / "airflow" / "airflow.cfg")
    return parser


def test_files_with_secrets_are_for_their_owner_alone(stack: Settings) -> None:
    for name in ("airflow.cfg", "passwords.json"):
        assert stat.S_IMODE((stack.home / "airflow" / name).stat().st_mode) == 0o600
    assert json.loads((stack.home / "airflow" / "passwords.json").read_text()) == {"admin": SECRETS.admin}


def test_no_secret_is_in_the_environment_or_the_command_of_a_process(stack: Settings) -> None:
    seen = repr([environment(stack), *programs(stack, airflow=True)])
    for secret in (SECRETS.admin, SECRETS.fernet_key, SECRETS.jwt_secret, SECRETS.secret_key, SECRETS.postgres.airflow):
        assert secret not in seen


def test_a_percent_sign_survives_airflows_interpolation(stack: Settings) -> None:
    assert read(stack)["database"]["sql_alchemy_conn"] == "postgresql+psycopg2://airflow:p%40ss@127.0.0.1:1/a"


def test_everything_listens_on_loopback_only(stack: Settings) -> None:
    cfg = read(stack)
    assert cfg["api"]["host"] == cfg["scheduler"]["scheduler_health_check_server_host"] == "127.0.0.1"
    commands = {program.name: program.command for program in programs(stack, airflow=True)}
    for name in ("scheduler", "triggerer"):  # their log servers listen everywhere
        assert "--skip-serve-logs" in commands[name]


def test_tasks_find_the_dags_the_plugins_and_the_library(stack: Settings) -> None:
    cfg = read(stack)
    assert Path(cfg["core"]["dags_folder"]) == ROOT / "dags"
    assert Path(cfg["core"]["plugins_folder"]) == ROOT / "plugins"
    assert environment(stack)["PYTHONPATH"] == str(ROOT)


def test_another_airflows_environment_does_not_leak_in(stack: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", "/elsewhere")
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    found = environment(stack)
    assert found["AIRFLOW_HOME"] == str(stack.home / "airflow")
    assert "AIRFLOW__CORE__EXECUTOR" not in found


def test_a_vendors_connection_in_the_environment_reaches_the_tasks(
    stack: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_QUANTSTREAM_POLYGON", "http://:a-key@")
    monkeypatch.setenv("AIRFLOW_CONN_POSTGRES_DEFAULT", "postgres://elsewhere")
    found = environment(stack)
    assert found["AIRFLOW_CONN_QUANTSTREAM_POLYGON"] == "http://:a-key@"
    assert "AIRFLOW_CONN_POSTGRES_DEFAULT" not in found


def test_metrics_go_nowhere_unless_a_server_is_named(stack: Settings) -> None:
    assert not read(stack).getboolean("metrics", "statsd_on")
    airflow.write_configuration(stack.model_copy(update={"statsd": "metrics.example:8125"}), SECRETS)
    assert dict(read(stack)["metrics"]) == {
        "statsd_on": "True", "statsd_host": "metrics.example", "statsd_port": "8125", "statsd_prefix": "airflow",
    }  # fmt: skip


def test_writing_it_again_changes_nothing(stack: Settings) -> None:
    assert not airflow.write_configuration(stack, SECRETS)
    assert airflow.write_configuration(stack.model_copy(update={"airflow_port": 9999}), SECRETS)
