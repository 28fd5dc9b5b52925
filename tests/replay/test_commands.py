"""`quantstream replay`, `rebuild` and `stream` as people type them, on a platform without Airflow."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from include import cli, settings
from include.aws import client
from include.commands.replay import watch
from include.instruments import register
from include.pipeline.transform import transform
from include.settings import Settings
from include.stack.airflow_api import Run
from include.stack.local_aws import provision
from include.warehouse.db import connect
from tests.conftest import Servers, make_warehouse, warehouse_settings
from tests.replay.minutes import NOW, do, keys, minute, prices, query, quote

pytestmark = pytest.mark.stack
Type = Callable[..., Result]


LENIENT = {"audit_max_bad_share": 1.0, "audit_min_symbol_share": 0.0}


@pytest.fixture
def platform_of_one(make_settings: Callable[..., Settings], template_marts: str) -> Settings:
    """Two quotes are in, one of a symbol that is not known lies in quarantine."""
    return lived(make_settings(template=template_marts, **LENIENT))


@pytest.fixture(scope="module")
def unchanged(servers: Servers, template_marts: str) -> Settings:
    """The same, for all tests that change nothing."""
    name = f"unchanged_{uuid.uuid4().hex[:8]}"
    make_warehouse(servers, name, template=template_marts)
    made = warehouse_settings(servers, name, **LENIENT)
    provision(made)
    return lived(made)


def lived(made: Settings) -> Settings:
    minute(made, quote("BTC-USD", 1), quote("ETH-USD", 2), quote("NEW-USD", 3))
    transform(made)
    return made


@pytest.fixture
def type_in(platform_of_one: Settings, monkeypatch: pytest.MonkeyPatch) -> Type:
    return typing_into(platform_of_one, monkeypatch)


def typing_into(made: Settings, monkeypatch: pytest.MonkeyPatch) -> Type:
    monkeypatch.setattr(settings, "load_settings", lambda **overrides: made)
    return lambda *words, **more: CliRunner(env={"COLUMNS": "200"}).invoke(cli.app, list(words), **more)


@pytest.mark.parametrize("words", [["replay"], ["rebuild"], ["stream", "reset"], ["stream", "status"]])
def test_the_help_has_examples(words: list[str]) -> None:
    shown = CliRunner().invoke(cli.app, [*words, "--help"]).output
    assert "Example" in shown and f"quantstream {' '.join(words)}" in shown


def test_the_two_replays_tell_of_each_other() -> None:
    assert "quantstream run --source replay" in CliRunner().invoke(cli.app, ["replay", "--help"]).output
    assert "quantstream replay" in CliRunner().invoke(cli.app, ["run", "--help"]).output


def test_a_replay_is_shown_and_done(platform_of_one: Settings, type_in: Type) -> None:
    shown = type_in("replay", "--from", "2026-01-01", "--dry-run")
    assert shown.exit_code == 0 and "1 objects" in shown.output and "3 events" in shown.output
    with connect(platform_of_one) as conn:
        register(conn, ["NEW-USD"], "crypto")

    done = type_in("replay", "--from", "2026-01-01", "--json")

    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert (summary["complete"], summary["objects"], summary["released"]) == (True, 1, 1)
    assert prices(platform_of_one)[-1] == ("NEW-USD", 3)
    assert query(platform_of_one, "select count(*) from marts.quotes where symbol = 'NEW-USD'") == [(1,)]
    again = type_in("replay", "--resume", summary["replay_id"], "--json")
    assert json.loads(again.stdout)["known"] == 1


def test_a_replay_that_left_something_out_ends_with_1(platform_of_one: Settings, type_in: Type) -> None:
    client(platform_of_one, "s3").delete_object(Bucket=platform_of_one.bucket, Key=keys(platform_of_one)[0])
    failed = type_in("replay", "--from", "2026-01-01")
    assert failed.exit_code == 1
    assert "is in the ledger (ops.stream_ranges) and not in the lake" in failed.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["replay"], "--from is missing"),
        (["replay", "--from", "soon"], "--from = 'soon'"),
        (["replay", "--from", "2026-01-02", "--to", "2026-01-01"], "is not after --from"),
        (["replay", "--from", "2026-01-01", "--source", "nobody"], "--source nobody: allowed are"),
        (["replay", "--resume", "nothing"], "there was no replay of this id"),
        (["stream", "reset"], "one of --sequence, --timestamp and --horizon"),
        (["stream", "reset", "--horizon", "--sequence", "1"], "one of --sequence, --timestamp and --horizon"),
        (["stream", "reset", "--horizon", "--shard", "x"], "has no shard x"),
    ],
)
def test_what_makes_no_sense_is_refused(
    unchanged: Settings, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    refused = typing_into(unchanged, monkeypatch)(*words)
    assert said in str(refused.exception)
    assert getattr(refused.exception, "exit_code", None) == 2


def test_each_try_that_fails_is_told_while_airflow_still_tries(settings: Settings) -> None:
    states = iter(["running", "running", "running", "failed"])
    failures = iter([None, "object a is missing", None, "object a is still missing"])

    def ask() -> Run:
        if why := next(failures):
            do(
                settings,
                "insert into ops.outcomes (step, ok, run_id, error) values ('x', false, 'one', %s)",
                why,
            )
        return Run("lake_replay", "one", next(states), NOW, NOW, None)

    shown = Console(record=True, width=200)
    with connect(settings) as conn:
        ended = watch(ask, Run("lake_replay", "one", "queued", NOW, None, None), conn, 1, shown, pause=0.01)
    said = [line for line in shown.export_text().splitlines() if line.startswith("failed")]
    assert said == [
        "failed: Airflow tries again later (Ctrl-C ends the watching only): object a is missing",
        "failed: object a is still missing",
    ]
    assert ended.state == "failed"


def test_the_stream_is_shown_and_set_back(platform_of_one: Settings, type_in: Type) -> None:
    assert "shardId-000000000000" in type_in("stream", "status").output
    shown = type_in("stream", "reset", "--horizon", "--dry-run")
    assert "1 of 1 shards are read again from the horizon, about 3 records with 3 events" in shown.output
    refused = type_in("stream", "reset", "--horizon", input="n\n")
    assert refused.exit_code == 1
    assert query(platform_of_one, "select count(*) from ops.stream_resets") == [(0,)]
    done = json.loads(type_in("stream", "reset", "--horizon", "--json").stdout)
    assert done["done"] and done["shards"][0]["events"] == 3
    status = json.loads(type_in("stream", "status", "--json").stdout)
    assert (status["is_set_back"], status["unread"]) == (True, 3)


def test_a_rebuild_asks_and_compares(platform_of_one: Settings, type_in: Type) -> None:
    assert type_in("rebuild", input="n\n").exit_code == 1
    assert prices(platform_of_one) == [("BTC-USD", 1), ("ETH-USD", 2)]
    done = type_in("rebuild", "--yes", "--jobs", "1", "--json")
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert (summary["objects"], summary["events"], summary["quarantined"]) == (1, 3, 1)
    assert summary["is_compared"] and summary["changed"] == []
    do(platform_of_one, "delete from marts.quotes")
    differs = type_in("rebuild", "--yes", "--jobs", "1", "--json")
    assert differs.exit_code == 1
    assert json.loads(differs.stdout)["changed"][0].startswith("marts.")
