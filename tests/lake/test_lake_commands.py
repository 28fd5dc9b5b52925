"""`quantstream athena` and `quantstream compact`, as somebody types them; and what provisioning makes of the lake."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from include.cli import app
from include.commands import athena
from include.errors import ConfigError
from include.lake.samples import SAMPLES
from include.settings import Settings
from include.stack.local_aws import provision_with_lake
from tests.lake.lines import put, quote, trade

pytestmark = pytest.mark.stack

Type = Callable[..., Result]


@pytest.fixture
def typed(lake: Settings, monkeypatch: pytest.MonkeyPatch) -> Type:
    """Run a command on the lake of this test: two trades and a quote that arrived on one day."""
    monkeypatch.setattr("include.settings.load_settings", lambda: lake)
    put(lake, "2026-03-02", "a", [
        trade("BTC-USD", "2026-03-02T10:00", 100.5, 2, "1"), trade("AAPL", "2026-03-02T10:01", 49, 10, "2"),
        quote("BTC-USD", "2026-03-02T10:00", 107, previous_close=100),
    ])  # fmt: skip

    def run(*words: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, list(words), input=stdin)

    return run


def test_days_become_parquet_and_are_listed_and_checked(typed: Type) -> None:
    assert "2026-03-02  due" in " ".join(typed("compact", "--list").stdout.split("│")).replace("   ", "  ")
    assert typed("compact").stdout.startswith("2026-03-02: 3 rows of 1 objects in 2 files; ")
    assert typed("compact").stdout == "every day that is over is in Parquet\n"
    assert typed("compact", "--day", "2026-03-02").stdout == "2026-03-02: nothing new, 3 rows in 2 files\n"
    assert (
        typed("compact", "--day", "2026-03-02", "--verify").stdout == "2026-03-02: 2 files are as they were written\n"
    )
    assert "done" in typed("compact", "--list").stdout


def test_a_query_gives_a_table_csv_or_json_and_says_what_it_read(typed: Type) -> None:
    typed("compact")
    query = "select symbol, sum(size) as volume from trades where dt = '2026-03-02' group by symbol order by symbol"
    table = typed("athena", query)
    assert "AAPL" in table.stdout and "10.0" in table.stdout and "2 rows" in table.stdout
    assert "bytes scanned (computed: the local Athena does not count them)" in table.stderr
    assert typed("athena", "--csv", query).stdout == "symbol,volume\nAAPL,10.0\nBTC-USD,2.0\n"
    assert typed("athena", "--json", stdin=query + ";\n").stdout == (
        '{"symbol":"AAPL","volume":10.0}\n{"symbol":"BTC-USD","volume":2.0}\n'
    )


def test_a_sample_shows_its_sql_and_its_rows(typed: Type) -> None:
    typed("compact")
    done = typed("athena", "--sample", "big-moves", "--csv")
    assert done.stdout == "symbol,event_time,price,change_percent\nBTC-USD,2026-03-02 10:00:00,107.0,7.0\n"
    assert SAMPLES["big-moves"].title in done.stderr and "abs(change_percent) > 5" in done.stderr
    on_raw = typed("athena", "--sample", "big-moves", "--raw", "--csv")
    assert "from raw_events" in on_raw.stderr and "BTC-USD" in on_raw.stdout


def test_the_samples_that_can_be_named_are_those_there_are() -> None:
    assert [one.value for one in athena.SampleName] == list(SAMPLES)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["athena", "--csv", "--json", "select 1"], "--csv and --json: choose one"),
        (["athena", "--sample", "quick-look", "select 1"], "a query and --sample: choose one"),
        (["athena", "--raw", "select 1"], "--raw belongs to --sample"),
        (["compact", "--again"], "--again and --verify need a day"),
        (["compact", "--day", "yesterday"], "--day 'yesterday' is no day; write it like 2026-11-20"),
        (["compact", "--day", "2999-01-01"], "that day is not yet"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(words: list[str], said: str, typed: Type) -> None:
    error = typed(*words).exception
    assert isinstance(error, ConfigError) and said in str(error)


def test_an_empty_query_is_refused(typed: Type) -> None:
    error = typed("athena", stdin=" \n").exception
    assert isinstance(error, ConfigError) and "the query is empty" in str(error)


def test_provisioning_makes_rules_and_tables_once(lake: Settings) -> None:
    made = provision_with_lake(lake).created
    assert made[0] == f"rules of {lake.bucket}" and f"table {lake.glue_database}.trades" in made
    assert provision_with_lake(lake).created == ()
