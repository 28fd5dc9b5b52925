"""What docs/detection.md says of the rules and of a wrong file is what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from include.detection.config import load_detection
from include.errors import ConfigError
from include.instruments import load_instruments
from include.settings import ROOT, Settings
from include.stack.checks import check_rules
from tests.detection.rule_table import lines

PAGE = (ROOT / "docs/detection.md").read_text()


def test_the_table_of_rules_is_that_of_the_rules() -> None:
    """`python -m tests.detection.rule_table` prints it."""
    table = [line for line in PAGE.splitlines() if line.startswith("|")]
    assert table == list(lines())


def test_the_wrong_file_of_the_page_is_refused_as_it_says(tmp_path: Path) -> None:
    shown = re.search(r"With\n\n```yaml\n(.*?)```\n\nthe answer is\n\n```\n(.*?)\n```", PAGE, re.DOTALL)
    assert shown
    file = tmp_path / "bad.yml"
    file.write_text(shown[1])
    symbols = {one.symbol for one in load_instruments(ROOT / "dbt/seeds/instruments.csv")}
    with pytest.raises(ConfigError) as error:
        load_detection(file, symbols, {"coins", "balanced"})
    assert str(error.value).replace(f"{tmp_path}/", "") == shown[2]


def test_a_start_is_refused_while_the_file_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "detection.yml"
    file.write_text("rules:\n  change: {threshold: much}\n")
    with pytest.raises(ConfigError, match=r"detection\.yml:2: rules\.change\.threshold is 'much'"):
        check_rules(Settings(detection_file=file))
    file.write_text("rules:\n  change: {threshold: 6}\n")
    assert check_rules(Settings(detection_file=file)) == 21
