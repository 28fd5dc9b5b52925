"""`quantstream gaps` as people and scripts use it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable

import psycopg
import pytest
from typer.testing import CliRunner

from include import cli, settings
from include.errors import ConfigError
from include.settings import Settings
from include.warehouse.leases import lease
from tests.gaps.pictures import fetched, traded


@pytest.fixture
def invoke(marts_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    monkeypatch.setattr(settings, "load_settings", lambda **_: marts_settings)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(cli.app, ["gaps", *arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    return run


@pytest.fixture
def holes(conn: psycopg.Connection) -> None:
    """An hour of BTC-USD over midnight, and one of X that was replayed from a file."""
    traded(conn, "BTC-USD", "00:00 .. 23:30", "+1 00:30 .. +1 23:00")
    fetched(conn, "BTC-USD", "00:00 .. +2 00:00")
    traded(conn, "X", "00:00 .. 10:00", "11:00 .. 24:00", source="replay")


@pytest.mark.usefixtures("holes")
def test_people_read_runs_reasons_and_what_to_do(invoke: Callable[..., str]) -> None:
    table, _, summary = invoke().partition("\n\n")
    assert [line.split()[:8] for line in table.splitlines()[1:]] == [
        ["replay", "X", "2026-03-02", "10:00", "2026-03-02", "11:00", "60", "unknown"],
        ["binance", "BTC-USD", "2026-03-02", "23:30", "2026-03-03", "00:30", "60", "outage"],  # one run, two sessions
    ]
    assert summary.splitlines() == [
        "binance: 60 minutes of 1 instrument are missing (outage 60); "
        "quantstream backfill --gaps --source binance --from 2026-03-02",
        "replay: 60 minutes of 1 instrument are missing (unknown 60); it has no history to fetch them from",
    ]


@pytest.mark.usefixtures("holes")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--source", "replay"], {"X"}),
        (["--symbol", "BTC-USD,X"], {"BTC-USD", "X"}),
        (["--reason", "outage"], {"BTC-USD"}),
        (["--from", "2026-03-02T12:00"], {"BTC-USD"}),
        (["--to", "2026-03-02T12:00"], {"X"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",  # sets have no order
)
def test_programs_read_csv_and_json(invoke: Callable[..., str], options: list[str], expected: set[str]) -> None:
    as_csv = list(csv.DictReader(io.StringIO(invoke("--csv", *options))))
    as_json = [json.loads(line) for line in invoke("--json", *options).splitlines()]
    assert {row["symbol"] for row in as_csv} == {row["symbol"] for row in as_json} == expected
    assert as_json[0].keys() == as_csv[0].keys() >= {"gap_start", "gap_end", "minutes", "reason", "found_at"}


def test_where_nothing_is_missing_it_says_so(invoke: Callable[..., str], conn: psycopg.Connection) -> None:
    traded(conn, "BTC-USD", "00:00 .. 24:00")
    assert invoke() == "no gaps in all that is there\n"
    assert invoke("--from", "2026-03-01", "--to", "2026-03-05") == (
        "no gaps between 2026-03-01 00:00 and 2026-03-05 00:00 UTC\n"
    )


@pytest.mark.usefixtures("holes")
def test_while_another_search_runs_it_shows_what_is_known(invoke: Callable[..., str], conn: psycopg.Connection) -> None:
    with lease(conn, "gaps", seconds=60):
        shown = invoke()
    assert "these are the gaps that were known before" in shown and "no gaps in all that is there" in shown


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--source", "binanze"], "--source binanze: allowed are simulator, "),
        (["--symbol", "btc"], "--symbol btc: not among the instruments; known are "),
        (["--from", "2026-03-02", "--to", "2026-03-02"], "--to 2026-03-02 is not after --from 2026-03-02"),
        (["--from", "yesterday"], "--from"),
        (["--json", "--csv"], "--json and --csv: give one of them"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_it_cannot_know_is_refused_by_name(
    marts_settings: Settings, monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.setattr(settings, "load_settings", lambda **_: marts_settings)
    with pytest.raises(ConfigError) as refused:
        CliRunner().invoke(cli.app, ["gaps", *options], catch_exceptions=False)
    assert said in str(refused.value)
