"""detection.yml: the nearest value wins, and a mistake is reported with its line and what is allowed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from include.detection.config import Detection, load_detection
from include.errors import ConfigError
from include.settings import ROOT
from tests.detection.pictures import find, rows, starts

Write = Callable[[str], Path]
SYMBOLS = {"BTC-USD": "crypto", "AAPL": "equity", "ON": "equity"}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "detection.yml"
        path.write_text(text)
        return path

    return write


def test_the_file_that_is_shipped_has_the_defaults() -> None:
    assert load_detection(ROOT / "include/config/detection.yml", {}).model_dump() == Detection().model_dump()


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
"""),
        SYMBOLS,
    )
    seen = {
        symbol: (params.threshold, params.severity)
        for symbol in ("AAPL", "ETH-USD", "BTC-USD", "ON")
        for params in [detection.params("zscore", symbol, SYMBOLS.get(symbol, "crypto"))]
    }
    assert seen == {"AAPL": (2.5, "info"), "ETH-USD": (4.0, "info"), "BTC-USD": (4.0, "critical"), "ON": (1.0, "info")}


def test_a_rule_that_is_switched_off_finds_nothing_and_another_symbol_goes_on(write: Write) -> None:
    detection = load_detection(
        write("rules: {zscore: {instruments: {AAPL: {enabled: false}}}, change: {enabled: false}}"), SYMBOLS
    )
    candles = [*rows("AAPL", zscore=[0, 9], change_percent=[0, 9]), *rows("ON", zscore=[0, 9], change_percent=[0, 9])]
    found = find(candles, detection, SYMBOLS)
    assert [(one.rule, one.symbol) for one in found] == [("zscore", "ON")]
    assert starts(found) == ["09:01 up"]


def test_an_empty_file_means_the_defaults(write: Write) -> None:
    assert load_detection(write("# nothing yet\n"), SYMBOLS) == Detection()


MISTAKES = {
    "unknown rule": (
        "rules:\n  zscor: {}",
        "2: unknown rule 'zscor' (did you mean 'zscore'?); allowed: zscore, change, sma_cross, source_divergence",
    ),
    "a text as threshold": (
        "rules:\n  zscore:\n    threshold: '3'",
        "3: rules.zscore.threshold is '3': input should be a valid number (standard deviations, above 0)",
    ),
    "negative threshold": (
        "rules:\n  change:\n    threshold: -5",
        "3: rules.change.threshold is -5: input should be greater than 0 (percent, above 0)",
    ),
    "not a number": (
        "rules:\n  change:\n    threshold: .nan",
        "3: rules.change.threshold is nan: input should be",
    ),
    "unknown key": (
        "rules:\n  change:\n    treshold: 5",
        "3: unknown key 'treshold' (did you mean 'threshold'?); allowed: enabled, severity, threshold",
    ),
    "a key of another rule": (
        "rules:\n  sma_cross:\n    threshold: 5",
        "3: unknown key 'threshold'; allowed: enabled, severity, asset_classes, instruments",
    ),
    "unknown key of an override": (
        "rules:\n  change:\n    instruments:\n      AAPL:\n        treshold: 5",
        "5: unknown key 'treshold' (did you mean 'threshold'?); allowed: enabled, severity, threshold",
    ),
    "too many in a row": (
        "rules:\n  source_divergence:\n    instruments:\n      AAPL: {consecutive: 61}",
        "4: rules.source_divergence.instruments.AAPL.consecutive is 61: input should be less than or equal to 60 (",
    ),
    "a key that source_divergence lacks": (
        "rules:\n  source_divergence:\n    window: 5",
        "3: unknown key 'window'; allowed: enabled, severity, threshold, consecutive, asset_classes, instruments",
    ),
    "unknown symbol": (
        "rules:\n  change:\n    instruments:\n\n      BTCUSD: {threshold: 5}",
        "5: unknown symbol 'BTCUSD' (did you mean 'BTC-USD'?); allowed: the symbols of",
    ),
    "unknown asset class": (
        "rules:\n  change:\n    asset_classes:\n      stocks: {}",
        "4: rules.change.asset_classes.stocks is 'stocks': input should be 'equity' or 'crypto'",
    ),
    "unknown severity": (
        "rules:\n  change:\n    severity: bad",
        "3: rules.change.severity is 'bad': input should be 'info', 'warning' or 'critical'",
    ),
    "the same key twice": (
        "rules:\n  change:\n    threshold: 5\n    threshold: 6",
        "4: rules.change.threshold stands here twice (first in line 3)",
    ),
    "unknown section": ("rulez: {}", "1: unknown key 'rulez' (did you mean 'rules'?); allowed: rules"),
    "a list": ("- 1", "1: the file is [1]: input should be"),
    "a number as rule": ("rules:\n  change: 5", "2: rules.change is 5: input should be"),
}


@pytest.mark.parametrize(("text", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_names_its_line_and_what_is_allowed(write: Write, text: str, said: str) -> None:
    path = write(text)
    with pytest.raises(ConfigError) as error:
        load_detection(path, SYMBOLS)
    assert f"{path}:{said}" in str(error.value)


def test_all_mistakes_are_reported_at_once(write: Write) -> None:
    path = write("rules:\n  zscore: {threshold: 0}\n  change: {threshold: yes}\n  gap: {}\n")
    with pytest.raises(ConfigError) as error:
        load_detection(path, SYMBOLS)
    lines = str(error.value).splitlines()
    assert lines[0] == "wrong detection rules:"
    assert [line.strip().split(": ")[0] for line in lines[1:]] == [f"{path}:{n}" for n in (2, 3, 4)]


def test_no_file_and_no_yaml_are_said_plainly(write: Write, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*nowhere\.yml \(setting QUANTSTREAM_DETECTION_FILE\)"):
        load_detection(tmp_path / "nowhere.yml")
    with pytest.raises(ConfigError, match=r"is no YAML: (.|\n)*line 2"):
        load_detection(write("rules: [\n}"))
