"""What the tasks tell a StatsD server through Airflow: the stream's lag and how long a cycle took."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from include.pipeline import land as land_step
from include.pipeline import notify, pace
from include.pipeline.land import LandReport

Heard = Callable[[], set[str]]


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Heard]:
    """A StatsD server (a UDP socket), named in Airflow's configuration; what it hears until it is silent."""
    from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics.stats_utils import get_stats_factory

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.2)
        for name, value in {"ON": "True", "HOST": "127.0.0.1", "PORT": str(server.getsockname()[1])}.items():
            monkeypatch.setenv(f"AIRFLOW__METRICS__STATSD_{name}", value)
        stats.initialize(factory=get_stats_factory(), export_legacy_names=False)  # as Airflow does before each task

        def listen() -> set[str]:
            lines: set[str] = set()
            while True:
                try:
                    lines.update(server.recv(65_536).decode().splitlines())
                except TimeoutError:
                    return lines

        yield listen
        stats.initialize(factory=NoStatsLogger, export_legacy_names=False)


def test_land_tells_how_far_the_stream_is_behind(
    dags: dict[str, Any], heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        land_step, "land", lambda settings, run_id: LandReport(millis_behind=41_500, records_behind=12_345)
    )
    dags["market_ingest"].get_task("land").python_callable(run_id="scheduled__1")
    assert heard() == {
        "airflow.quantstream.stream.seconds_behind:41.5|g", "airflow.quantstream.stream.records_behind:12345|g",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(12.25, {"airflow.quantstream.cycle.seconds:12.25|g"}), (None, set())],
    ids=["a whole cycle", "no cycle went all the way yet"],
)
def test_notify_tells_how_long_the_newest_cycle_took(
    dags: dict[str, Any], heard: Heard, monkeypatch: pytest.MonkeyPatch, seconds: float | None, expected: set[str]
) -> None:
    monkeypatch.setattr(notify, "notify", lambda settings, run_id: None)
    monkeypatch.setattr(pace, "last_cycle_seconds", lambda settings: seconds)
    dags["market_detect"].get_task("notify").python_callable(run_id="asset__1")
    assert heard() == expected
