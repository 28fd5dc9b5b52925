"""detection.yml: the nearest value wins, and a mistake is reported with its line and what is allowed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from include.detection.config import Detection, load_detection
from include.detection.registry import RULES
from include.errors import ConfigError
from include.settings import ROOT
from tests.detection.pictures import find, joined, rows

Write = Callable[[str], Path]
SYMBOLS = {"BTC-USD": "crypto", "AAPL": "equity", "ON": "equity"}
PORTFOLIOS = {"coins", "balanced"}
SHIPPED = ROOT / "include/config/detection.yml"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "detection.yml"
        path.write_text(text)
        return path

    return write


def test_the_file_that_is_shipped_names_every_rule_and_has_the_defaults() -> None:
    shipped = load_detection(SHIPPED, {}, {})
    assert [name for name in RULES if f"\n  {name}: " not in SHIPPED.read_text()] == []
    assert {name: shipped.params(name, "", None) for name in RULES} == {
        name: rule.params() for name, rule in RULES.items()
    }


def test_the_nearest_value_wins(write: Write) -> None:
    detection = load_detection(
        write("""
rules:
  zscore:
    threshold: 2.5
    severity: info
    asset_classes:
      crypto: {threshold: 4}
    instruments:
      BTC-USD: {severity: critical}
      ON: {threshold: 1}
  portfolio_drawdown:
    portfolios:
      coins: {threshold: 20}
"""),
        SYMBOLS,
        PORTFOLIOS,
    )

    def seen(rule: str, symbol: str) -> tuple[object, object]:
        params = detection.params(rule, symbol, SYMBOLS.get(symbol, "crypto"))
        return params.model_dump()["threshold"], params.severity

    assert seen("zscore", "AAPL") == (2.5, "info")
    assert seen("zscore", "ETH-USD") == (4.0, "info")
    assert seen("zscore", "BTC-USD") == (4.0, "critical")
    assert seen("zscore", "ON") == (1.0, "info")
    assert seen("portfolio_drawdown", "coins") == (20.0, "warning")
    assert seen("portfolio_drawdown", "balanced") == (5.0, "warning")


def test_series_with_other_values_are_judged_by_them(write: Write) -> None:
    detection = load_detection(
        write("""
rules:
  zscore: {asset_classes: {crypto: {threshold: 8}}, instruments: {ON: {enabled: false}}}
  change: {enabled: false}
"""),
        SYMBOLS,
    )
    series = [rows(symbol, zscore=[0, 5, 9], change_percent=[0, 9, 9]) for symbol in ("AAPL", "BTC-USD", "ON")]
    found = [(one.symbol, one.value, one.threshold) for one in find(joined(*series), detection, SYMBOLS)]
    assert found == [("AAPL", 5, 3.8), ("AAPL", 9, 3.8), ("BTC-USD", 9, 8)]


def test_what_is_enabled_anywhere_is_read_as_far_back_as_needed_anywhere() -> None:
    detection = Detection.of(
        ema_cross={"instruments": {"ON": {"enabled": True}}},
        change={"enabled": False},
        range_break={"window": 30, "asset_classes": {"crypto": {"window": 90}}},
        robust_zscore={"instruments": {"ON": {"enabled": False, "window": 600}}},
    )
    assert "ema_cross" in detection.enabled()
    assert "change" not in detection.enabled()
    assert (detection.history("range_break"), detection.history("robust_zscore")) == (90, 60)


def test_two_that_say_the_same_are_equal(write: Write) -> None:
    one = load_detection(write("rules:\n  zscore: {threshold: 4}\n"))
    other = Detection.of(zscore={"threshold": 4})
    assert (one == other, hash(one) == hash(other), one == Detection()) == (True, True, False)
    assert load_detection(write("# nothing yet\n"), SYMBOLS) == Detection()


ALLOWED = ", ".join(RULES)
MISTAKES = {
    "unknown rule": (
        "rules:\n  zscor: {}",
        f"2: unknown rule 'zscor' (did you mean 'zscore'?); allowed: {ALLOWED}",
    ),
    "a text as threshold": (
        "rules:\n  zscore:\n    threshold: '3'",
        "3: rules.zscore.threshold is '3': input should be a valid number (standard deviations, above 0)",
    ),
    "negative threshold": (
        "rules:\n  change:\n    threshold: -5",
        "3: rules.change.threshold is -5: input should be greater than 0 (percent, above 0)",
    ),
    "not a number": ("rules:\n  change:\n    threshold: .nan", "3: rules.change.threshold is nan: input should be"),
    "unknown key": (
        "rules:\n  change:\n    treshold: 5",
        "3: unknown key 'treshold' (did you mean 'threshold'?); allowed: enabled, severity,",
    ),
    "a key of another rule": (
        "rules:\n  sma_cross:\n    threshold: 5",
        "3: unknown key 'threshold'; allowed: enabled, severity, cooldown_minutes, asset_classes, instruments",
    ),
    "unknown key of an override": (
        "rules:\n  change:\n    instruments:\n      AAPL:\n        treshold: 5",
        "5: unknown key 'treshold' (did you mean 'threshold'?); allowed: enabled,",
    ),
    "too many in a row": (
        "rules:\n  source_divergence:\n    instruments:\n      AAPL: {consecutive: 61}",
        "4: rules.source_divergence.instruments.AAPL.consecutive is 61: input should be less than or equal to 60 (",
    ),
    "unknown symbol": (
        "rules:\n  change:\n    instruments:\n\n      BTCUSD: {threshold: 5}",
        "5: unknown symbol 'BTCUSD' (did you mean 'BTC-USD'?); allowed: the symbols of",
    ),
    "unknown portfolio": (
        "rules:\n  portfolio_var:\n    portfolios:\n      coin: {}",
        "4: unknown portfolio 'coin' (did you mean 'coins'?); allowed: those of the portfolios file",
    ),
    "a portfolio has no asset class": (
        "rules:\n  portfolio_var:\n    asset_classes:\n      crypto: {}",
        "3: unknown key 'asset_classes'; allowed: enabled,",
    ),
    "unknown asset class": (
        "rules:\n  change:\n    asset_classes:\n      stocks: {}",
        "4: unknown asset class 'stocks'; allowed: equity, crypto",
    ),
    "window longer than the history": (
        "rules:\n  range_break:\n    threshold: 2\n    window: 20000",
        "4: rules.range_break.window is 20000: the rule would look back 20,000 rows, further than the history that is "
        "kept; at most 10,080 (a week of minutes)",
    ),
    "such a window of one instrument, with the class's other values": (
        "rules:\n  frozen_feed:\n    minutes: 5000\n    instruments:\n      ON:\n        window: 9000",
        "6: rules.frozen_feed.instruments.ON.window is 9000: the rule would look back 14,000 rows",
    ),
    "unknown severity": (
        "rules:\n  change:\n    severity: bad",
        "3: rules.change.severity is 'bad': input should be 'info', 'warning' or 'critical'",
    ),
    "the same key twice": (
        "rules:\n  change:\n    threshold: 5\n    threshold: 6",
        "4: rules.change.threshold stands here twice (first in line 3)",
    ),
    "unknown section": ("rulez: {}", "1: unknown key 'rulez' (did you mean 'rules'?); allowed: rules, own"),
    "a list": ("- 1", "1: the file is [1]: it must be a mapping"),
    "a number as rule": ("rules:\n  change: 5", "2: rules.change is 5: it must be a mapping"),
    "a number as instruments": ("rules:\n  change:\n    instruments: 5", "3: rules.change.instruments is 5: it must"),
    "own rules that are no list": ("own: x.py", "1: own is 'x.py': it must be a list of rules, one a line"),
}


@pytest.mark.parametrize(("text", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_names_its_line_and_what_is_allowed(write: Write, text: str, said: str) -> None:
    path = write(text)
    with pytest.raises(ConfigError) as error:
        load_detection(path, SYMBOLS, PORTFOLIOS)
    assert f"{path}:{said}" in str(error.value)


def test_all_mistakes_are_reported_at_once(write: Write) -> None:
    path = write("rules:\n  zscore: {threshold: 0}\n  change: {threshold: yes}\n  gap: {}\nown:\n  - nowhere.py\n")
    with pytest.raises(ConfigError) as error:
        load_detection(path, SYMBOLS)
    lines = str(error.value).splitlines()
    assert lines[0] == "wrong detection rules:"
    assert [line.strip().split(": ")[0] for line in lines[1:]] == [f"{path}:{n}" for n in (2, 3, 4, 6)]


def test_in_code_a_mistake_is_refused_as_well() -> None:
    with pytest.raises(ConfigError, match=r"rules\.zscore\.threshold is '3'"):
        Detection.of(zscore={"threshold": "3"})


def test_no_file_and_no_yaml_are_said_plainly(write: Write, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*nowhere\.yml \(setting QUANTSTREAM_DETECTION_FILE\)"):
        load_detection(tmp_path / "nowhere.yml")
    with pytest.raises(ConfigError, match=r"is no YAML: (.|\n)*line 2"):
        load_detection(write("rules: [\n}"))
