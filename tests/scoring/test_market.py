"""The simulator's market as candles, and a very small score of it; real candles as rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from include.detection.config import Detection
from include.errors import ConfigError
from include.events import Window
from include.instruments import Instrument
from include.life.config import Grouping
from include.pipeline.score import START, called, score_simulator
from include.pipeline.score_columns import columns, rows_of
from include.pipeline.score_events import read_candles, read_events
from include.pipeline.score_findings import chosen_rules, find, pieces, raise_alerts
from include.pipeline.score_market import labels_of, simulate
from include.pipeline.score_nab import RealSeries, score_nab
from include.scoring.chains import Raised
from include.scoring.match import told_after
from include.scoring.report import page
from include.scoring.results import Scores, SimulatorScore
from include.settings import Settings
from include.sources.simulator import Query, Simulator

HOUR = timedelta(hours=1)


def instrument(symbol: str) -> Instrument:
    return Instrument(symbol, "crypto", "USD", "24/7", "simulator", {"simulator": symbol})


TWO = (instrument("BTC-USD"), instrument("ETH-USD"))


def minutes(*closes: float, start: str = "2026-03-02 10:00", **more: object) -> pd.DataFrame:
    index = pd.date_range(start, periods=len(closes), freq="min", tz="UTC")
    close = np.array(closes, dtype=np.float64)
    return pd.DataFrame({"high": close, "low": close, "close": close, "volume": close * 0 + 1, **more}, index=index)


def test_the_market_is_what_the_source_says() -> None:
    window = Window(START, START + 3 * HOUR)
    found = simulate(2, TWO, window)
    source = Simulator(Settings(simulator_seed=2))
    said = [one for part in source.extract(Query(window, TWO, ("quote",))) for one in part.said]
    wanted = [
        (symbol, at.replace(second=0, microsecond=0), payload["price"]) for symbol, at, _, payload in said
        if isinstance(payload.get("price"), float) and payload["price"] > 0
    ]  # fmt: skip
    got = [(symbol, at, close) for symbol, frame in found.items() for at, close in frame["close"].items()]
    assert sorted(got) == sorted(wanted)
    assert 300 < len(got) < 360, "some minutes are a gap or malformed"


def test_volume_is_what_the_day_s_grew_and_not_known_of_the_day_s_first_minute() -> None:
    frame = simulate(2, TWO, Window(START, START + HOUR))["BTC-USD"]
    assert np.isnan(frame["volume"].iloc[0])
    assert (frame["volume"].iloc[1:] >= 0).all()


def test_the_columns_of_a_few_minutes() -> None:
    found = columns(minutes(*range(1, 22)))
    assert found["sma_20"][19:].tolist() == [10.5, 11.5]
    assert found["zscore"][19] == pytest.approx(1.6475089420958281)  # as tests/transform/test_indicators.py has it
    assert np.isnan(found["zscore"][:19]).all()
    assert found["return"][1] == 1.0
    assert np.isnan(found["previous_close"]).all(), "there is no earlier day"
    still = columns(minutes(*[0.1] * 21, 0.2))
    assert np.isnan(still["zscore"][20]), "a price that does not move has none"
    assert still["zscore"][21] == pytest.approx(4.358898943540674)


def test_a_session_begins_with_the_opening_and_at_midnight() -> None:
    late = minutes(10.0, 20.0, start="2026-03-02 14:29")  # XNYS opens at 14:30
    assert columns(late, "XNYS")["vwap_session"].tolist() == [10, 20]
    assert columns(late)["vwap_session"].tolist() == [10, 15]
    night = minutes(10.0, 20.0, start="2026-03-02 23:59")
    assert columns(night, "XNYS")["vwap_session"].tolist() == [10, 20]
    assert columns(night)["change_percent"][1] == 100


@pytest.fixture(scope="module")
def small() -> SimulatorScore:
    detection = chosen_rules(Detection.of(), ["move", "sma_cross", "source_divergence"])
    return score_simulator(detection, TWO, seed=3, days=1)


def test_a_very_small_score(small: SimulatorScore) -> None:
    labels = labels_of(3, TWO, Window(START, START + timedelta(days=1)))
    assert small.kinds["crash"].labels == sum(label.kind == "crash" for label in labels) > 0
    assert small.kinds["crash"].recall == 1.0
    move = small.rules["move"]
    assert (move.judged.recall, move.judged.wrong) == (1.0, 0)
    assert move.judged.delays.p50 == 1
    assert list(small.left_out) == ["source_divergence"]


def test_what_is_a_signal_pages_nobody(small: SimulatorScore) -> None:
    both = small.rules["move"].judged.alerts + small.rules["sma_cross"].judged.alerts
    assert small.together.judged.alerts == small.rules["move"].judged.alerts < both


def test_what_an_instrument_does_at_once_is_one_call() -> None:
    def one(rule: str, minute: int, symbol: str = "AAPL", direction: str = "down") -> Raised:
        return Raised(rule, symbol, direction, "warning", (START + timedelta(minutes=minute),))

    alerts = [one("zscore", 0), one("change", 0), one("move", 1), one("zscore", 2), one("zscore", 0, "MSFT")]
    assert called(alerts, ["change", "move", "zscore"], Grouping()) == [alerts[1], alerts[3], alerts[4]]


def test_the_page_says_whether_the_aim_is_reached(small: SimulatorScore) -> None:
    text = page(Scores(simulator=small), "quantstream score --days 1 --out docs")
    assert "quantstream score --days 1 --out docs" in text
    assert "| crash |" in text
    assert "**not reached**" in text, "a volume shock is not found by these rules"
    assert "Left out: `source_divergence` (it looks at closes" in text


def test_a_series_that_jumps_is_found_by_the_rules_on_values() -> None:
    values = np.concatenate([np.sin(np.arange(400.0)) + 10, [60.0], np.sin(np.arange(99.0)) + 10])
    at = tuple(datetime(2026, 3, 2, tzinfo=UTC) + timedelta(minutes=5 * n) for n in range(500))
    detection = chosen_rules(Detection.of(), ["range_break", "volume_shock"])
    score = score_nab(detection, [RealSeries("jump", at, values, ((395, 410),))])
    assert score.rules["range_break"].score > 80
    assert list(score.left_out) == ["volume_shock"]
    assert set(score.baselines) == {"windowed Gaussian", "Bayesian changepoint"}


def test_rows_in_pieces_are_the_same_rows() -> None:
    rows = rows_of("A", minutes(*range(1, 12)))
    parts = list(pieces(rows, 4))
    assert [len(part) for part in parts] == [4, 4, 3]
    assert [part.is_first.tolist()[0] for part in parts] == [True, False, False]
    assert np.concatenate([part["close"] for part in parts]).tolist() == rows["close"].tolist()


def test_a_rule_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"--rules spike: not among the enabled rules .*: .*move"):
        chosen_rules(Detection.of(), ["spike"])


@pytest.mark.data
def test_a_move_in_real_candles_is_told_on_its_candle(shared_data: Path) -> None:
    name = "bitfinex_1min_2018q1.parquet/BTCUSD"
    (frame,) = [
        frame for symbol, frame in read_candles(shared_data / "candles" / name.split("/")[0]) if symbol == "BTCUSD"
    ]
    part = frame.loc["2018-01-16":"2018-01-17"]
    labels = [one for one in read_events(shared_data, [name]) if part.index[0] <= one.starts_at <= part.index[-1]]
    raised = raise_alerts(find(rows_of(name, part), chosen_rules(Detection.of(), ["move"]), "crypto"))
    told = told_after(raised, labels, timedelta(0))
    assert [told[place] for place in range(len(labels))] == [1.0] * len(labels)
    assert len(labels) == 7
