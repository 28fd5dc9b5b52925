"""Detect: queued candles in, alerts and outbox rows out, each once, and the queue moves with them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from include.detection import reading, rows
from include.errors import ConfigError, LeaseHeldError
from include.events import Window
from include.pipeline import detect as step
from include.pipeline.detect import DetectReport, detect, flags
from include.settings import Settings
from include.warehouse.db import connect
from include.warehouse.leases import lease
from tests.pipeline.candles import T0, alerts, excursions, minute, put_candles, queue, queued

pytestmark = pytest.mark.stack


@pytest.fixture
def marts_settings(marts_settings: Settings, tmp_path: Path) -> Settings:
    """The candles here are of one fixed day: however old they are, their alerts are sent."""
    return excursions(marts_settings, tmp_path).model_copy(update={"alert_max_age_hours": 0.0})


def test_what_is_queued_is_looked_at_and_ticked_off(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        put_candles(conn, "AAPL", [0, 3.5, 3.6])
        put_candles(conn, "BTC-USD", [0, 0, -4])
        put_candles(conn, "MSFT", [0, 9, 9])  # not queued
        queue(conn, "AAPL", 0)
        queue(conn, "BTC-USD", 1)
    report = detect(marts_settings)
    assert report == DetectReport(symbols=2, candles=5, alerts=2, waiting=0)
    assert str(report) == "5 candles of 2 symbols, 2 new alerts"
    assert alerts(marts_settings) == ["AAPL 09:01 zscore up", "BTC-USD 09:02 zscore down"]
    assert queued(marts_settings) == {}


def test_an_empty_queue_is_nothing_to_do(marts_settings: Settings) -> None:
    assert detect(marts_settings) == DetectReport()


def test_the_alert_and_its_outbox_row_say_the_same(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        put_candles(conn, "AAPL", [0, 3.5])
        queue(conn, "AAPL", 1)
        detect(marts_settings)
        row = conn.execute(
            "select a.rule, a.symbol, a.candle_start, a.severity, a.direction, a.value, a.threshold, a.state, "
            "o.subject, o.body::jsonb ->> 'alert_key' = a.alert_key, o.body::jsonb ->> 'message' = a.message, "
            "o.attributes, o.sent_at from marts.alerts as a join ops.outbox as o using (alert_key)"
        ).fetchone()
    assert row == (
        "zscore", "AAPL", minute(1), "warning", "up", 3.5, 3.0, "new",
        "WARNING: AAPL: 100.00 is 3.5 standard deviations above its mean (limit 3)", True, True,
        {
            "rule": "zscore", "symbol": "AAPL", "severity": "warning", "category": "market", "kind": "opened",
            "asset_class": "equity",
        },
        None,
    )  # fmt: skip


def test_what_was_found_before_goes_on_and_is_no_further_alert(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        put_candles(conn, "AAPL", [3.5, 3.6, 3.7])
        queue(conn, "AAPL", 0, 2)
        assert detect(marts_settings).alerts == 1
        queue(conn, "AAPL", 2)
    assert detect(marts_settings).alerts == 0  # it goes on
    assert alerts(marts_settings) == ["AAPL 09:00 zscore up"]


def test_candles_that_are_not_final_wait_in_the_queue(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        put_candles(conn, "AAPL", [0, 3.5, 0, 3.6], final=2)
        queue(conn, "AAPL", 0)
        assert detect(marts_settings).waiting == 1
        assert alerts(marts_settings) == ["AAPL 09:01 zscore up"]
        assert queued(marts_settings) == {"AAPL": 2}
        put_candles(conn, "AAPL", [0, 3.6], first=2)
    assert detect(marts_settings).waiting == 0
    assert alerts(marts_settings) == ["AAPL 09:01 zscore up", "AAPL 09:03 zscore up"]
    assert queued(marts_settings) == {}


def test_a_candle_that_never_becomes_final_does_not_silence_its_symbol_for_ever(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        put_candles(conn, "AAPL", [0])
        put_candles(conn, "AAPL", [9], first=1, final=1)  # its source fell silent in the middle of that minute
        put_candles(conn, "AAPL", [0, 4, *[0] * 8], first=2)
        queue(conn, "AAPL", 0)
        assert str(detect(marts_settings)).endswith("1 waiting for a final candle")
        assert (alerts(marts_settings), queued(marts_settings)) == ([], {"AAPL": 1})
        put_candles(conn, "AAPL", [0], first=12)
    detect(marts_settings)
    assert (alerts(marts_settings), queued(marts_settings)) == (["AAPL 09:03 zscore up"], {})


def test_a_symbol_queued_again_meanwhile_stays_queued(
    marts_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(marts_settings) as conn:
        put_candles(conn, "AAPL", [0, 3.5])
        put_candles(conn, "MSFT", [0, 3.5])
        queue(conn, "AAPL", 1)
        queue(conn, "MSFT", 1)

        def settle(mine: object, seen: list[reading.Queued]) -> None:
            queue(conn, "AAPL", 0)  # the transform finished another batch
            reading.settle_queue(mine, seen)  # type: ignore[arg-type]

        monkeypatch.setattr(step, "settle_queue", settle)
        assert detect(marts_settings).alerts == 2
    assert queued(marts_settings) == {"AAPL": 0}


def test_thresholds_of_the_file_hold_and_a_wrong_file_leaves_the_queue(
    marts_settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "detection.yml"
    changed = marts_settings.model_copy(update={"detection_file": file})
    with connect(marts_settings) as conn:
        put_candles(conn, "AAPL", [0, 3.5])
        put_candles(conn, "BTC-USD", [0, 3.5])
        queue(conn, "AAPL", 1)
        queue(conn, "BTC-USD", 1)
    file.write_text("rules: {zscore: {asset_classes: {crypto: {threshold: 4}}, instruments: {APPL: {threshold: 1}}}}")
    with pytest.raises(ConfigError, match=r"unknown symbol 'APPL' \(did you mean 'AAPL'\?\)"):
        detect(changed)
    assert queued(marts_settings) == {"AAPL": 1, "BTC-USD": 1}
    file.write_text("rules: {zscore: {threshold: 3, asset_classes: {crypto: {threshold: 4}}}}")
    detect(changed)
    assert alerts(marts_settings) == ["AAPL 09:01 zscore up"]


def test_a_crash_before_the_commit_leaves_nothing_and_the_retry_does_it_all(
    marts_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(marts_settings) as conn:
        put_candles(conn, "AAPL", [0, 3.5])
        queue(conn, "AAPL", 1)

    def crash(name: str) -> None:
        raise KeyboardInterrupt(name)

    with monkeypatch.context() as patch:
        patch.setattr(step, "crash_point", crash)
        with pytest.raises(KeyboardInterrupt, match="before_alert_commit"):
            detect(marts_settings)
    assert (alerts(marts_settings), queued(marts_settings)) == ([], {"AAPL": 1})
    detect(marts_settings)
    assert (alerts(marts_settings), queued(marts_settings)) == (["AAPL 09:01 zscore up"], {})


def test_the_same_step_twice_at_once_is_refused(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        put_candles(conn, "AAPL", [0, 3.5])
        queue(conn, "AAPL", 1)
        with lease(conn, "detect", seconds=60), pytest.raises(LeaseHeldError, match="the step detect runs already"):
            detect(marts_settings)
        assert queued(marts_settings) == {"AAPL": 1}
        assert detect(marts_settings).alerts == 1
        outcomes = conn.execute("select ok, row_count from ops.outcomes where step = 'detect' order by outcome_id")
        assert outcomes.fetchall() == [(False, None), (True, 1)]


def test_many_at_once_write_each_alert_once(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        for symbol in ("AAPL", "MSFT", "TSLA"):
            put_candles(conn, symbol, [0, 3.5, 0, 3.5])
            queue(conn, symbol, 0)

    def one(_: int) -> int:
        try:
            return detect(marts_settings).alerts
        except LeaseHeldError:
            return 0

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(one, range(8))) == 6
    assert len(alerts(marts_settings)) == 6


def test_a_long_replay_is_read_in_batches(marts_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "BATCH", 7)
    with connect(marts_settings) as conn:
        for symbol in ("AAPL", "MSFT"):
            put_candles(conn, symbol, [0, 4, 4, 0, 0] * 10)
            queue(conn, symbol, 0)
    assert detect(marts_settings) == DetectReport(symbols=2, candles=100, alerts=20)
    expected = [f"{symbol} {minute(5 * n + 1):%H:%M} zscore up" for n in range(10) for symbol in ("AAPL", "MSFT")]
    assert alerts(marts_settings) == expected


def test_flags_tell_all_candles_outside_and_which_of_them_alert(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        put_candles(conn, "AAPL", [3.1, 3.2, 0, -3.3, 9], final=4)
    found = flags(marts_settings, Window(T0 + timedelta(minutes=1), T0 + timedelta(minutes=5)))
    assert [(row["candle_start"], row["direction"], row["value"], row["is_start"]) for row in found] == [
        (minute(1), "up", 3.2, False),
        (minute(3), "down", -3.3, True),
    ]
    assert {"rule", "symbol", "threshold", "close", "severity"} < found[0].keys()


steps = st.lists(
    st.one_of(st.just("detect"), st.tuples(st.sampled_from(["AAPL", "MSFT"]), st.integers(0, 11))), max_size=8
)
zscores = st.lists(st.sampled_from([0, 3.5, -3.5, None]), min_size=12, max_size=12)


@examples(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(apple=zscores, microsoft=zscores, work=steps)
def test_however_the_queue_is_split_and_ordered_the_alerts_are_the_same(
    marts_settings: Settings, apple: list[float | None], microsoft: list[float | None], work: list[object]
) -> None:
    def start() -> None:
        conn.execute(
            "truncate marts.alerts, marts.alert_history, ops.findings, ops.judged, ops.outbox, "
            "ops.detect_queue, marts.indicators_1m"
        )
        put_candles(conn, "AAPL", apple)
        put_candles(conn, "MSFT", microsoft)

    def finish() -> set[str]:
        queue(conn, "AAPL", 0)
        queue(conn, "MSFT", 0)
        detect(marts_settings)
        found = alerts(marts_settings)
        assert len(found) == len(set(found))
        return set(found)

    with connect(marts_settings) as conn:
        start()
        at_once = finish()
        start()
        for one in work:
            if isinstance(one, tuple):
                queue(conn, *one)
            else:
                detect(marts_settings)
        assert finish() == at_once
