"""When a file's rows are to have happened."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from include.errors import ConfigError
from include.events import Event
from include.sources.base import Batch
from include.sources.files import Query, read
from include.sources.timing import Timing, scan

NOW = datetime(2026, 3, 14, 12, 0, 40, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def placed(path: Path, rows: str, kind: Any = "quote", *, chunk: int = 100, **options: Any) -> list[Event]:
    """Rows like `A 10:00:05` (symbol, time of day on 2020-01-01) at their new times, marked chunk by chunk."""
    header = "symbol,ts,price,open,high,low,close"
    lines = [f"{symbol},2020-01-01T{at}Z,1,1,1,1,1" for symbol, at in (row.split() for row in rows.split(", "))]
    path.write_text("\n".join([header, *lines]))
    query = Query(path, kind, resolution=options.pop("resolution", "1m"))
    timing = Timing(query, scan(query), **({"every": None, "until": None} | options))
    done = []
    for batch in read(query, received_at=NOW, chunk=chunk):
        done += timing.marked(timing.placed(batch)).events
    assert (min(e.event_time for e in done), max(e.event_time for e in done)) == (timing.first, timing.last)
    return done


def shown(events: list[Event]) -> str:
    return ", ".join(f"{event.symbol} {event.event_time:%d.%m.%Y %H:%M:%S}" for event in events)


def complete(events: list[Event]) -> list[str | None]:
    return [f"{e.complete_until:%H:%M:%S}" if e.complete_until else None for e in events]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "f.csv"


def test_own_times_stay_and_the_last_row_makes_all_candles_final(path: Path) -> None:
    events = placed(path, "A 10:00:05, B 10:00:05, A 10:02:30")
    assert shown(events) == "A 01.01.2020 10:00:05, B 01.01.2020 10:00:05, A 01.01.2020 10:02:30"
    assert complete(events) == [None, None, "10:05:00"]


def test_rows_in_order_are_complete_up_to_the_last_one_sent(path: Path) -> None:
    rows = "A 10:00:05, A 10:01:00, B 10:01:00, A 10:02:30, A 10:04:00"
    assert complete(placed(path, rows, chunk=2)) == [None, "10:01:00", None, "10:02:30", "10:05:00"]


def test_rows_out_of_order_are_complete_only_at_the_end(path: Path) -> None:
    assert complete(placed(path, "A 10:04:00, A 10:00:05, A 10:02:30", chunk=1)) == [None, None, "10:05:00"]


@pytest.mark.parametrize(("resolution", "end"), [("1m", "10:05:00"), ("1h", "11:02:00"), ("1d", "10:02:00")])
def test_a_bar_is_complete_at_its_own_end(path: Path, resolution: str, end: str) -> None:
    assert complete(placed(path, "A 10:02:00", "bar", resolution=resolution)) == [end]


def test_shifted_by_whole_minutes_so_that_the_last_row_is_now(path: Path) -> None:
    events = placed(path, "A 10:00:05, B 10:02:30", until=NOW)
    assert shown(events) == "A 14.03.2026 11:58:05, B 14.03.2026 12:00:30"
    events = placed(path, "A 10:00:05, B 10:02:50", until=NOW)
    assert shown(events) == "A 14.03.2026 11:57:05, B 14.03.2026 11:59:50"


@pytest.mark.parametrize(
    ("resolution", "shifted"),
    [("1m", "14.03.2026 11:59:00"), ("5m", "14.03.2026 11:55:00"), ("1h", "14.03.2026 11:00:00")],
)
def test_shifted_bars_stay_on_their_grid_and_end_by_now(path: Path, resolution: str, shifted: str) -> None:
    assert shown(placed(path, "A 10:00:00", "bar", resolution=resolution, until=NOW)) == f"A {shifted}"


def test_rows_of_each_symbol_are_spaced_from_the_first_time_on(path: Path) -> None:
    events = placed(path, "A 10:00:05, A 10:00:06, B 09:00:00, A 11:00:00, B 12:00:00", every=MINUTE)
    assert [f"{event.symbol} {event.event_time:%H:%M:%S}" for event in events] == [
        "A 09:00:00", "A 09:01:00", "B 09:00:00", "A 09:02:00", "B 09:01:00",
    ]  # fmt: skip


def test_spaced_rows_that_take_turns_are_in_order_whatever_their_own_times(path: Path) -> None:
    rows = "A 10:00:00, B 09:00:00, A 08:00:00, B 12:00:00"
    assert complete(placed(path, rows, every=MINUTE, chunk=1)) == ["08:00:00", "08:00:00", "08:01:00", "08:05:00"]
    rows = "A 10:00:00, A 10:01:00, B 10:00:00"
    assert complete(placed(path, rows, every=MINUTE, chunk=1)) == [None, None, "10:05:00"]


def test_spaced_rows_may_end_now(path: Path) -> None:
    events = placed(path, "A 10:00:00, A 10:00:01, A 10:00:02", every=MINUTE, until=NOW)
    assert shown(events) == "A 14.03.2026 11:58:00, A 14.03.2026 11:59:00, A 14.03.2026 12:00:00"


@pytest.mark.parametrize(("kind", "every"), [("quote", timedelta(0)), ("bar", timedelta(seconds=90))])
def test_a_distance_that_cannot_be_is_refused(path: Path, kind: str, every: timedelta) -> None:
    with pytest.raises(ConfigError, match="rows cannot be 0:0"):
        placed(path, "A 10:00:00", kind, every=every)


def test_the_scan_counts_rows_and_sees_their_order(path: Path) -> None:
    path.write_text("symbol,ts,price\nA,2020-01-02,1\nB,2020-01-01,1\nA,2020-01-03,x\n\nA,2020-01-03,1")
    found = scan(Query(path, "quote"))
    assert (dict(found.counts), found.events, found.rejected) == ({"A": 2, "B": 1}, 3, 1)
    assert (found.first.day, found.last.day, found.in_order, found.in_step) == (1, 3, False, True)


def test_a_file_without_one_good_row_is_an_error_that_shows_the_first_problem(path: Path) -> None:
    path.write_text("symbol,ts,price\nA,01/03/2017,1\nA,01/04/2017,1")
    with pytest.raises(ConfigError, match=r"none of its 2 rows can be used; line 2: time is '01/03/2017'; it must be"):
        scan(Query(path, "quote"))


def test_a_batch_without_events_stays_as_it_is(path: Path) -> None:
    path.write_text("symbol,ts,price\nA,2020-01-01,1")
    query = Query(path, "quote")
    assert Timing(query, scan(query), every=None, until=None).marked(Batch()) == Batch()
