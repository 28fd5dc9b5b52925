"""`quantstream backfill`: what it refuses, what it would ask, and the work without Airflow."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from include import cli, settings
from include.commands import backfill as command
from include.commands import backfill_here
from include.commands.backfill_here import Done, Job, Tally, run_jobs
from include.errors import ConfigError, NotRunningError, QuantStreamError
from include.events import Window
from include.pipeline.history_request import HistoryRequest
from include.settings import Settings
from include.stack.airflow_api import Backfill
from include.stack.backfills import Progress
from include.warehouse.db import connect
from tests.conftest import make_aws

NOW = datetime(2026, 3, 10, 9, 30, 20, tzinfo=UTC)
DAY = timedelta(days=1)


def nobody_answers(monkeypatch: pytest.MonkeyPatch, **overrides: Any) -> None:
    """Settings of a home in which nothing runs."""
    made = Settings(_env_file=None, **overrides)
    monkeypatch.setattr(settings, "load_settings", lambda **_: made)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--source nasdaq --from 2026-03-01", "--source nasdaq: allowed are simulator, coingecko"),
        ("--source simulator --kind bar --from 2026-03-01", "there is no history of bars (simulator has quotes"),
        ("--kind bar --from 2026-03-01", "no source of QUANTSTREAM_SOURCES = simulator has history of bars"),
        ("--symbols btc-usd --from 2026-03-01", "--symbols btc-usd: not among the instruments; write BTC-USD"),
        ("--symbols BTC-EUR --from 2026-03-01", "--symbols BTC-EUR: not among the instruments; known are AAPL"),
        ("--source yahoo,binance --symbols AAPL,NIX --from 2026-03-01", "--symbols NIX: not among the instruments"),
        ("--source binance --symbols AAPL --from 2026-03-01", "--symbols AAPL: binance has no id for it"),
        ("--from 2026-03-02 --to 2026-03-02", "--to 2026-03-02T00:00:00.000000Z is not after --from"),
        ("--from 2999-01-01 --to 2999-01-02", "--from 2999-01-01T00:00:00.000000Z lies in the future"),
        ("--from yesterday", "--from = 'yesterday': write a date, as in 2026-03-01"),
        ("", "--from is missing"),
    ],
)
def test_what_cannot_be_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch, arguments: str, said: str) -> None:
    nobody_answers(monkeypatch)
    with pytest.raises(ConfigError) as refused:
        CliRunner().invoke(cli.app, ["backfill", *arguments.split()], catch_exceptions=False)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("start", "end", "window"),
    [
        ("2026-03-01", "2026-03-03", (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC))),
        ("2026-03-01T06:00", "", (datetime(2026, 3, 1, 6, tzinfo=UTC), NOW.replace(second=0))),
        ("2026-03-09", "2026-04-01", (datetime(2026, 3, 9, tzinfo=UTC), NOW.replace(second=0))),
    ],
    ids=["both", "until now, a whole minute", "the future is left out"],
)
def test_the_window_is_half_open_and_ends_now(start: str, end: str, window: tuple[datetime, datetime]) -> None:
    assert command._window(Settings(_env_file=None), HistoryRequest(), start, end, now=NOW) == Window(*window)


def test_without_airflow_it_is_done_here_and_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    nobody_answers(monkeypatch, home=tmp_path)
    asked: list[Any] = []

    def bring_here(settings: Settings, request: Any, sources: Any, window: Window, console: Console) -> dict[str, Any]:
        asked.append((sources, request.symbols, window.start.day))
        return {"interrupted": False, "complete": True}

    monkeypatch.setattr(backfill_here, "bring_here", bring_here)
    shown = CliRunner().invoke(cli.app, ["backfill", "--from", "2026-03-01", "--symbols", "BTC-USD,ETH-USD"])
    assert (shown.exit_code, asked) == (0, [(("simulator",), ("BTC-USD", "ETH-USD"), 1)])
    assert "Airflow does not run: done here" in shown.output


def test_a_source_that_is_not_enabled_is_brought_here() -> None:
    why = command._why_here(Settings(_env_file=None), ("simulator", "binance"))
    assert why == "binance is not among QUANTSTREAM_SOURCES"


@pytest.mark.parametrize(
    ("summary", "code"),
    [
        ({"complete": True, "interrupted": False}, 0),
        ({"complete": False, "interrupted": False}, 1),
        ({"complete": False, "interrupted": True}, 130),
    ],
)
def test_the_exit_code_says_how_it_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, summary: dict[str, Any], code: int
) -> None:
    nobody_answers(monkeypatch, home=tmp_path)
    monkeypatch.setattr(backfill_here, "bring_here", lambda *_: summary)
    shown = CliRunner().invoke(cli.app, ["backfill", "--from", "2026-03-01", "--here", "--json"])
    assert (shown.exit_code, json.loads(shown.stdout)) == (code, summary)


# The work here -------------------------------------------------------------------------------------------------------


class Clock:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def jobs(source: str, days: int) -> list[Job]:
    first = datetime(2026, 3, 1, tzinfo=UTC)
    return [Job(source, Window(first + DAY * n, first + DAY * (n + 1))) for n in range(days)]


def worked_off(work: Callable[[Job], Done], *all_jobs: Job, clock: Clock | None = None) -> Tally:
    tally, clock = Tally(len(all_jobs)), clock or Clock()
    with ThreadPoolExecutor(1) as pool:
        run_jobs(
            Settings(_env_file=None), HistoryRequest(), all_jobs, tally, pool, Console(file=io.StringIO()),
            run_id="run", work=lambda settings, job, request, run_id: work(job), clock=clock, sleep=clock.sleep,
        )  # fmt: skip
    return tally


def test_every_day_of_every_source_is_brought() -> None:
    tally = worked_off(lambda job: Done(job), *jobs("simulator", 3), *jobs("binance", 2))
    assert sorted(str(done.job) for done in tally.done) == [
        "binance 2026-03-01", "binance 2026-03-02",
        "simulator 2026-03-01", "simulator 2026-03-02", "simulator 2026-03-03",
    ]  # fmt: skip


def test_a_day_that_failed_keeps_no_other_from_coming() -> None:
    tally = worked_off(
        lambda job: Done(job, error="answered 503" if job.day.start.day == 2 else ""), *jobs("binance", 3)
    )
    assert (len(tally.done), [str(done.job) for done in tally.failed]) == (2, ["binance 2026-03-02"])


def test_a_short_wait_for_a_vendor_is_waited_while_others_go_on() -> None:
    clock, seen = Clock(), []

    def work(job: Job) -> Done:
        seen.append((str(job), clock.now > NOW))
        first_time = job.source == "binance" and seen.count((str(job), False)) == 1 and clock.now == NOW
        return Done(job, until=NOW + timedelta(minutes=2) if first_time else None)

    tally = worked_off(work, *jobs("binance", 1), *jobs("simulator", 2), clock=clock)
    assert len(tally.done) == 3
    assert seen == [
        ("binance 2026-03-01", False),
        ("simulator 2026-03-01", False),
        ("simulator 2026-03-02", False),
        ("binance 2026-03-01", True),
    ]


def test_a_long_wait_is_left_for_later_and_the_others_are_brought() -> None:
    tomorrow = NOW + DAY
    tally = worked_off(
        lambda job: Done(job, until=tomorrow if job.source == "polygon" else None),
        *jobs("polygon", 30), *jobs("simulator", 2),
    )  # fmt: skip
    assert (tally.left, len(tally.done), tally.failed) == ({"polygon": tomorrow}, 2, [])


def test_a_wrong_setting_ends_it_all() -> None:
    with pytest.raises(ConfigError, match="API_KEY is not set"):
        worked_off(
            lambda job: Done(job, error="QUANTSTREAM_POLYGON_API_KEY is not set", wrong=True), *jobs("polygon", 9)
        )


@pytest.mark.stack
def test_two_days_of_the_simulator_come_into_the_marts_and_are_there_the_second_time(
    marts_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through real processes, database and lake."""
    make_aws()
    monkeypatch.setattr(settings, "load_settings", lambda **_: marts_settings)
    monkeypatch.setattr("include.stack.up.up", lambda *_, **__: None)

    def brought(*more: str) -> dict[str, Any]:
        arguments = ["--from", "2026-03-01", "--to", "2026-03-03", "--symbols", "BTC-USD", "--here", "--json", *more]
        shown = CliRunner().invoke(cli.app, ["backfill", *arguments], catch_exceptions=False)
        assert shown.exit_code == 0, shown.output
        return dict(json.loads(shown.stdout))

    first, again = brought(), brought()
    assert (first["jobs"], first["done"], first["failures"], first["waiting"]) == (2, 2, [], 0)
    assert first["events"] > 2800
    assert (again["done"], again["events"]) == (2, 0)
    with connect(marts_settings) as conn:
        days = conn.execute(
            "select candle_start::date::text, count(*) from marts.candles_1m where symbol = 'BTC-USD' "
            "group by 1 order by 1"
        ).fetchall()
    assert [day for day, _ in days] == ["2026-03-01", "2026-03-02"]
    assert all(1400 < count <= 1440 for _, count in days)


# What it would ask ---------------------------------------------------------------------------------------------------


@pytest.mark.stack
def test_the_plan_lists_days_calls_and_budget_and_asks_nobody(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = make_settings(sources=["binance"], binance_url="http://127.0.0.1:1")
    monkeypatch.setattr(settings, "load_settings", lambda **_: planned)
    arguments = ["--from", "2026-03-01", "--to", "2026-03-03T12:00", "--symbols", "BTC-USD,ETH-USD", "--dry-run"]
    shown = CliRunner().invoke(cli.app, ["backfill", *arguments], catch_exceptions=False).output
    assert [line.split()[:3] for line in shown.splitlines()[1:4]] == [
        ["2026-03-01", "BTC-USD,", "ETH-USD"],
        ["2026-03-02", "BTC-USD,", "ETH-USD"],
        ["2026-03-03", "00:00", "to"],
    ]
    assert "3 of 3 days lack something: 10 calls, weight 20. History may use 3,000 a minute (3,000 left)" in shown
    listed = json.loads(CliRunner().invoke(cli.app, ["backfill", *arguments, "--json"]).stdout)
    assert [day["calls"] for day in listed[0]["days"]] == [4, 4, 2]


# In Airflow ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (Progress(days=7, running=3, deferred=1), "2 running, 1 deferred, 0 events, 0/s"),
        (Progress(days=7, done=5, failed=2, events=14_400), "2 failed, 14,400 events, 960/s"),
        (Progress(days=1, done=1, events=15, waiting=2), "15 events, 1/s, 2 loads on their way into the marts"),
    ],
)
def test_the_progress_in_a_line(now: Progress, said: str) -> None:
    from include.commands.backfill_watch import describe

    assert describe(now, 15.0) == said


def test_another_active_backfill_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from include.commands import backfill_watch

    other = Backfill(
        3,
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 31, tzinfo=UTC),
        {"sources": ["kraken"]},
        NOW,
        False,
        False,
    )
    window = Window(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))
    monkeypatch.setattr(backfill_watch, "_session", lambda settings: FakeSession())
    monkeypatch.setattr(backfill_watch, "_really_active", lambda *_: other)
    with pytest.raises(QuantStreamError) as refused:
        backfill_watch.start_and_watch(
            Settings(_env_file=None), HistoryRequest(), window, Console(file=io.StringIO()), ask=True
        )
    assert "number 3, 2026-01-01 to 2026-01-31 (sources kraken)" in str(refused.value)
    assert "`quantstream backfill --watch`" in str(refused.value)


def test_an_airflow_without_a_scheduler_is_said_and_not_worked_around(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    from include.stack.airflow_api import AirflowApi
    from include.stack.layout import Layout
    from include.stack.secrets import load_secrets

    load_secrets(Layout(tmp_path))
    monkeypatch.setattr(AirflowApi, "health", lambda self: {"scheduler": "unhealthy"})
    monkeypatch.setattr(command, "_PATIENCE_SECONDS", 0.0)
    with pytest.raises(NotRunningError, match=r"its scheduler is unhealthy.*--here"):
        command._why_here(Settings(_env_file=None, home=tmp_path), ("simulator",))


class FakeSession:
    """An Airflow in which nothing is paused, and no warehouse."""

    def __enter__(self) -> tuple[Any, Any]:
        return self, None

    def __exit__(self, *_: object) -> None:
        pass

    def dags(self) -> dict[str, Any]:
        return {}
