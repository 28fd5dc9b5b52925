"""What a rebuild compares its marts with, where the platform went on until it began."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from include.commands.rebuild import pause_between_minutes
from include.events import Window
from include.pipeline.cycle import catch_up, process, run_cycle
from include.pipeline.gaps import find_gaps
from include.pipeline.pull import pull
from include.pipeline.rebuild import RebuildProgress, rebuild
from include.settings import Settings
from include.stack.airflow_api import Dag
from tests import processes
from tests.replay.minutes import do, query

pytestmark = pytest.mark.stack

MINUTE = timedelta(minutes=1)
FILLED = "select count(*), max(candle_start) from marts.candles_1m_filled where candle_start < '2100-01-01'"


@pytest.fixture
def lives(make_settings: Callable[..., Settings], template_marts: str) -> Settings:
    """Five minutes were searched for gaps; one more came after that."""
    now = this_minute()
    made = make_settings(template=template_marts, simulator_trades_per_minute=2)
    assert not catch_up(made, minutes=5, until=now - MINUTE).failures
    find_gaps(made)
    assert not run_cycle(made, Window(now - MINUTE, now)).failures
    return made


def this_minute() -> datetime:
    return datetime.now(UTC).replace(second=0, microsecond=0)


def test_the_search_for_gaps_is_brought_up_to_the_moment_that_is_compared(lives: Settings) -> None:
    """Candles that are filled end where gaps were last searched: before and after, that is the same moment."""
    before = query(lives, FILLED)
    report = rebuild(lives)
    assert (report.changed, report.notes) == ([], ())
    assert query(lives, FILLED) > before


def test_a_minute_that_is_asked_for_meanwhile_is_no_gap_yet(lives: Settings) -> None:
    asked: list[Window] = []

    def pulled(now: RebuildProgress) -> None:
        if now.phase == "transform" and not asked:
            asked.append(Window(this_minute() + 29 * MINUTE, this_minute() + 30 * MINUTE))
            do(
                lives,
                "insert into ops.outcomes (at, step, source, ok, seconds, window_start, window_end) "
                "values (%s, 'pull', 'simulator', true, 1, %s, %s)",
                asked[0].end, asked[0].start, asked[0].end,
            )  # fmt: skip

    report = rebuild(lives, progress=pulled)
    assert asked and report.changed == []


def test_what_waited_to_be_built_is_in_it_and_that_is_said(lives: Settings) -> None:
    pull(lives, "simulator", Window(this_minute(), this_minute() + MINUTE))
    assert not [step for step in process(lives, only=("land", "load", "audit")) if step.error]
    ended = processes.run(lambda: rebuild(lives), {"QUANTSTREAM_CRASH_AT": "before_rebuild_phase"})
    assert ended.killed
    report = rebuild(lives)
    assert "1 loads waited for the next build" in report.notes[0]
    assert {line.split(":")[0] for line in report.changed} >= {"marts.candles_1m", "marts.trades"}


def test_marts_that_no_search_can_read_are_compared_as_they_are(lives: Settings) -> None:
    do(lives, "alter table marts.candles_1m rename column candle_start to begins")
    report = rebuild(lives)
    assert "gaps could not be searched" in report.notes[0]
    assert [line.split(":")[0] for line in report.changed] == ["marts.candles_1m_filled"]


@dataclass
class Airflow:
    """Runs of the minute begin and end as told: one entry for each look. DAGs are paused and started again."""

    active: Iterator[int]
    paused: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)

    def dags(self) -> dict[str, Dag]:
        names = ("market_ingest", "market_transform", "platform_upkeep")
        return {name: Dag(name, name in self.paused) for name in names}

    def pause(self, dag_id: str) -> None:
        self.paused.add(dag_id)
        self.calls.append(f"pause {dag_id}")

    def unpause(self, dag_id: str) -> None:
        self.paused.discard(dag_id)
        self.calls.append(f"unpause {dag_id}")

    def active_runs(self, dag_ids: Sequence[str]) -> int:
        assert "market_ingest" in dag_ids
        return next(self.active)


def test_the_minute_under_way_ends_before_the_dags_are_paused() -> None:
    airflow, said = Airflow(iter([1, 1, 0, 0])), []
    paused = pause_between_minutes(airflow, lambda: 0, said.append, patience=5, pause=0.01)
    assert paused == ["market_ingest", "market_transform", "platform_upkeep"] == sorted(airflow.paused)
    assert len(airflow.calls) == 3
    assert said == ["waiting for the minute under way"]


def test_a_minute_that_begins_in_between_is_let_go_on() -> None:
    airflow = Airflow(iter([0, 1, 1, 0, 0]))
    pause_between_minutes(airflow, lambda: 0, lambda _: None, patience=5, pause=0.01)
    assert len(airflow.paused) == 3
    assert airflow.calls[3:6] == ["unpause market_ingest", "unpause market_transform", "unpause platform_upkeep"]


def test_what_waits_for_the_next_step_is_waited_for_but_not_for_ever() -> None:
    waiting = iter([2, 1, 0, 0])
    airflow = Airflow(iter([0] * 9))
    pause_between_minutes(airflow, lambda: next(waiting), lambda _: None, patience=5, pause=0.01)
    assert len(airflow.paused) == 3 and next(waiting, None) is None

    stuck, said = Airflow(iter([0] * 10_000)), []
    pause_between_minutes(stuck, lambda: 1, said.append, patience=0.05, pause=0.01)
    assert len(stuck.paused) == 3
    assert "it did not end within" in said[-1]
