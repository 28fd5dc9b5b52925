"""The timetable of past days: runs for backfills and triggers, none by itself."""

from __future__ import annotations

import pytest
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from pendulum import DateTime, datetime

from plugins.history_days import HistoryDaysTimetable

DAYS = HistoryDaysTimetable()


def backfilled(first: DateTime, last: DateTime) -> list[str]:
    """The days of a backfill, as Airflow asks for them one after the other."""
    restriction = TimeRestriction(first, last, catchup=True)
    found: list[DagRunInfo] = []
    while True:
        before = found[-1].data_interval if found else None
        info = DAYS.next_dagrun_info(last_automated_data_interval=before, restriction=restriction)
        if info is None:
            return [f"{run.logical_date:%m-%d %H:%M}" for run in found]
        assert info.data_interval is not None
        assert info.data_interval.end == info.data_interval.start.add(days=1) == info.run_after
        found.append(info)


@pytest.mark.parametrize(
    ("first", "last", "days"),
    [
        pytest.param(
            datetime(2026, 2, 27), datetime(2026, 3, 1), ["02-27 00:00", "02-28 00:00", "03-01 00:00"], id="both ends"
        ),
        pytest.param(datetime(2026, 3, 1), datetime(2026, 3, 1), ["03-01 00:00"], id="one day"),
        pytest.param(datetime(2026, 3, 1, 12), datetime(2026, 3, 2, 12), ["03-02 00:00"], id="from the next midnight"),
        pytest.param(datetime(2026, 3, 1, 12), datetime(2026, 3, 1, 18), [], id="no day begins in it"),
        pytest.param(
            datetime(2026, 3, 28, tz="Europe/Berlin"), datetime(2026, 3, 30, tz="Europe/Berlin"),
            ["03-28 00:00", "03-29 00:00"], id="days are of UTC, over a change of clocks elsewhere too",
        ),
    ],
)  # fmt: skip
def test_a_backfill_has_a_run_for_every_day_that_begins_in_its_range(
    first: DateTime, last: DateTime, days: list[str]
) -> None:
    assert backfilled(first, last) == days


@pytest.mark.parametrize("last", [None, DataInterval(datetime(2026, 3, 1), datetime(2026, 3, 2))])
def test_the_scheduler_makes_no_run_by_itself(last: DataInterval | None) -> None:
    for earliest in (None, datetime(2020, 1, 1)):
        restriction = TimeRestriction(earliest, None, catchup=False)
        assert DAYS.next_dagrun_info(last_automated_data_interval=last, restriction=restriction) is None


@pytest.mark.parametrize(
    "run_after", [datetime(2026, 3, 2), datetime(2026, 3, 2, 23, 59), datetime(2026, 3, 3, 1, tz="Africa/Cairo")]
)
def test_by_hand_it_is_the_last_whole_day(run_after: DateTime) -> None:
    assert DAYS.infer_manual_data_interval(run_after=run_after) == (datetime(2026, 3, 1), datetime(2026, 3, 2))


def test_airflow_stores_and_reads_it() -> None:
    assert HistoryDaysTimetable.deserialize(DAYS.serialize()).summary == "Past days, by backfill or by hand"
