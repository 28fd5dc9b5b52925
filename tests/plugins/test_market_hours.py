"""The timetable of `market_ingest`: which runs Airflow makes, over clock changes, half days, holidays and weekends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from airflow.exceptions import AirflowTimetableInvalid
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from hypothesis import given, settings
from hypothesis import strategies as st
from pendulum import DateTime, instance

from include.calendars import sessions
from include.events import Window
from plugins import market_hours
from plugins.market_hours import MarketHoursTimetable


def at(text: str) -> DateTime:
    """`2026-03-06 14:30` in UTC."""
    return instance(datetime.fromisoformat(text).replace(tzinfo=UTC))


def catching_up(timetable: MarketHoursTimetable, first: str, last: str) -> Iterator[DagRunInfo]:
    """The runs of a DAG with catchup, as the scheduler asks for them one after the other."""
    restriction = TimeRestriction(at(first), at(last), catchup=True)
    info = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=restriction)
    while info is not None:
        yield info
        info = timetable.next_dagrun_info(last_automated_data_interval=info.data_interval, restriction=restriction)


def spans(runs: list[DagRunInfo]) -> list[str]:
    """What the intervals cover, with neighbours joined; and that each is due as it ends."""
    joined: list[list[DateTime]] = []
    for run in runs:
        assert run.data_interval is not None
        start, end = run.data_interval
        assert run.run_after == end
        assert not joined or joined[-1][1] <= start, "intervals overlap"
        if joined and joined[-1][1] == start:
            joined[-1][1] = end
        else:
            joined.append([start, end])
    return [f"{start:%a %m-%d %H:%M}-{end:%H:%M}" for start, end in joined]


@pytest.mark.parametrize(
    ("first", "last", "expected", "minutes"),
    [
        pytest.param(
            "2026-03-06", "2026-03-10", ["Fri 03-06 14:30-21:00", "Mon 03-09 13:30-20:00"], 2 * 390,
            id="the week of the clock change in March",
        ),
        pytest.param(
            "2026-10-30", "2026-11-03", ["Fri 10-30 13:30-20:00", "Mon 11-02 14:30-21:00"], 2 * 390,
            id="the week of the clock change in November",
        ),
        pytest.param(
            "2026-11-25", "2026-11-28", ["Wed 11-25 14:30-21:00", "Fri 11-27 14:30-18:00"], 390 + 210,
            id="Thanksgiving and the half day after it",
        ),
        pytest.param(
            "2026-12-31", "2027-01-05", ["Thu 12-31 14:30-21:00", "Mon 01-04 14:30-21:00"], 2 * 390,
            id="the end of the year",
        ),
        pytest.param("2026-03-07", "2026-03-09", [], 0, id="a weekend"),
    ],
)  # fmt: skip
def test_with_catchup_every_open_minute_has_its_run(first: str, last: str, expected: list[str], minutes: int) -> None:
    runs = list(catching_up(MarketHoursTimetable(["XNYS"], 60), first, last))
    assert spans(runs) == expected
    assert len(runs) == minutes


def test_extended_hours_and_shorter_intervals() -> None:
    runs = list(catching_up(MarketHoursTimetable(["XNYS"], 10, extended=True), "2026-11-27", "2026-11-28"))
    assert spans(runs) == ["Fri 11-27 09:00-22:00"]
    assert len(runs) == 13 * 360


def test_what_never_closes_has_every_interval() -> None:
    runs = list(catching_up(MarketHoursTimetable(["24/7", "XNYS"], 30), "2026-03-07 23:59:00", "2026-03-08 00:00:30"))
    assert [f"{run.run_after:%H:%M:%S}" for run in runs] == ["23:59:30", "00:00:00", "00:00:30", "00:01:00"]


def test_a_start_date_inside_an_interval_begins_with_the_next_one() -> None:
    (run, *_) = catching_up(MarketHoursTimetable(["XNYS"], 60), "2026-03-09 13:45:20", "2026-03-09 14:00")
    assert run.data_interval == DataInterval(at("2026-03-09 13:46"), at("2026-03-09 13:47"))


def next_without_catchup(
    monkeypatch: pytest.MonkeyPatch, now: str, last: tuple[str, str] | None, start_date: str | None = None
) -> str:
    monkeypatch.setattr(market_hours, "_now", lambda: at(now))
    before = DataInterval(at(last[0]), at(last[1])) if last else None
    restriction = TimeRestriction(at(start_date) if start_date else None, None, catchup=False)
    info = MarketHoursTimetable(["XNYS"], 60).next_dagrun_info(
        last_automated_data_interval=before, restriction=restriction
    )
    assert info is not None
    assert info.data_interval is not None
    return f"{info.data_interval.start:%a %m-%d %H:%M}"


@pytest.mark.parametrize(
    ("now", "last", "expected"),
    [
        pytest.param("2026-03-09 15:00:20", None, "Mon 03-09 14:59", id="the first run: the interval that ended last"),
        pytest.param("2026-03-08 12:00", None, "Fri 03-06 20:59", id="the first run on a Sunday: the last of Friday"),
        pytest.param(
            "2026-03-09 15:00:20", ("2026-03-09 14:59", "2026-03-09 15:00"), "Mon 03-09 15:00", id="then the next"
        ),
        pytest.param(
            "2026-03-09 15:10:20", ("2026-03-09 14:59", "2026-03-09 15:00"), "Mon 03-09 15:09", id="a late one skips"
        ),
        pytest.param(
            "2026-03-06 21:00:05", ("2026-03-06 20:59", "2026-03-06 21:00"), "Mon 03-09 13:30", id="over the weekend"
        ),
        pytest.param(
            "2026-11-27 18:00:05", ("2026-11-27 17:59", "2026-11-27 18:00"), "Mon 11-30 14:30", id="after the half day"
        ),
        pytest.param(
            "2026-03-09 15:00:20", ("2026-03-09 14:59:20", "2026-03-09 14:59:30"), "Mon 03-09 15:00",
            id="a longer interval than before does not reach back into what was pulled",
        ),
    ],
)  # fmt: skip
def test_without_catchup_the_latest_open_interval_is_next(
    monkeypatch: pytest.MonkeyPatch, now: str, last: tuple[str, str] | None, expected: str
) -> None:
    assert next_without_catchup(monkeypatch, now, last) == expected


def test_a_start_date_in_the_future_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert next_without_catchup(monkeypatch, "2026-03-09 15:00", None, "2026-03-13 19:00") == "Fri 03-13 19:00"
    assert next_without_catchup(monkeypatch, "2026-03-09 15:00", None, "2026-03-13 20:00") == "Mon 03-16 13:30"


def test_after_the_end_date_there_is_no_run() -> None:
    restriction = TimeRestriction(at("2026-03-06 21:00"), at("2026-03-09 13:29"), catchup=True)
    timetable = MarketHoursTimetable(["XNYS"], 60)
    assert timetable.next_dagrun_info(last_automated_data_interval=None, restriction=restriction) is None


def test_with_catchup_and_nothing_to_begin_with_there_is_no_run() -> None:
    restriction = TimeRestriction(None, None, catchup=True)
    timetable = MarketHoursTimetable(["XNYS"], 60)
    assert timetable.next_dagrun_info(last_automated_data_interval=None, restriction=restriction) is None


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("2026-03-09 15:00:20", ("2026-03-09 14:59", "2026-03-09 15:00")),
        ("2026-03-09 15:00:00", ("2026-03-09 14:59", "2026-03-09 15:00")),
        ("2026-03-08 12:00:00", ("2026-03-06 20:59", "2026-03-06 21:00")),
        ("2026-03-09 13:30:30", ("2026-03-06 20:59", "2026-03-06 21:00")),
    ],
)
def test_a_run_started_by_hand_takes_the_last_whole_open_interval(when: str, expected: tuple[str, str]) -> None:
    found = MarketHoursTimetable(["XNYS"], 60).infer_manual_data_interval(run_after=at(when))
    assert found == DataInterval(at(expected[0]), at(expected[1]))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 365 * 2), st.sampled_from([10, 30, 60]), st.booleans())
def test_the_runs_of_a_day_are_its_sessions(day: int, seconds: int, extended: bool) -> None:
    """From 05:00 UTC on, when New York sleeps: aligned, never overlapping, without a hole in a session."""
    begin = at("2026-01-01 05:00") + timedelta(days=day)
    end = begin + timedelta(days=1)
    timetable = MarketHoursTimetable(["XNYS"], seconds, extended)
    runs = list(catching_up(timetable, begin.to_datetime_string(), (end - timedelta(seconds=1)).to_datetime_string()))
    intervals = [run.data_interval for run in runs]
    expected = sessions("XNYS", Window(begin, end), extended=extended)
    assert [(one.start, one.end) for one in intervals[:1]] == [
        (session.start, session.start + timedelta(seconds=seconds)) for session in expected
    ]
    assert all(before.end == after.start for before, after in pairwise(intervals))
    assert [one.end for one in intervals[-1:]] == [session.end for session in expected]


def test_it_survives_being_stored() -> None:
    timetable = MarketHoursTimetable(["XNYS", "XLON"], 30, extended=True, delay=900)
    again = MarketHoursTimetable.deserialize(timetable.serialize())
    assert isinstance(again, MarketHoursTimetable)
    assert again.open == timetable.open


@pytest.mark.parametrize(
    ("timetable", "expected"),
    [
        (MarketHoursTimetable(["24/7"], 60), "Every minute"),
        (MarketHoursTimetable(["XNYS"], 60), "Every minute in the hours of XNYS"),
        (MarketHoursTimetable(["XNYS"], 10, extended=True), "Every 10 seconds in the extended hours of XNYS"),
        (MarketHoursTimetable(["XNYS"], 60, delay=900), "Every minute in the hours of XNYS and 15 minutes after"),
    ],
)
def test_the_ui_shows_it_in_words(timetable: MarketHoursTimetable, expected: str) -> None:
    assert timetable.summary == timetable.description == expected


@pytest.mark.parametrize(
    ("timetable", "said"),
    [
        (MarketHoursTimetable([], 60), "needs at least one calendar"),
        (MarketHoursTimetable(["XNYS"], 7), "interval is 7 seconds; a day must divide by it"),
        (MarketHoursTimetable(["XNYS"], 0), "interval is 0 seconds"),
    ],
)
def test_a_timetable_that_makes_no_sense_is_refused_with_its_dag(timetable: MarketHoursTimetable, said: str) -> None:
    with pytest.raises(AirflowTimetableInvalid, match=said):
        timetable.validate()


def test_the_scheduler_is_answered_in_less_than_a_millisecond() -> None:
    timetable = MarketHoursTimetable(["XNYS"], 60)
    friday = DataInterval(at("2026-11-25 20:59"), at("2026-11-25 21:00"))
    restriction = TimeRestriction(at("2026-01-01"), None, catchup=True)
    timetable.next_dagrun_info(last_automated_data_interval=friday, restriction=restriction)
    started = time.perf_counter()
    for _ in range(200):
        timetable.next_dagrun_info(last_automated_data_interval=friday, restriction=restriction)
    assert (time.perf_counter() - started) / 200 < 0.001
