"""The command line as scripts and people use it: help, exit codes, output that can be read by a program."""

import csv
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from include import cli, settings
from include.commands import sql as sql_module
from include.settings import ROOT, Settings
from include.stack.layout import Layout
from include.stack.secrets import load_secrets
from include.warehouse.db import connect
from tests.conftest import free_port

COMMANDS = [
    "up", "down", "clean", "status", "run", "alerts", "sql", "logs", "provision", "backfill", "gaps", "replay",
    "rebuild", "athena", "compact", "chart", "backtest", "score",
]  # fmt: skip
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """The real command as a process of its own, in a home where nothing runs."""

    def run(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        ports = {f"QUANTSTREAM_{name}_PORT": str(free_port()) for name in ("POSTGRES", "AWS", "AIRFLOW")}
        return subprocess.run(
            [sys.executable, "-m", "include.cli", *arguments],
            env=os.environ | ports | {"QUANTSTREAM_HOME": str(tmp_path / "home"), "COLUMNS": "200"} | environment,
            cwd=ROOT, input=stdin, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    return run


@pytest.fixture
def invoke(marts_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The command in this process, on a test's own warehouse."""
    monkeypatch.setattr(settings, "load_settings", lambda **overrides: marts_settings)

    def run(*arguments: str, stdin: str | None = None) -> str:
        result = CliRunner().invoke(cli.app, list(arguments), input=stdin, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def test_every_command_has_help_with_examples() -> None:
    for name in COMMANDS:
        shown = CliRunner().invoke(cli.app, [name, "--help"]).output
        assert "Example" in shown, name
        assert f"quantstream {name}" in shown, name


def test_the_help_is_there_at_once(command: Command) -> None:
    command("--help")  # compiles what was never imported
    started = time.monotonic()
    shown = command("--help")
    assert shown.returncode == 0
    assert "status" in shown.stdout
    assert time.monotonic() - started < 3, "0.3 s on an idle machine: something heavy is imported at the top"


def test_the_help_imports_nothing_heavy(command: Command) -> None:
    code = "import sys, include.cli; print([name for name in sys.modules if name in sys.argv])"
    heavy = [
        "pandas", "boto3", "psycopg", "dbt", "great_expectations", "airflow", "httpx", "sqlalchemy", "ministack",
        "matplotlib", "plotext", "bt",
    ]  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code, *heavy], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_version_is_that_of_the_package(command: Command) -> None:
    assert command("--version").stdout == "quantstream 0.1.0\n"


def test_a_wrong_setting_is_one_message_and_exit_code_2(command: Command) -> None:
    done = command("status", QUANTSTREAM_SHARDS="none")
    assert done.returncode == 2
    assert "QUANTSTREAM_SHARDS = 'none'" in done.stderr
    assert "Traceback" not in done.stderr


def test_where_nothing_runs_status_says_so_with_exit_code_3(command: Command) -> None:
    done = command("status", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["health"] == "not running"
    assert "make up" in command("status").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("sql", "select 1"),
        ("chart", "BTC-USD"),
        ("backtest", "--symbols", "BTC-USD"),
        ("logs",),
        ("alerts",),
        ("loads", "list"),
        ("models", "list"),
        ("airflow", "version"),
    ],
)
def test_what_needs_a_running_stack_says_so_with_exit_code_3(command: Command, arguments: tuple[str, ...]) -> None:
    done = command(*arguments)
    assert done.returncode == 3
    assert "make up" in done.stderr
    assert "Traceback" not in done.stderr


def test_down_where_nothing_runs_is_fine(command: Command) -> None:
    done = command("down")
    assert (done.returncode, done.stdout) == (0, "Nothing runs.\n")


def test_clean_asks_and_removes_nothing_without_an_answer(command: Command, tmp_path: Path) -> None:
    load_secrets(_made(Layout(tmp_path / "home")))
    assert command("clean", stdin="n\n").returncode == 1
    assert (tmp_path / "home").exists()
    assert command("clean", "--yes").returncode == 0
    assert not (tmp_path / "home").exists()


def test_clean_removes_no_folder_that_up_has_not_made(command: Command, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    done = command("clean", "--yes")
    assert done.returncode == 1
    assert "was not made by `quantstream up`" in done.stderr
    assert (tmp_path / "home" / "thesis.txt").exists()


def test_sql_gives_a_table_csv_or_json(invoke: Callable[..., str]) -> None:
    query = "select 'BTC-USD' as symbol, 1.50::numeric as price, null as age, timestamptz '2026-03-02 12:00Z' as at"
    assert "BTC-USD" in invoke("sql", query)
    assert list(csv.reader(io.StringIO(invoke("sql", "--format", "csv", query)))) == [
        ["symbol", "price", "age", "at"],
        ["BTC-USD", "1.50", "", "2026-03-02 12:00:00+00:00"],
    ]
    assert json.loads(invoke("sql", "--format", "json", query)) == {
        "symbol": "BTC-USD", "price": 1.5, "age": None, "at": "2026-03-02T12:00:00+00:00",
    }  # fmt: skip


def test_sql_is_read_from_standard_input_too_and_percent_signs_are_no_placeholders(invoke: Callable[..., str]) -> None:
    assert invoke("sql", "--format", "csv", stdin="select 'a' like 'a%' as yes") == "yes\nTrue\n"


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("select 1 fom x", 'syntax error at or near "x"'),
        ("select * from no_such_table", 'relation "no_such_table" does not exist'),
        ("delete from marts.alerts", "permission denied"),
        ("select * from raw.market_events", "permission denied"),
        ("set default_transaction_read_only = off; delete from marts.alerts", "permission denied"),
        ("set statement_timeout = '50ms'; select pg_sleep(5)", "took longer than"),
        ("", "the query is empty"),
    ],
)
def test_what_the_analyst_may_not_or_cannot_is_said_plainly(
    marts_settings: Settings, monkeypatch: pytest.MonkeyPatch, query: str, says: str
) -> None:
    monkeypatch.setattr(settings, "load_settings", lambda **overrides: marts_settings)
    result = CliRunner().invoke(cli.app, ["sql", query])
    assert says in str(result.exception)


def test_an_error_in_sql_points_at_its_place(marts_settings: Settings) -> None:
    with connect(marts_settings, role="analyst") as conn, pytest.raises(sql_module.QueryError) as caught:
        sql_module._run(conn, "select 1,\n  nothing\nfrom marts.instruments")
    assert str(caught.value).splitlines()[1:3] == ["  nothing", "  ^"]


def test_loads_are_listed_and_shown(invoke: Callable[..., str], marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        row = conn.execute(
            "insert into ops.loads (origin, state, is_live, read_count, failures)"
            " values ('raw/a.jsonl.gz', 'rejected', true, 25, %s) returning load_id",
            ['[{"expectation": "enough symbols"}]'],
        ).fetchone()
    assert row is not None
    assert "raw/a.jsonl.gz" in invoke("loads", "list", "--state", "rejected")
    assert json.loads(invoke("loads", "list", "--json"))["read_count"] == 25
    assert "enough symbols" in invoke("loads", "show", str(row[0]))


def test_alerts_that_were_too_old_to_send_are_counted_beside_those_that_arrived(
    invoke: Callable[..., str], marts_settings: Settings
) -> None:
    assert invoke("alerts") == "No alert has arrived yet.\n"
    with connect(marts_settings) as conn:
        conn.execute(
            "insert into marts.alerts (alert_key, rule, category, severity, message, state)"
            " select n, 'zscore', 'market', 'warning', 'm', 'history' from generate_series(1, 1234) as n"
        )
    assert invoke("alerts").splitlines() == [
        "Written down, too old to send: 1,234 (quantstream sql \"select * from alerts where state = 'history'\")",
        "No alert has arrived yet.",
    ]
    assert invoke("alerts", "--json") == ""


def test_the_end_of_a_log_is_shown(invoke: Callable[..., str], marts_settings: Settings) -> None:
    folder = Layout(marts_settings.home).logs
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scheduler.log").write_text("".join(f"line {number}\n" for number in range(100)))
    assert invoke("logs", "scheduler", "-n", "2") == "line 98\nline 99\n"
    assert "scheduler" in invoke("logs")


def _made(layout: Layout) -> Layout:
    layout.make()
    return layout
