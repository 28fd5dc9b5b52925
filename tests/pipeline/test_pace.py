"""How long a cycle takes, read off the outcomes; and whether the cadence leaves it that long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from include.pipeline.pace import Pace, pace
from include.settings import Settings
from include.warehouse.db import connect

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def outcome(
    conn: psycopg.Connection,
    step: str,
    ended: float,
    seconds: float,
    run: str,
    *,
    ok: bool = True,
    accepted: int = 1,
    lane: str | None = None,
) -> None:
    """A step that ended so many seconds after NOW and took so many; an audit accepted so many loads."""
    conn.execute(
        "insert into ops.outcomes (step, at, seconds, run_id, ok, detail) "
        "values (%s, %s, %s, %s, %s, jsonb_strip_nulls(jsonb_build_object('accepted', %s::int, 'lane', %s::text)))",
        [step, NOW + timedelta(seconds=ended), seconds, run, ok, accepted if step == "audit" else None, lane],
    )


def test_a_cycle_is_from_the_beginning_of_its_pull_to_the_end_of_its_notify(settings: Settings) -> None:
    """The transform that was running when the loads were accepted did not take them: the next one did."""
    with connect(settings) as conn:
        outcome(conn, "pull", ended=3, seconds=2, run="scheduled__1")
        outcome(conn, "audit", ended=5, seconds=1, run="scheduled__1")
        outcome(conn, "transform", ended=6, seconds=4, run="asset__before")
        outcome(conn, "notify", ended=7, seconds=1, run="asset__before")
        assert pace(conn, NOW + timedelta(minutes=1)) is None
        outcome(conn, "transform", ended=10, seconds=3, run="asset__1")
        outcome(conn, "notify", ended=13, seconds=1, run="asset__1", ok=False)
        outcome(conn, "notify", ended=16, seconds=1, run="asset__1")
        found = pace(conn, NOW + timedelta(minutes=1))
    assert found == Pace(cycles=1, last=15.0, p50=15.0, p95=15.0)


def test_a_slice_of_history_is_no_cycles_transform(settings: Settings) -> None:
    """It began when the loads were being accepted, and took none of them: the live batch after it did."""
    with connect(settings) as conn:
        outcome(conn, "pull", ended=3, seconds=2, run="scheduled__1")
        outcome(conn, "audit", ended=5, seconds=1, run="scheduled__1")
        outcome(conn, "transform", ended=9, seconds=4.5, run="asset__1", lane="history")
        outcome(conn, "transform", ended=12, seconds=3, run="asset__1", lane="live")
        outcome(conn, "notify", ended=14, seconds=1, run="asset__1")
        outcome(conn, "transform", ended=16, seconds=4, run="asset__2", lane="history")
        assert pace(conn, NOW + timedelta(minutes=1)) == Pace(cycles=1, last=13.0, p50=13.0, p95=13.0)


def test_an_interval_in_which_nothing_came_is_no_cycle(settings: Settings) -> None:
    """Its vendors were away; the next transform, twenty minutes later, is another interval's."""
    with connect(settings) as conn:
        outcome(conn, "pull", ended=1, seconds=1, run="scheduled__1", ok=False)
        outcome(conn, "audit", ended=2, seconds=1, run="scheduled__1", accepted=0)
        outcome(conn, "pull", ended=1201, seconds=1, run="scheduled__2")
        outcome(conn, "audit", ended=1202, seconds=1, run="scheduled__2")
        outcome(conn, "transform", ended=1204, seconds=1, run="asset")
        outcome(conn, "notify", ended=1205, seconds=1, run="asset")
        found = pace(conn, NOW + timedelta(minutes=30))
    assert found == Pace(cycles=1, last=5.0, p50=5.0, p95=5.0)


def test_the_newest_cycles_count_and_not_what_people_ran_by_hand(settings: Settings) -> None:
    with connect(settings) as conn:
        for number, took in enumerate([99.0, *map(float, range(1, 21))]):
            begun = number * 60
            outcome(conn, "pull", begun + 0.1, 0.1, f"scheduled__{number:02}")
            outcome(conn, "audit", begun + 0.2, 0.1, f"scheduled__{number:02}")
            outcome(conn, "transform", begun + 0.3, 0.1, "asset")
            outcome(conn, "notify", begun + took if took < 60 else begun + 59, 0.1, "asset")
            outcome(conn, "pull", begun + 30, 25, "manual__")
        found = pace(conn, NOW + timedelta(minutes=30), most=20)
    assert found == Pace(cycles=20, last=20.0, p50=11.0, p95=20.0)


@pytest.mark.parametrize(
    ("cadence", "cycles", "p95", "fits"),
    [(10, 30, 9.9, True), (10, 30, 10.1, False), (60, 30, 10.1, True), (10, 4, 30.0, True), (10, 5, 30.0, False)],
)
def test_a_cadence_fits_if_95_of_100_cycles_do(cadence: int, cycles: int, p95: float, fits: bool) -> None:
    settings = Settings(_env_file=None, cadence_seconds=cadence)
    assert Pace(cycles, 5.0, 5.0, p95).fits(settings) is fits


def test_the_longest_cadence_has_another_remedy() -> None:
    said = Pace(30, 70.0, 65.0, 72.5).warning(Settings(_env_file=None))
    assert said.startswith(
        "a cycle takes up to 72.5 s (95 of 100 of the last 30), more than the 60 s of QUANTSTREAM_CADENCE"
    )
    assert said.endswith("intervals may be missed; pull fewer instruments, or give it more cores")


def test_the_only_cycle_there_is_is_the_first_one() -> None:
    said = Pace(1, 11.6, 11.6, 11.6).warning(Settings(_env_file=None, cadence_seconds=10))
    assert said.startswith("a cycle takes up to 11.6 s (the first one), more than the 10 s")


def test_of_a_few_cycles_the_slowest_is_named() -> None:
    said = Pace(3, 14.0, 13.0, 15.5).warning(Settings(_env_file=None, cadence_seconds=10))
    assert said.startswith("a cycle takes up to 15.5 s (the slowest of 3), more than the 10 s")
