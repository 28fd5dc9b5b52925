"""The transform with a backlog of history: live minutes do not wait for it, and one run takes all ready days."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from include.errors import TransformError
from include.events import Event
from include.pipeline import transform as step
from include.pipeline.cycle import process
from include.pipeline.detect import detect
from include.pipeline.transform import LONGEST, TransformReport, transform
from include.settings import Settings
from include.transform.batch import open_batch
from include.transform.runner import BuildResult
from include.warehouse.db import connect
from tests.pipeline.candles import written
from tests.transform.events import DAY, accept, at, event, quote
from tests.transform.marts import rows, snapshot

pytestmark = pytest.mark.stack

BATCHES = (
    "select detail ->> 'lane', (detail ->> 'loads')::int from ops.outcomes where step = 'transform' and ok "
    "and detail ? 'lane' order by outcome_id"
)
ROWS = (
    "select (detail -> 'rows' ->> 'quotes')::int, (detail -> 'rows' ->> 'indicators_1m')::int, "
    "(detail -> 'rows' ->> 'indicators_1h')::int from ops.outcomes where step = 'transform' and ok "
    "and detail ? 'lane' order by outcome_id"
)
QUEUE = "select symbol, lane, from_candle, until_candle from ops.detect_queue"

BREAK = """
create or replace function marts.broken() returns trigger language plpgsql as $$begin raise 'no room'; end$$;
create trigger broken before insert or delete on marts.candles_5m execute function marts.broken()
"""


def day_of_quotes(day: int) -> list[Event]:
    """Half an hour of a day, one quote a minute, a little higher each time; the price of 10:25 leaps."""
    prices = [100 + day + 0.01 * minute + (5 if minute == 25 else 0) for minute in range(30)]
    start = at("10:00") + timedelta(days=day)
    return [
        event("quote", "AAPL", start + timedelta(minutes=minute), {"price": price})
        for minute, price in enumerate(prices)
    ]


def days_wait(settings: Settings, *days: int) -> None:
    """A load of history for each day, in that order."""
    with connect(settings) as conn:
        for day in days:
            until = DAY + timedelta(days=day + 1)
            accept(conn, day_of_quotes(day), {"simulator": until}, is_live=False)


def slices_of(settings: Settings, events: int) -> Settings:
    return settings.model_copy(update={"transform_history_events": events})


def as_airflow_does(settings: Settings) -> list[TransformReport]:
    """Run after run, for as long as one leaves loads behind."""
    reports = [transform(settings)]
    while reports[-1].is_more_left:
        reports.append(transform(settings))
    return reports


def test_one_run_takes_all_days_that_are_ready_whatever_their_order(
    make_settings: Callable[..., Settings], template_marts: str
) -> None:
    in_slices, at_once = (make_settings(template=template_marts) for _ in range(2))
    days_wait(in_slices, 4, 2, 3)
    days_wait(at_once, 2, 3, 4)

    report = transform(slices_of(in_slices, 60))
    assert (report.loads, report.slices, report.events, report.candles, report.symbols) == (3, 2, 90, 90, 1)
    assert not report.is_more_left
    assert str(report) == "3 loads with 90 events (2 slices of history): 90 candles of 1 symbols"
    assert transform(at_once).slices == 1
    with connect(in_slices) as one, connect(at_once) as other:
        assert rows(one, BATCHES) == [("history", 2), ("history", 1)]
        assert snapshot(one) == snapshot(other)
        ((symbol, lane, first, last),) = rows(one, QUEUE)
        assert (symbol, lane, first, last) == (
            "AAPL", "history", at("10:00") + timedelta(days=2), at("10:30") + timedelta(days=4),
        )  # fmt: skip
    for settings in (in_slices, at_once):
        detect(settings)
        leaps = [one for one in written(settings) if "10:25 zscore up" in one[0]]
        assert len(leaps) == 3 and {state for _, _, state in leaps} == {"history"}
    assert written(in_slices) == written(at_once)


def test_a_live_batch_ends_the_run_so_that_detection_has_it(marts_settings: Settings) -> None:
    days_wait(marts_settings, 0)
    with connect(marts_settings) as conn:
        accept(conn, [quote("BTC-USD", "12:00", 9)])
        report = transform(marts_settings)
        assert (report.loads, report.slices, report.is_more_left) == (1, 0, True)
        assert str(report).endswith("1 candles of 1 symbols, more loads wait")
        assert rows(conn, "select symbol, lane from ops.detect_queue") == [("BTC-USD", "live")]
        assert (transform(marts_settings).slices, rows(conn, BATCHES)) == (1, [("live", 1), ("history", 1)])
        assert rows(conn, ROWS) == [(1, 1, 1), (30, 30, 1)]
        assert rows(conn, "select symbol, lane from ops.detect_queue order by 1") == [
            ("AAPL", "history"),
            ("BTC-USD", "live"),
        ]


def test_live_minutes_amid_history_that_waits_end_as_if_all_had_come_at_once(
    make_settings: Callable[..., Settings], template_marts: str
) -> None:
    """The live load repeats events of the one that waits, so that they are its own now, and adds some around them."""
    repeated = [replace(one, received_at=one.received_at + timedelta(days=1)) for one in day_of_quotes(0)[10:20]]
    live = [quote("AAPL", "09:00", 99, day_volume=10), *repeated, quote("AAPL", "10:40", 101)]
    watermark = {"simulator": DAY + timedelta(days=1)}
    lanes, at_once = (make_settings(template=template_marts) for _ in range(2))
    days_wait(lanes, 0)
    with connect(lanes) as one, connect(at_once) as other:
        accept(one, live, watermark)
        assert [report.slices for report in as_airflow_does(lanes)] == [0, 1]
        accept(other, day_of_quotes(0), watermark)
        accept(other, live, watermark)
        transform(at_once)
        assert snapshot(one) == snapshot(other)
    detect(lanes)
    detect(at_once)
    assert written(lanes) == written(at_once) != []


def test_without_airflow_the_steps_go_on_until_nothing_waits(marts_settings: Settings) -> None:
    days_wait(marts_settings, 0)
    with connect(marts_settings) as conn:
        accept(conn, [quote("BTC-USD", "12:00", 9)])
    done = process(marts_settings, only=("transform", "detect"))
    assert [(one.name, one.error) for one in done] == [("transform", None), ("detect", None)] * 2
    assert not transform(marts_settings).loads


def test_history_that_cannot_be_built_does_not_hold_up_what_is_live(
    make_settings: Callable[..., Settings], template_marts: str, tmp_path: Path
) -> None:
    """A day of an instrument that nobody lists fails a data test, again and again. Listed at last, all ends as ever."""
    disturbed, undisturbed = (make_settings(template=template_marts) for _ in range(2))
    wrong = event("quote", "NEW-USD", at("10:20"), {"price": 7})
    watermark = {"simulator": DAY + timedelta(days=1)}
    listed = tmp_path / "instruments.csv"
    new = "NEW-USD,crypto,USD,24/7,simulator,,NEW-USD" + "," * 7
    listed.write_text(f"{disturbed.instruments_file.read_text()}{new}\n")
    with connect(disturbed) as one, connect(undisturbed) as other:
        accept(one, [*day_of_quotes(0), wrong], is_live=False)
        with pytest.raises(TransformError, match="quotes_are_sound"):
            transform(disturbed)
        for clock in ("10:40", "10:41"):
            accept(one, [quote("AAPL", clock, 101)], watermark)
            report = transform(disturbed)
            assert (report.loads, report.slices, report.is_more_left) == (1, 0, True)
            with pytest.raises(TransformError, match="quotes_are_sound"):
                transform(disturbed)
        mended = disturbed.model_copy(update={"instruments_file": listed})
        assert [report.slices for report in as_airflow_does(mended)] == [1]

        accept(other, [*day_of_quotes(0), wrong], is_live=False)
        accept(other, [quote("AAPL", "10:40", 101), quote("AAPL", "10:41", 101)], watermark)
        as_airflow_does(undisturbed.model_copy(update={"instruments_file": listed}))
        assert snapshot(one) == snapshot(other)
        assert rows(one, "select count(*) from ops.transform_set_aside") == [(0,)]


def test_a_candle_that_a_slice_made_final_before_it_died_is_final_in_all_that_follows_from_it(
    make_settings: Callable[..., Settings], template_marts: str
) -> None:
    """What is live takes the place of a slice that was built, but not closed: what it had found is not forgotten."""
    died, undisturbed = (make_settings(template=template_marts) for _ in range(2))
    later = {"simulator": DAY + timedelta(hours=11)}
    for settings in (died, undisturbed):
        with connect(settings) as conn:
            accept(conn, [quote("AAPL", "10:00", 99), quote("AAPL", "10:07", 98)])
            transform(settings)
            accept(conn, day_of_quotes(-1), later, is_live=False)
    with connect(died) as conn:
        conn.execute(BREAK)
        with pytest.raises(TransformError, match=r"(?s)model candles_5m: .*no room"):
            transform(died)
        assert rows(conn, "select distinct is_final from marts.candles_1m") == [(True,)]
        conn.execute("drop trigger broken on marts.candles_5m")
    for settings in (died, undisturbed):
        with connect(settings) as conn:
            accept(conn, [quote("BTC-USD", "10:40", 9)])
        assert [report.slices for report in as_airflow_does(settings)] == [0, 1]
    with connect(died) as one, connect(undisturbed) as other:
        assert snapshot(one) == snapshot(other)
        assert rows(one, QUEUE + " order by 1, 2") == rows(other, QUEUE + " order by 1, 2")
        assert rows(one, "select count(*) from marts.candles_5m where not is_final") == [(0,)]


# Below, a build takes its batch and no time; what happens meanwhile is the test's.


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    def patch(happens: Callable[[], None]) -> None:
        def build(settings: Settings, *, epoch: int) -> BuildResult:
            with connect(settings) as conn:
                loads = open_batch(conn, settings.transform_history_events)
            happens()
            return BuildResult((), 0.0, loads)

        monkeypatch.setattr(step, "build_changed", build)
        monkeypatch.setattr(step, "_audit", lambda settings: None)

    return patch


@examples(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(comes=st.lists(st.booleans(), min_size=12, max_size=12))
def test_a_live_load_waits_for_the_running_slice_at_the_most(
    marts_settings: Settings, meanwhile: Callable[[Callable[[], None]], None], comes: list[bool]
) -> None:
    """Twelve slices of history wait; in some of their builds a live load is accepted: it is the next batch."""
    with connect(marts_settings) as conn:
        conn.execute("truncate ops.loads, ops.outcomes, ops.transform_batch cascade")
        for day in range(12):
            accept(conn, [event("quote", "AAPL", DAY + timedelta(days=day), {"price": 10})], is_live=False)
        arrivals = iter(comes)
        expected: list[str] = []

        def happens() -> None:
            lanes = rows(conn, "select is_live from ops.loads join ops.transform_batch using (load_id)")
            expected.append("live" if lanes == [(True,)] else "history")
            if expected[-1] == "history" and next(arrivals):
                accept(conn, [quote("AAPL", "23:59", 10)])

        meanwhile(happens)
        reports = as_airflow_does(slices_of(marts_settings, 1))
        lanes = [lane for lane, _ in rows(conn, BATCHES)]
    assert lanes == expected
    assert lanes == [lane for came in comes for lane in (["history", "live"] if came else ["history"])]
    assert len(reports) == sum(comes) + (not comes[-1])
    assert sum(report.slices for report in reports) == 12


@pytest.mark.parametrize(
    ("last", "comes", "lanes"),
    [
        pytest.param(59, True, [("live", 1)], id="the next one is expected in a second"),
        pytest.param(59.5, False, [("history", 1)], id="and does not come: history goes on"),
        pytest.param(20, True, [("history", 1), ("live", 1)], id="there is time for a slice"),
        pytest.param(90, True, [("history", 1), ("live", 1)], id="nothing has come for longer than a minute"),
    ],
)
def test_no_slice_is_begun_shortly_before_a_live_load_is_expected(
    marts_settings: Settings,
    meanwhile: Callable[[Callable[[], None]], None],
    last: float,
    comes: bool,
    lanes: list[tuple[str, int]],
) -> None:
    """So many seconds ago the last live load was accepted; the next one comes half a second from now."""

    has_come = threading.Event()

    def come() -> None:
        with connect(marts_settings) as another:
            accept(another, [quote("AAPL", "10:41", 10)])
        has_come.set()

    def lasts_until_it_has_come() -> None:
        assert has_come.wait(10)

    meanwhile(lambda: None)
    with connect(marts_settings) as conn:
        accept(conn, [quote("AAPL", "10:40", 10)])
        transform(marts_settings)
        conn.execute(
            "truncate ops.outcomes; update ops.loads set audited_at = clock_timestamp() - make_interval(secs => "
            f"{last})"
        )
        days_wait(marts_settings, 0)
        timer = threading.Timer(0.5, come)
        if comes:
            timer.start()
            meanwhile(lasts_until_it_has_come)
        transform(marts_settings)
        timer.join() if comes else None
        assert rows(conn, BATCHES) == lanes


def test_a_run_ends_with_the_slice_in_which_its_time_is_over(
    marts_settings: Settings, meanwhile: Callable[[Callable[[], None]], None]
) -> None:
    meanwhile(lambda: None)
    days_wait(marts_settings, 0, 1, 2, 3)
    ticks = iter([0.0, 1.0, LONGEST - 1, LONGEST])  # the beginning, and after each slice
    report = transform(slices_of(marts_settings, 1), clock=lambda: next(ticks))
    assert (report.slices, report.is_more_left) == (3, True)
    report = transform(slices_of(marts_settings, 1))
    assert (report.slices, report.is_more_left) == (1, False)


def test_a_slice_that_fails_keeps_those_before_it_and_is_tried_again(
    marts_settings: Settings, meanwhile: Callable[[Callable[[], None]], None]
) -> None:
    states = "select array_agg(state order by load_id) from ops.loads"
    builds = iter([True, False, True, True])

    def happens() -> None:
        if not next(builds):
            raise TransformError("dbt failed")

    meanwhile(happens)
    days_wait(marts_settings, 0, 1, 2)
    with connect(marts_settings) as conn:
        with pytest.raises(TransformError):
            transform(slices_of(marts_settings, 1))
        assert rows(conn, states) == [(["transformed", "accepted", "accepted"],)]
        assert rows(conn, "select ok from ops.outcomes where step = 'transform' order by at") == [(True,), (False,)]
        assert transform(slices_of(marts_settings, 1)).slices == 2
        assert rows(conn, states) == [(["transformed"] * 3,)]
