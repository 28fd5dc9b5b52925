"""`quantstream score` as people type it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from include import cli
from include.errors import ConfigError

SMALL = ["score", "--simulator", "--days", "0.25", "--instruments", "1", "--rules", "move"]


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_score_as_json() -> None:
    found = json.loads(run(*SMALL, "--json"))
    assert found["simulator"]["rules"]["move"]["judged"]["recall"] == 1.0
    assert found["nab"] is None


def test_a_page_with_its_pictures(tmp_path: Path) -> None:
    shown = run(*SMALL, "--seed", "5", "--out", str(tmp_path))
    assert "move" in shown
    text = (tmp_path / "scores.md").read_text()
    assert "quantstream score --simulator --days 0.25 --instruments 1 --seed 5 --rules move --out docs" in text
    assert [file.name for file in sorted(tmp_path.glob("images/*"))] == ["scores-delays.png", "scores-rules.png"]
    assert all(name in text for name in ("images/scores-delays.png", "images/scores-rules.png"))


def test_without_real_data_the_simulator_is_judged_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("include.settings.ROOT", tmp_path / "project")
    monkeypatch.setenv("QUANTSTREAM_INSTRUMENTS_FILE", str(Path(cli.__file__).parents[1] / "dbt/seeds/instruments.csv"))
    found = json.loads(run("score", *SMALL[2:], "--json"))
    assert found["simulator"] is not None
    assert "There is no folder" in found["missing"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rules", "spike"], "--rules spike: not among the enabled rules"),
        (["--instruments", "26"], "--instruments 26: .* has 25"),
        (["--nab", "--data", "/nowhere"], "There is no folder /nowhere"),
        (["--out", "/nowhere"], "--out /nowhere: there is no such folder"),
    ],
)
def test_what_cannot_be_done_is_said(arguments: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        run("score", "--simulator", *arguments)
