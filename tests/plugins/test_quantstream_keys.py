"""Keys out of Airflow's connections: only where one is needed, and never over what the settings say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk import Connection

from include.settings import Settings
from plugins.quantstream_keys import settings_with_keys


def given(**values: Any) -> Settings:
    return Settings(_env_file=None, **values)


def connection(monkeypatch: pytest.MonkeyPatch, source: str, **fields: Any) -> None:
    """A connection as Airflow finds it in the environment."""
    monkeypatch.setenv(f"AIRFLOW_CONN_QUANTSTREAM_{source.upper()}", json.dumps(fields))


def key(settings: Settings, source: str) -> str | None:
    secret = getattr(settings, f"{source}_api_key")
    return secret.get_secret_value() if secret else None


def test_the_password_of_the_connection_is_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    connection(monkeypatch, "polygon", conn_type="http", password="pk-s3cret")
    found = settings_with_keys(given(), "polygon")
    assert (key(found, "polygon"), found.polygon_url) == ("pk-s3cret", "https://api.polygon.io")
    assert "pk-s3cret" not in repr(found)


def test_a_connection_may_be_an_address_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_QUANTSTREAM_ALPHAVANTAGE", "https://:av-s3cret@proxy.example:8443")
    found = settings_with_keys(given(), "alphavantage")
    assert (key(found, "alphavantage"), found.alphavantage_url) == ("av-s3cret", "https://proxy.example:8443")


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"host": "polygon.example"}, "https://polygon.example"),
        ({"host": "polygon.example", "schema": "http", "port": 8080}, "http://polygon.example:8080"),
        ({"host": "http://polygon.example/v9"}, "http://polygon.example/v9"),
        ({"host": "polygon.example", "conn_type": "generic"}, "https://polygon.example"),
    ],
)
def test_the_host_is_an_address(monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], url: str) -> None:
    connection(monkeypatch, "polygon", password="pk-s3cret", **fields)
    assert settings_with_keys(given(), "polygon").polygon_url == url


def test_a_key_in_the_settings_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    connection(monkeypatch, "polygon", password="of the connection")
    assert key(settings_with_keys(given(polygon_api_key="of the settings"), "polygon"), "polygon") == "of the settings"


@pytest.mark.parametrize(("source", "plan"), [("coingecko", "demo"), ("coingecko", "pro")])
def test_a_plan_with_a_key_gets_it(monkeypatch: pytest.MonkeyPatch, source: str, plan: str) -> None:
    connection(monkeypatch, source, password="CG-s3cret")
    assert key(settings_with_keys(given(coingecko_plan=plan), source), source) == "CG-s3cret"


@pytest.mark.parametrize("source", ["simulator", "yahoo", "binance", "coinbase", "kraken", "coingecko"])
def test_nothing_is_looked_up_for_who_needs_no_key(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    asked: list[str] = []
    monkeypatch.setattr(Connection, "get", asked.append)
    settings = given()
    assert settings_with_keys(settings, source) is settings
    assert asked == []


def test_without_a_connection_the_settings_stay_as_they_are() -> None:
    settings = given()
    assert settings_with_keys(settings, "polygon") is settings
