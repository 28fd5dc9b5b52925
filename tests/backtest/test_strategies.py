"""What each strategy wants after each candle; parameters and grids."""

from __future__ import annotations

import pytest

from include.backtest.strategies import STRATEGIES
from include.backtest.strategy import Strategy, StrategyError, check_signals, find, parse_grid, parse_params
from include.errors import ConfigError
from tests.backtest.pictures import frame


def said(name: str, closes: str, *, short: bool = True, vwap: float | None = None, **params: float) -> str:
    """A sign for each close: + long, - short, 0 nothing."""
    prices = [float(close) for close in closes.split()]
    candles = frame(prices, prices).assign(vwap_session=vwap)
    strategy = STRATEGIES[name]
    positions = strategy.positions(candles, {**strategy.defaults, **params}, short=short)
    return " ".join({1.0: "+", 0.0: "0", -1.0: "-"}[value] for value in positions)


def test_sma_cross() -> None:
    closes = "10 10 12 14 10  8  8"
    #    mean of 1 against the mean of 2: equal keeps what was
    assert said("sma_cross", closes, fast=1, slow=2) == "0 0 + + - - -"
    assert said("sma_cross", closes, fast=1, slow=2, short=False) == "0 0 + + 0 0 0"


def test_a_rounding_error_is_no_cross() -> None:
    assert said("sma_cross", "0.1 0.1 0.1 0.3 0.3 0.3 0.3", fast=2, slow=3) == "0 0 0 + + + +"


def test_ema_cross() -> None:
    assert said("ema_cross", "10 10 10 13 13  7  7", fast=1, slow=3) == "0 0 0 + + - -"


def test_macd_cross() -> None:
    assert said("macd_cross", "10 10 10 10 13 16 10  7", fast=1, slow=2, signal=2) == "0 0 0 0 + + - -"


def test_rsi_reversion() -> None:
    closes = "10 9 8 7 8 9 10 11 10"
    assert said("rsi_reversion", closes, window=2, low=10, high=80) == "0 0 + + + + - - -"


def test_bollinger_reversion() -> None:
    closes = "10 10 10 8 9 11 11 11 14 13"
    assert said("bollinger_reversion", closes, window=4, deviations=1.5) == "0 0 0 + + 0 0 0 - -"


def test_vwap_reversion() -> None:
    closes = "100 99 99.9 100.1 101.5 100.2 99.9"
    assert said("vwap_reversion", closes, vwap=100.0, distance=50) == "0 + + 0 - - 0"


def test_what_is_not_said_has_its_default() -> None:
    assert parse_params(STRATEGIES["sma_cross"], "slow=50") == {"fast": 5, "slow": 50}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fast=x", "fast = 'x': it is a whole number from 1 to 5000 (candles)"),
        ("fast=0", "fast = '0': it is a whole number from 1 to 5000"),
        ("fast=2.5", "fast = '2.5': it is a whole number"),
        ("speed=3", "--params speed=3: write NAME=VALUE; sma_cross has fast, slow"),
        ("fast", "--params fast: write NAME=VALUE"),
        ("fast=20", "--params fast=20: fast = 20 is not below slow = 20"),
    ],
)
def test_wrong_parameters_are_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_params(STRATEGIES["sma_cross"], text)
    assert message in str(refused.value)


def test_an_unknown_strategy_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError) as refused:
        find(STRATEGIES, "sma_cros")
    assert str(refused.value) == (
        "--strategy sma_cros: there is none of this name (did you mean sma_cross?); known are sma_cross, ema_cross, "
        "macd_cross, rsi_reversion, bollinger_reversion, vwap_reversion"
    )


def test_a_grid_is_every_combination_that_makes_sense() -> None:
    cross = STRATEGIES["sma_cross"]
    assert parse_grid(cross, "fast=5,20 slow=20,50", cross.defaults) == [
        {"fast": 5, "slow": 20}, {"fast": 5, "slow": 50}, {"fast": 20, "slow": 50},
    ]  # fmt: skip
    assert parse_grid(cross, "fast=7", cross.defaults) == [{"fast": 7, "slow": 20}]
    assert len(parse_grid(cross, "", cross.defaults)) == 8  # its own grid: 3 by 3, without 20 and 20


@pytest.mark.parametrize("text", ["fast=50 slow=20", "fast=" + ",".join(map(str, range(1, 800))) + " slow=900"])
def test_a_grid_of_nothing_or_of_too_much_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--grid .*: [\d,]+ combinations make sense; from 1 to 500 can be tried"):
        parse_grid(STRATEGIES["sma_cross"], text, STRATEGIES["sma_cross"].defaults)


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=lambda one: one.name)
def test_every_strategy_is_within_its_own_bounds(strategy: object) -> None:
    for one in strategy.parameters:  # type: ignore[attr-defined]
        assert all(one.low <= value <= one.high for value in (one.default, *one.grid)), one.name
    assert strategy.objection(strategy.defaults) == ""  # type: ignore[attr-defined]
    assert strategy.history(strategy.defaults) >= strategy.warm_up(strategy.defaults)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("signals", "message"),
    [
        (lambda candles, _: candles["close"], "gives 3 values from 10 to 12 for 3 candles"),
        (lambda candles, _: candles["close"].iloc[1:] * 0, "gives 2 values from 0 to 0 for 3 candles"),
    ],
    ids=["prices", "too few"],
)
def test_what_is_no_position_is_refused(signals: object, message: str) -> None:
    wrong = Strategy("wrong", "gives something else", (), signals, lambda _: 1)  # type: ignore[arg-type]
    with pytest.raises(StrategyError, match=message):
        check_signals(wrong, frame([10, 11, 12], [10, 11, 12]), {})
