"""When exchanges are open: sessions, and the intervals that fall into them, as pure arithmetic."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.calendars import ALWAYS, OpenIntervals, is_open, last_close, next_session, open_instruments, sessions
from include.errors import ConfigError
from include.events import Window
from include.instruments import Instrument
from include.settings import ROOT

NEW_YORK = ZoneInfo("America/New_York")


def utc(text: str) -> datetime:
    """`2026-03-06 14:30` in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def new_york(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).astimezone(UTC)


def minute(text: str) -> Window:
    """The minute that begins at that time in New York."""
    return Window(new_york(text), new_york(text) + timedelta(minutes=1))


def shown(windows: list[Window]) -> list[str]:
    return [f"{one.start:%a %m-%d %H:%M}-{one.end:%H:%M}" for one in windows]


def days(first: str, last: str) -> Window:
    return Window(utc(first), utc(last))


@pytest.mark.parametrize(
    ("week", "expected"),
    [
        pytest.param(
            ("2026-03-05", "2026-03-11"),
            ["Thu 03-05 14:30-21:00", "Fri 03-06 14:30-21:00", "Mon 03-09 13:30-20:00", "Tue 03-10 13:30-20:00"],
            id="clocks go forward on Sunday 8 March",
        ),
        pytest.param(
            ("2026-10-29", "2026-11-04"),
            ["Thu 10-29 13:30-20:00", "Fri 10-30 13:30-20:00", "Mon 11-02 14:30-21:00", "Tue 11-03 14:30-21:00"],
            id="clocks go back on Sunday 1 November",
        ),
        pytest.param(
            ("2026-11-25", "2026-12-01"),
            ["Wed 11-25 14:30-21:00", "Fri 11-27 14:30-18:00", "Mon 11-30 14:30-21:00"],
            id="Thanksgiving is closed, the day after closes at 13:00",
        ),
        pytest.param(
            ("2026-12-31", "2027-01-05"),
            ["Thu 12-31 14:30-21:00", "Mon 01-04 14:30-21:00"],
            id="New Year's Day and a weekend",
        ),
    ],
)
def test_sessions_in_new_york(week: tuple[str, str], expected: list[str]) -> None:
    assert shown(sessions("XNYS", days(*week))) == expected


def test_extended_hours_begin_at_4_and_end_4_hours_after_the_close() -> None:
    found = sessions("XNYS", Window(new_york("2026-11-25"), new_york("2026-11-28")), extended=True)
    local = [(one.start.astimezone(NEW_YORK), one.end.astimezone(NEW_YORK)) for one in found]
    assert [f"{start:%a %H:%M}-{end:%H:%M}" for start, end in local] == ["Wed 04:00-20:00", "Fri 04:00-17:00"]


@pytest.mark.parametrize(("day", "opens"), [("2026-03-09", "08:00"), ("2026-11-02", "09:00")])
def test_extended_hours_follow_the_clock_changes(day: str, opens: str) -> None:
    (found,) = sessions("XNYS", days(day, f"{day} 20:00"), extended=True)
    assert (f"{found.start:%H:%M}", found.end - found.start) == (opens, timedelta(hours=16))


def test_a_lunch_break_parts_a_session_in_two() -> None:
    assert shown(sessions("XTKS", days("2026-01-05", "2026-01-06"))) == [
        "Mon 01-05 00:00-02:30",
        "Mon 01-05 03:30-06:30",
    ]


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-03-09 09:29", False),
        ("2026-03-09 09:30", True),
        ("2026-03-09 15:59", True),
        ("2026-03-09 16:00", False),
        ("2026-11-27 12:59", True),
        ("2026-11-27 13:00", False),
    ],
)
def test_a_session_is_half_open_minute_by_minute(at: str, expected: bool) -> None:
    assert is_open("XNYS", minute(at)) is expected


def test_a_window_that_shares_an_instant_with_a_session_is_open() -> None:
    night = Window(new_york("2026-03-09 20:00"), new_york("2026-03-10 09:30"))
    assert not is_open("XNYS", night)
    assert is_open("XNYS", Window(night.start, night.end + timedelta(seconds=1)))
    assert is_open("XNYS", days("2026-01-01", "2026-12-31"))


def instrument(symbol: str, calendar: str) -> Instrument:
    return Instrument(symbol, "", "USD", calendar, "yahoo", {"yahoo": symbol})


def test_instruments_of_a_closed_exchange_are_left_out_and_crypto_never_is() -> None:
    btc, spy, eth = instrument("BTC-USD", ALWAYS), instrument("SPY", "XNYS"), instrument("ETH-USD", ALWAYS)
    trading, sunday = minute("2026-03-09 10:00"), minute("2026-03-08 10:00")
    assert open_instruments([btc, spy, eth], trading, extended=False) == [btc, spy, eth]
    assert open_instruments([btc, spy, eth], sunday, extended=False) == [btc, eth]
    early = minute("2026-03-09 08:00")
    assert open_instruments([spy], early, extended=False) == []
    assert open_instruments([spy], early, extended=True) == [spy]


def test_an_unknown_calendar_is_named_with_a_remedy() -> None:
    with pytest.raises(ConfigError, match="no exchange calendar 'NOWHERE'; allowed are 24/7, FX and the codes"):
        is_open("NOWHERE", minute("2026-03-09 10:00"))


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        pytest.param("2026-03-09 12:00", "Mon 03-09 13:30-20:00", id="in a session: this one"),
        pytest.param("2026-03-09 16:00", "Tue 03-10 13:30-20:00", id="as it closes: the next"),
        pytest.param("2026-12-31 17:00", "Mon 01-04 14:30-21:00", id="over the end of the year"),
    ],
)
def test_the_session_that_is_on_or_comes_next(at: str, expected: str) -> None:
    found = next_session("XNYS", new_york(at))
    assert found is not None
    assert shown([found]) == [expected]


def test_what_never_closes_has_no_next_session() -> None:
    assert next_session(ALWAYS, utc("2026-03-09")) is None


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        pytest.param("2026-03-06 15:59", "Thu 03-05 21:00", id="in a session: the one before"),
        pytest.param("2026-03-06 16:00", "Fri 03-06 21:00", id="as it closes: this one"),
        pytest.param("2026-03-08 10:00", "Fri 03-06 21:00", id="over a weekend"),
        pytest.param("2026-03-09 09:29", "Fri 03-06 21:00", id="before the opening, the clocks gone forward between"),
        pytest.param("2026-03-09 16:00", "Mon 03-09 20:00", id="in summer time"),
        pytest.param("2026-11-01 12:00", "Fri 10-30 20:00", id="on the day that the clocks go back"),
        pytest.param("2026-11-26 12:00", "Wed 11-25 21:00", id="on Thanksgiving"),
        pytest.param("2026-11-27 12:59", "Wed 11-25 21:00", id="before the end of a half day"),
        pytest.param("2026-11-27 13:00", "Fri 11-27 18:00", id="after half a day"),
        pytest.param("2027-01-01 12:00", "Thu 12-31 21:00", id="over the end of the year"),
    ],
)
def test_the_last_close_in_new_york(at: str, expected: str) -> None:
    assert f"{last_close('XNYS', new_york(at)):%a %m-%d %H:%M}" == expected


@pytest.mark.parametrize(
    ("at", "expected"),
    [("2026-11-25 19:59", "Tue 20:00"), ("2026-11-27 16:59", "Wed 20:00"), ("2026-11-28 12:00", "Fri 17:00")],
)
def test_the_last_close_of_the_extended_hours(at: str, expected: str) -> None:
    assert f"{last_close('XNYS', new_york(at), extended=True).astimezone(NEW_YORK):%a %H:%M}" == expected


def test_what_never_closes_closed_just_now() -> None:
    assert last_close(ALWAYS, utc("2026-03-08 10:00")) == utc("2026-03-08 10:00")


def test_there_is_no_last_close_of_an_exchange_that_is_not_known() -> None:
    with pytest.raises(ConfigError, match="no exchange calendar 'NOWHERE'"):
        last_close("NOWHERE", utc("2026-03-08"))


# From 05:00 UTC to 05:00 UTC, when New York sleeps.
WEEKS = [
    days("2026-03-05 05:00", "2026-03-12 05:00"),
    days("2026-10-29 05:00", "2026-11-05 05:00"),
    days("2026-11-24 05:00", "2026-12-01 05:00"),
    days("2026-12-28 05:00", "2027-01-05 05:00"),
]


@pytest.mark.parametrize("week", WEEKS, ids=lambda week: f"{week.start:%d %B}")
@pytest.mark.parametrize("seconds", [60, 30, 10])
@pytest.mark.parametrize("extended", [False, True], ids=["regular", "extended"])
def test_intervals_fill_the_sessions_exactly_and_never_overlap(week: Window, seconds: int, extended: bool) -> None:
    found = list(OpenIntervals(("XNYS",), seconds, extended).within(week))
    joined: list[Window] = []
    for one in found:
        assert one.end - one.start == timedelta(seconds=seconds)
        if joined and joined[-1].end == one.start:
            joined[-1] = Window(joined[-1].start, one.end)
        else:
            assert not joined or joined[-1].end < one.start
            joined.append(one)
    assert joined == sessions("XNYS", week, extended=extended)


moments = st.integers(0, 5 * 365 * 86_400).map(lambda seconds: utc("2024-01-01") + timedelta(seconds=seconds))
calendars = st.lists(st.sampled_from(["XNYS", "XLON", "XTKS", ALWAYS]), min_size=1, max_size=3, unique=True)


@settings(deadline=None)  # the first question about a year loads it
@given(moments, calendars, st.sampled_from([10, 30, 60]), st.booleans())
def test_first_and_last_are_neighbours_aligned_and_open(
    moment: datetime, names: list[str], seconds: int, extended: bool
) -> None:
    intervals = OpenIntervals(tuple(names), seconds, extended)
    last, first = intervals.last_until(moment), intervals.first_from(moment)
    assert last is not None
    assert first is not None
    assert last.end <= moment <= first.start
    for one in (last, first):
        assert one.start.timestamp() % seconds == 0
        assert any(is_open(name, one, extended=extended) for name in names)
    following = intervals.first_from(last.end)
    # Nothing open lies between them, other than the interval that `moment` is inside of.
    assert following == first or (following is not None and following.start < moment < following.end)


def test_a_clock_of_several_calendars_runs_while_any_of_them_is_open() -> None:
    both = OpenIntervals(("XNYS", "XLON"), 60)
    one_day = list(both.within(days("2026-03-10", "2026-03-11")))
    assert (f"{one_day[0].start:%H:%M}", f"{one_day[-1].end:%H:%M}", len(one_day)) == ("08:00", "20:00", 12 * 60)


def test_a_vendor_that_is_behind_the_market_is_asked_for_so_long_after_the_session() -> None:
    late = OpenIntervals(("XNYS",), 60, delay=15 * 60)
    half_day = list(late.within(days("2026-11-27", "2026-11-28")))
    assert (f"{half_day[0].start:%H:%M}", f"{half_day[-1].end:%H:%M}") == ("14:30", "18:15")
    assert len(half_day) == 3.5 * 60 + 15
    over = late.last_until(utc("2026-11-28 12:00"))
    assert over is not None
    assert f"{over.end:%d %H:%M}" == "27 18:15"


def test_a_question_takes_less_than_a_millisecond() -> None:
    intervals, friday = OpenIntervals(("XNYS",), 60), utc("2026-11-27 19:00")
    intervals.first_from(friday)
    started = time.perf_counter()
    for _ in range(200):
        intervals.first_from(friday)
        intervals.last_until(friday)
    assert (time.perf_counter() - started) / 400 < 0.001


def test_crypto_alone_never_loads_the_library() -> None:
    code = (
        "import sys; from datetime import datetime, UTC; from include.calendars import *\n"
        "assert OpenIntervals(('24/7',), 60).first_from(datetime(2026, 1, 1, tzinfo=UTC))\n"
        "print('exchange_calendars' in sys.modules, 'pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.data
@pytest.mark.parametrize(
    "recorded",
    ["chart_AAPL_1m_2024-10-02", "chart_AAPL_1d_2020-08-31_2020-11-07_split_dividend", "chart_TSLA_30m_2021-11-22"],
)
def test_yahoos_own_trading_periods_are_our_sessions(shared_data: Path, recorded: str) -> None:
    """A recorded chart names the pre, regular and post period of the day it was asked on."""
    chart = json.loads((shared_data / "payloads" / "yahoo" / f"{recorded}.json").read_text())["chart"]
    periods = chart["result"][0]["meta"]["currentTradingPeriod"]
    at = {
        name: [datetime.fromtimestamp(period[side], UTC) for side in ("start", "end")]
        for name, period in periods.items()
    }
    regular, extended = Window(*at["regular"]), Window(at["pre"][0], at["post"][1])
    assert sessions("XNYS", regular) == [regular]
    assert sessions("XNYS", regular, extended=True) == [extended]
