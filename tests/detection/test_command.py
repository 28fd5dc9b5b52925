"""`quantstream detection`: list, show, check."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from include.cli import app
from include.detection.registry import RULES
from include.errors import ConfigError

RUN = CliRunner()


@pytest.fixture(autouse=True)
def no_warehouse(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QUANTSTREAM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("QUANTSTREAM_WAREHOUSE_DSN", "postgresql://nobody@127.0.0.1:1/none")


def test_all_rules_are_listed_with_what_holds() -> None:
    lines = [json.loads(line) for line in RUN.invoke(app, ["detection", "list", "--json"]).stdout.splitlines()]
    assert [line["name"] for line in lines] == list(RULES)
    assert {line["name"] for line in lines if not line["enabled"]} == {"bollinger_break", "ema_cross", "macd_cross"}
    assert "volume_shock" in RUN.invoke(app, ["detection", "list"]).stdout


def test_a_rule_is_shown_with_its_parameters(tmp_path: Path) -> None:
    file = tmp_path / "mine.yml"
    file.write_text("rules:\n  move: {minutes: 30, instruments: {AAPL: {threshold: 9}}}\n")
    said = RUN.invoke(app, ["detection", "show", "move", "--file", str(file)]).stdout
    assert "looks back 30 rows" in said
    assert "percent, above 0" in said
    assert ["minutes", "10", "30"] in [line.split()[:3] for line in said.splitlines()]
    assert "Other values hold for some" in said
    wrong = RUN.invoke(app, ["detection", "show", "moves"])
    assert isinstance(wrong.exception, ConfigError) and "did you mean 'move'?" in str(wrong.exception)


def test_a_file_is_checked_before_it_is_used(tmp_path: Path) -> None:
    file = tmp_path / "mine.yml"
    file.write_text("rules:\n  move: {enabled: false}\n")
    said = RUN.invoke(app, ["detection", "check", "--file", str(file)]).stdout
    assert said == f"{file}: 20 of 24 rules enabled, nothing wrong\n"
    file.write_text(
        "rules:\n  move: {instruments: {APPL: {threshold: 9}}}\n  portfolio_var: {portfolios: {coin: {}}}\n"
    )
    wrong = RUN.invoke(app, ["detection", "check", "--file", str(file)])
    assert isinstance(wrong.exception, ConfigError) and wrong.exception.exit_code == 2
    assert f"{file}:2: unknown symbol 'APPL' (did you mean 'AAPL'?)" in str(wrong.exception)
    assert f"{file}:3: unknown portfolio 'coin' (did you mean 'coins'?)" in str(wrong.exception)
