"""Detection over spans: what history changed, apart from what came live; and alerts that nobody is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from include.pipeline import detect as step
from include.pipeline.detect import DetectReport, detect
from include.settings import Settings
from include.warehouse.db import connect
from tests.pipeline.candles import T0, alerts, excursions, minute, put_candles, put_closes, queue, queued, written

pytestmark = pytest.mark.stack


@pytest.fixture
def marts_settings(marts_settings: Settings, tmp_path: Path) -> Settings:
    return excursions(marts_settings, tmp_path)


YEAR = 365 * 1440  # minutes
NEXT_YEAR = T0 + timedelta(days=365)


def test_a_span_is_looked_at_with_the_candles_around_it_that_have_to_do_with_it(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        put_candles(conn, "AAPL", [0, 4, 4, 4, 0, 4, 0])
        queue(conn, "AAPL", 2, 4, "history")
        report = detect(marts_settings, now=NEXT_YEAR)
    assert (report.candles, report.alerts) == (5, 2)  # from minute 2 on; nobody has looked at those before
    assert [what for what, _, _ in written(marts_settings)] == ["AAPL 09:02 zscore up", "AAPL 09:05 zscore up"]
    assert queued(marts_settings) == {}


def test_the_candle_after_the_span_may_begin_an_excursion_or_no_longer(marts_settings: Settings) -> None:
    def changed(zscore: float) -> list[str]:
        with connect(marts_settings) as conn:
            put_candles(conn, "AAPL", [zscore], first=1)
            queue(conn, "AAPL", 1, 2, "history")
            detect(marts_settings, now=NEXT_YEAR)
        return [what for what, _, _ in written(marts_settings)]

    with connect(marts_settings) as conn:
        put_candles(conn, "AAPL", [0, 0, 4, 4])
    assert changed(0) == ["AAPL 09:02 zscore up"]
    assert changed(4) == ["AAPL 09:01 zscore up"]
    assert changed(-4) == ["AAPL 09:01 zscore down", "AAPL 09:02 zscore up"]


def test_a_slice_a_year_back_costs_that_slice_and_waits_for_nobody(marts_settings: Settings) -> None:
    """With the 61 candles that look back on it. The minute of today is not final: it holds back what came live."""
    with connect(marts_settings) as conn:
        put_candles(conn, "AAPL", [0, 4, 0])
        put_candles(conn, "AAPL", [0] * 200, first=1000)
        put_candles(conn, "AAPL", [0, 5], first=YEAR, final=YEAR + 1)
        queue(conn, "AAPL", 0, 2, "history")
        queue(conn, "AAPL", YEAR, None, "live")
        report = detect(marts_settings, now=minute(YEAR))
    assert report == DetectReport(symbols=1, candles=63, alerts=1, waiting=1, too_old=1)
    assert str(report) == (
        "63 candles of 1 symbols, 1 new alerts (written down, too old to send: 1), 1 waiting for a final candle"
    )
    assert queued(marts_settings) == {"AAPL": YEAR + 1}


def test_what_came_live_is_written_before_history_is_begun(
    marts_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash in the first part of history: the live alert is there, and the history still waits."""
    passed: list[str] = []

    def crash(name: str) -> None:
        passed.append(name)
        if len(passed) == 3:  # before and after the commit of what came live, then before that of history
            raise KeyboardInterrupt(name)

    with connect(marts_settings) as conn:
        put_candles(conn, "AAPL", [0, 4])
        put_candles(conn, "AAPL", [0, 5], first=YEAR)
        queue(conn, "AAPL", 0, 2, "history")
        queue(conn, "AAPL", YEAR, None, "live")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt, match="before_alert_commit"):
        patch.setattr(step, "crash_point", crash)
        detect(marts_settings, now=minute(YEAR + 2))
    assert (alerts(marts_settings), queued(marts_settings)) == (["AAPL 09:01 zscore up"], {"AAPL": 0})
    assert detect(marts_settings, now=minute(YEAR + 2)).too_old == 1
    assert queued(marts_settings) == {}


def test_history_that_takes_long_is_left_for_the_next_run(
    marts_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "PART", 3)
    symbols = ("AAPL", "BTC-USD", "MSFT")
    with connect(marts_settings) as conn:
        for symbol in symbols:
            put_candles(conn, symbol, [0, 4])
            queue(conn, symbol, 0, 2, "history")

    ticks = iter([0.0, 5.0, 9.0, 10.0])  # the beginning; before the first, the second and the third part
    report = detect(marts_settings, now=NEXT_YEAR, history_seconds=10, clock=lambda: next(ticks))
    assert (report.symbols, report.too_old, report.is_more_left) == (2, 2, True)
    assert str(report).endswith("(written down, too old to send: 2), more history waits")
    assert queued(marts_settings) == {"MSFT": 0}
    assert detect(marts_settings, now=NEXT_YEAR) == DetectReport(symbols=1, candles=2, alerts=1, too_old=1)


def test_alerts_that_came_live_do_not_wait_for_history_and_history_does_not_wait_for_ever(
    marts_settings: Settings,
) -> None:
    """Live candles end the run; those that are not final yet hold nothing up."""
    with connect(marts_settings) as conn:
        put_candles(conn, "AAPL", [0, 4])
        put_candles(conn, "AAPL", [0, 5, 0], first=YEAR, final=YEAR + 2)
        queue(conn, "AAPL", 0, 2, "history")
        queue(conn, "AAPL", YEAR, None, "live")
    live, history = (detect(marts_settings, now=minute(YEAR + 2), history_seconds=2) for _ in range(2))
    assert (live.alerts, live.too_old, live.waiting, live.is_more_left) == (1, 0, 1, True)
    assert (history.alerts, history.too_old, history.waiting, history.is_more_left) == (1, 1, 1, False)
    assert queued(marts_settings) == {"AAPL": YEAR + 2}


@pytest.mark.parametrize(
    ("hours", "age", "state"),
    [(24, 24, "new"), (24, 24.1, "history"), (48, 24.1, "new"), (0, 9000, "new")],
    ids=["as old as may be", "older", "another age", "no age at all"],
)
def test_an_alert_is_sent_if_its_candle_is_not_too_old(
    marts_settings: Settings, hours: float, age: float, state: str
) -> None:
    settings = marts_settings.model_copy(update={"alert_max_age_hours": float(hours)})
    with connect(settings) as conn:
        put_candles(conn, "AAPL", [0, 4])
        queue(conn, "AAPL", 1)
    report = detect(settings, now=minute(1) + timedelta(hours=age))
    assert written(settings) == [("AAPL 09:01 zscore up", 4.0, state)]
    assert (report.alerts, report.too_old) == (1, int(state == "history"))
    assert bool(alerts(settings)) is (state == "new")  # those in the outbox


@pytest.mark.parametrize(
    ("lane", "minutes", "age", "state"),
    [
        ("live", 60, 2, "new"), ("history", 60, 2, "history"), ("history", 60, 0.9, "new"), ("history", 0, 2, "new"),
        ("history", 0, 25, "history"), ("history", 6000, 25, "history"),
    ],
    ids=["live", "backfilled", "backfilled, and young", "as what is live", "and not older", "nor with another age"],
)  # fmt: skip
def test_a_backfill_calls_nobody_for_what_is_an_hour_old(
    marts_settings: Settings, lane: str, minutes: float, age: float, state: str
) -> None:
    changed = {"alert_max_age_hours": 24.0, "backfill_alert_max_age_minutes": float(minutes)}
    with connect(marts_settings) as conn:
        put_candles(conn, "AAPL", [0, 4])
        queue(conn, "AAPL", 1, lane=lane)
    detect(marts_settings.model_copy(update=changed), now=minute(1) + timedelta(hours=age))
    assert written(marts_settings) == [("AAPL 09:01 zscore up", 4.0, state)]


def test_what_was_sent_stays_though_the_candle_says_something_else_now(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        put_candles(conn, "AAPL", [0, 4])
        queue(conn, "AAPL", 1)
        detect(marts_settings, now=minute(3))
        put_candles(conn, "AAPL", [0, 0])
        queue(conn, "AAPL", 0, 2, "history")
        assert detect(marts_settings, now=NEXT_YEAR).withdrawn == 0
    assert written(marts_settings) == [("AAPL 09:01 zscore up", 4.0, "new")]


DAY, COLD, LENGTH = 6, 2, 3  # minutes of a day, those of the next one that look back on it, closes of an episode
zscores = st.lists(st.sampled_from([0, 3.5, -3.5]), min_size=4 * DAY, max_size=4 * DAY)
orders = st.permutations(range(4))
pauses = st.lists(st.booleans(), min_size=4, max_size=4)  # whether detection runs after that day


def in_days(
    settings: Settings, order: Sequence[int], pauses: Sequence[bool], put: Callable[[int, int], None]
) -> list[tuple[str, float, str]]:
    """Bring the days in one after the other, `put(first, until)` minutes at a time; the alerts that are left."""
    with connect(settings) as conn:
        for day, pause in zip(order, pauses, strict=True):
            first, until = day * DAY, (day + 1) * DAY
            put(first, until)
            queue(conn, "AAPL", first, until + COLD, "history")
            if pause:
                detect(settings, now=NEXT_YEAR)
    detect(settings, now=NEXT_YEAR)
    assert queued(settings) == {}
    return written(settings)


@examples(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(true=zscores, order=orders, pauses=pauses)
def test_days_in_any_order_give_the_alerts_of_all_at_once(
    marts_settings: Settings, true: list[float], order: list[int], pauses: list[bool]
) -> None:
    """The first candles of a day say something else until the day before is there, as averages do."""
    there: set[int] = set()

    def put(first: int, until: int) -> None:
        there.add(first // DAY)
        for day in {first // DAY, until // DAY} & there:
            for number in range(day * DAY, (day + 1) * DAY):
                is_cold = day > 0 and day - 1 not in there and number % DAY < COLD
                put_candles(conn, "AAPL", [-true[number] + 7 if is_cold else true[number]], first=number)

    with connect(marts_settings) as conn:
        conn.execute(
            "truncate marts.alerts, marts.alert_history, ops.findings, ops.judged, ops.outbox, "
            "ops.detect_queue, marts.indicators_1m"
        )
        in_pieces = in_days(marts_settings, order, pauses, put)
        conn.execute("truncate marts.alerts, marts.alert_history, ops.findings, ops.judged")
        put_candles(conn, "AAPL", true)
        queue(conn, "AAPL", 0, lane="history")
        detect(marts_settings, now=NEXT_YEAR)
    assert in_pieces == written(marts_settings)
    assert alerts(marts_settings) == []


apart = st.lists(st.sampled_from([0.0, 150.0, -150.0, None]), min_size=4 * DAY, max_size=4 * DAY)


@examples(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kraken=apart, coinbase=apart, order=orders, pauses=pauses)
def test_days_in_any_order_find_the_same_episodes_of_a_source(
    marts_settings: Settings,
    kraken: list[float | None],
    coinbase: list[float | None],
    order: list[int],
    pauses: list[bool],
) -> None:
    def put(first: int, until: int) -> None:
        put_closes(conn, "kraken", kraken[first:until], first=first)
        put_closes(conn, "coinbase", coinbase[first:until], first=first)

    with connect(marts_settings) as conn:
        conn.execute(
            "truncate marts.alerts, marts.alert_history, ops.findings, ops.judged, ops.outbox, "
            "ops.detect_queue, marts.source_divergence"
        )
        in_pieces = in_days(marts_settings, order, pauses, put)
        conn.execute("truncate marts.alerts, marts.alert_history, ops.findings, ops.judged")
        queue(conn, "AAPL", 0, lane="history")
        detect(marts_settings, now=NEXT_YEAR)
    assert in_pieces == written(marts_settings)
