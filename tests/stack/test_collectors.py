"""Collectors as programs of the stack: started for the exchanges that the settings name, kept alive, stopped first."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from include.settings import Settings
from include.stack import leftovers, services
from include.stack.programs import COLLECTORS, STOP_ORDER, Program, programs
from include.stack.supervision import Supervisor
from tests.conftest import free_port, make_aws, wait_until


def named(settings: Settings, *, airflow: bool = True) -> list[str]:
    return [program.name for program in programs(settings, airflow=airflow) if program.name.startswith("collect")]


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(Settings(_env_file=None, home=tmp_path))
    made.layout.make()
    yield made
    if made.answers():
        made.shutdown()
    leftovers.clear(made.layout)


def sleepers() -> list[Program]:
    code = "import time; time.sleep(600)"
    return [Program(name, (sys.executable, "-c", code)) for name in COLLECTORS.values()]


def test_there_is_a_program_for_each_exchange_that_is_collected() -> None:
    assert named(Settings(_env_file=None)) == []
    settings = Settings(_env_file=None, collect="binance,kraken")
    assert named(settings) == ["collect-binance", "collect-kraken"]
    assert named(settings, airflow=False) == [], "nobody would land what it sends"
    (program,) = [one for one in programs(settings, airflow=True) if one.name == "collect-kraken"]
    assert program.command == (sys.executable, "-m", "include.cli", "collect", "kraken")


def test_collectors_stop_before_the_stream_that_they_empty_themselves_into() -> None:
    assert STOP_ORDER[0] == tuple(COLLECTORS.values())


def test_those_that_are_not_wanted_any_more_are_stopped(supervisor: Supervisor) -> None:
    supervisor.start(sleepers())
    both = supervisor.settings.model_copy(update={"collect": ["binance", "kraken"]})
    assert services.start_collectors(both, supervisor) == ["collect-binance", "collect-kraken"]
    assert services.start_collectors(both, supervisor) == [], "they run already"
    one = supervisor.settings.model_copy(update={"collect": ["kraken"]})
    assert services.start_collectors(one, supervisor) == []
    assert {name for name, process in supervisor.processes().items() if process.running} == {"collect-kraken"}


def test_other_code_means_a_new_start(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor.start(sleepers())
    one = supervisor.settings.model_copy(update={"collect": ["kraken"]})
    services.start_collectors(one, supervisor)
    monkeypatch.setattr(services, "fingerprint", lambda files: "other code")
    assert services.start_collectors(one, supervisor) == ["collect-kraken"]


def test_a_collector_that_cannot_reach_its_vendor_goes_on_trying_and_stops_properly(
    make_settings: Callable[..., Settings], supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = f"ws://127.0.0.1:{free_port()}"
    settings = make_settings(collect="binance", binance_feed_url=nowhere, binance_url=nowhere.replace("ws", "http"))
    assert settings.warehouse_dsn is not None
    make_aws()
    for name, value in {
        "WAREHOUSE_DSN": settings.warehouse_dsn.get_secret_value(), "STREAM": settings.stream,
        "AWS_ENDPOINT_URL": settings.aws_endpoint_url, "BINANCE_FEED_URL": nowhere, "ENV_FILE": "",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"QUANTSTREAM_{name}", str(value))
    supervisor.start([one for one in programs(settings, airflow=True) if one.name == "collect-binance"])
    assert services.start_collectors(settings.model_copy(update={"home": supervisor.layout.home}), supervisor)
    log = Path(supervisor.log_file("collect-binance"))
    wait_until(lambda: log.exists() and "next attempt in" in log.read_text(), 30, "it has tried to connect")
    wait_until(lambda: supervisor.processes()["collect-binance"].state == "RUNNING", 10, "it counts as running")
    supervisor.stop_programs(["collect-binance"])
    assert "binance: 0 events taken in, 0 sent" in log.read_text()
