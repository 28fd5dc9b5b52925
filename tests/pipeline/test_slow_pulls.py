"""The landing waits for the pulls of its run, but not for a slow one. The cadence is a minute: patience is 5 s."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from include.pipeline.waiting import pulls_came_late, wait_for_pulls
from include.settings import Settings
from include.warehouse import outcomes
from include.warehouse.db import connect


@dataclass
class Run:
    """A run whose pulls end at these seconds; the clock moves only while the landing sleeps."""

    settings: Settings
    ends: dict[str, float]
    now: float = 0.0
    ended: set[str] = field(default_factory=set)

    def wait(self) -> tuple[tuple[str, ...], float]:
        """Who was not waited for, and how many seconds the landing waited."""
        self._end_pulls()
        late = wait_for_pulls(self.settings, "run", clock=lambda: self.now, sleep=self._sleep)
        return late, round(self.now, 3)

    def _sleep(self, seconds: float) -> None:
        self.now += 0.5 if seconds < 0.5 else seconds
        self._end_pulls()

    def _end_pulls(self) -> None:
        with connect(self.settings) as conn:
            for source, end in self.ends.items():
                if end <= self.now and source not in self.ended:
                    self.ended.add(source)
                    outcomes.record(conn, "pull", ok=end != 7, source=source, seconds=end, run_id="run")


@pytest.fixture
def several(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(sources=["yahoo", "binance", "kraken"])


@pytest.mark.parametrize(
    ("ends", "late", "waited"),
    [
        ({"yahoo": 1, "binance": 1, "kraken": 1}, (), 1),
        ({"yahoo": 1, "binance": 4, "kraken": 5.5}, (), 5.5),
        ({"yahoo": 1, "binance": 1, "kraken": 20}, ("kraken",), 6),
        ({"yahoo": 1, "binance": 25, "kraken": 20}, ("binance", "kraken"), 6),
        ({"yahoo": 7, "binance": 7, "kraken": 7}, (), 7),
        ({}, ("yahoo", "binance", "kraken"), 30),
    ],
    ids=["all quick", "all within 5 s of the first", "one slow", "two slow", "all failed", "none ever ends"],
)
def test_it_waits_for_the_quick_ones(
    several: Settings, ends: dict[str, float], late: tuple[str, ...], waited: float
) -> None:
    assert Run(several, ends).wait() == (late, waited)


def before(settings: Settings, seconds: dict[str, float]) -> None:
    """The pulls of the run before, and how long they took."""
    with connect(settings) as conn:
        for source, took in seconds.items():
            outcomes.record(conn, "pull", ok=True, source=source, seconds=took, run_id="the run before")


def test_one_that_was_slow_the_last_time_delays_nobody(several: Settings) -> None:
    before(several, {"yahoo": 1, "binance": 1, "kraken": 16})
    assert Run(several, {"yahoo": 1, "binance": 1, "kraken": 16}).wait() == (("kraken",), 1)


def test_one_that_failed_the_last_time_delays_nobody(several: Settings) -> None:
    with connect(several) as conn:
        outcomes.record(conn, "pull", ok=False, source="kraken", seconds=4, run_id="the run before")
    assert Run(several, {"yahoo": 1, "binance": 1, "kraken": 5}).wait() == (("kraken",), 1)


def test_where_all_were_slow_the_first_is_waited_for(several: Settings) -> None:
    before(several, {"yahoo": 8, "binance": 9, "kraken": 16})
    assert Run(several, {"yahoo": 8, "binance": 9, "kraken": 16}).wait() == (("kraken",), 13)


@pytest.mark.parametrize(
    ("steps", "late"),
    [
        (["pull", "pull", "land"], False),
        (["pull", "land", "pull"], True),
        (["pull"], True),
        (["land"], True),
        (["pull", "land", "pull", "land"], False),
    ],
    ids=["all in time", "one came late", "the landing failed", "no pull has said how it ended", "landed again since"],
)
def test_there_is_more_to_land_if_a_pull_ended_after_the_landing_began(
    several: Settings, steps: list[str], late: bool
) -> None:
    with connect(several) as conn:
        for step in steps:
            outcomes.record(conn, step, ok=True, seconds=0, run_id="run")
    assert pulls_came_late(several, "run") is late
