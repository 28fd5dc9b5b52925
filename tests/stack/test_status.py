"""What `status` works out from the warehouse: missing intervals, lag, vendors, and what is wrong."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from include.calendars import ALWAYS, OpenIntervals
from include.commands import status as command
from include.events import Window
from include.pipeline.pace import Pace
from include.settings import Settings
from include.stack import status
from include.stack.market import Collector, Exchange, Gap, Lag, missing_intervals
from include.stack.programs import AIRFLOW
from include.stack.status import read_status
from include.stack.supervision import Process, Supervisor
from include.warehouse.db import connect
from include.warehouse.outbox import Latency
from include.warehouse.outcomes import record

NOW = datetime(2026, 3, 2, 12, 10, 30, tzinfo=UTC)


def minute(number: int, *, length: int = 1) -> Window:
    """Minutes after 12:00 of that day."""
    start = datetime(2026, 3, 2, 12, tzinfo=UTC) + timedelta(minutes=number)
    return Window(start, start + timedelta(minutes=length))


def missing(
    conn: psycopg.Connection, sources: list[str], now: datetime, *, calendar: str = ALWAYS, seconds: int = 60
) -> list[Gap]:
    return missing_intervals(conn, {source: OpenIntervals((calendar,), seconds) for source in sources}, now)


def pulled(conn: psycopg.Connection, *windows: Window, ok: bool = True, source: str = "simulator") -> None:
    for window in windows:
        record(conn, "pull", ok, source=source, window=window)


def test_no_minute_is_missing_before_the_first_pull(settings: Settings) -> None:
    with connect(settings) as conn:
        assert missing(conn, ["simulator"], NOW) == []
        pulled(conn, minute(0, length=9))
        assert missing(conn, ["simulator"], NOW) == []


def test_minutes_without_a_good_pull_are_missing_as_ranges(settings: Settings) -> None:
    with connect(settings) as conn:
        pulled(conn, minute(0), minute(1), minute(5), minute(6), minute(6), minute(8))
        pulled(conn, minute(3), ok=False)
        gaps = missing(conn, ["simulator"], NOW)
    assert [(gap.start.minute, gap.end.minute, gap.intervals) for gap in gaps] == [(2, 5, 3), (7, 8, 1)]


def test_a_pull_may_cover_many_minutes(settings: Settings) -> None:
    with connect(settings) as conn:
        pulled(conn, minute(-120, length=120), minute(2), minute(0, length=9))
        assert missing(conn, ["simulator"], NOW) == []


def test_the_minute_that_is_being_pulled_is_not_missing_yet(settings: Settings) -> None:
    with connect(settings) as conn:
        pulled(conn, minute(0, length=9))
        assert missing(conn, ["simulator"], NOW) == []
        later = NOW + timedelta(minutes=1)
        assert missing(conn, ["simulator"], later) == [Gap("simulator", minute(9).start, minute(9).end, 1)]


def test_a_night_off_is_one_gap_and_at_most_a_day_of_it_counts(settings: Settings) -> None:
    with connect(settings) as conn:
        pulled(conn, minute(0))
        (gap,) = missing(conn, ["simulator"], NOW + timedelta(days=3))
    assert gap.intervals == 24 * 60


def test_each_enabled_source_is_counted_apart(settings: Settings) -> None:
    with connect(settings) as conn:
        pulled(conn, minute(0, length=9))
        pulled(conn, minute(0), minute(8), source="coingecko")
        assert missing(conn, ["simulator"], NOW) == []
        assert [gap.source for gap in missing(conn, ["simulator", "coingecko"], NOW)] == ["coingecko"]


def test_a_source_that_never_came_is_missing_since_it_was_first_asked(settings: Settings) -> None:
    with connect(settings) as conn:
        pulled(conn, minute(2), minute(3), ok=False)
        assert missing(conn, ["simulator"], NOW) == [Gap("simulator", minute(2).start, minute(9).start, 7)]


def test_at_a_shorter_cadence_shorter_intervals_are_missing(settings: Settings) -> None:
    start = minute(0).start
    tens = [Window(start + timedelta(seconds=10 * n), start + timedelta(seconds=10 * n + 10)) for n in range(60)]
    with connect(settings) as conn:
        pulled(conn, *tens[:20], *tens[23:])
        gaps = missing(conn, ["simulator"], minute(10).start + timedelta(seconds=75), seconds=10)
    assert gaps == [Gap("simulator", tens[20].start, tens[22].end, 3)]


def test_hours_in_which_the_exchange_is_closed_are_not_missing(settings: Settings) -> None:
    """Pulled until Friday's close, then again from three minutes after Monday's opening."""
    friday = Window(datetime(2026, 3, 6, 20, 30, tzinfo=UTC), datetime(2026, 3, 6, 21, 0, tzinfo=UTC))
    monday = datetime(2026, 3, 9, 13, 30, tzinfo=UTC)
    with connect(settings) as conn:
        pulled(conn, friday, source="yahoo")
        before = missing(conn, ["yahoo"], monday + timedelta(seconds=75), calendar="XNYS")
        pulled(conn, Window(monday + timedelta(minutes=3), monday + timedelta(minutes=4)), source="yahoo")
        after = missing(conn, ["yahoo"], monday + timedelta(minutes=4, seconds=75), calendar="XNYS")
    assert before == []
    assert after == [Gap("yahoo", monday, monday + timedelta(minutes=3), 3)]


@pytest.fixture(scope="session")
def outcomes(template_warehouse: str, servers: object) -> Settings:
    from tests.conftest import make_warehouse, warehouse_settings

    make_warehouse(servers, "status_property", template=template_warehouse)  # type: ignore[arg-type]
    return warehouse_settings(servers, "status_property")  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 5)), min_size=1, max_size=8))
def test_missing_is_what_no_pull_covers(outcomes: Settings, pulls: list[tuple[int, int]]) -> None:
    """Whatever the pulls' order, overlaps and lengths; the oracle counts minute by minute."""
    covered = {number for start, length in pulls for number in range(start, start + length)}
    until = 30
    expected = set(range(min(covered), until)) - covered
    with connect(outcomes) as conn:
        conn.execute("truncate ops.outcomes")
        pulled(conn, *(minute(start, length=length) for start, length in pulls))
        gaps = missing(conn, ["simulator"], minute(until).start + timedelta(seconds=90))
    found = [at for gap in gaps for at in Window(gap.start, gap.end).minutes()]
    assert found == [minute(number).start for number in sorted(expected)]


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> dict[str, Process]:
    """A stack without Airflow that says of its processes what the test says."""
    states = {"postgres": "RUNNING", "aws": "RUNNING"} | dict.fromkeys(AIRFLOW, "STOPPED")
    processes = {name: Process(name, state, 1, 60.0, "said") for name, state in states.items()}
    monkeypatch.setattr(Supervisor, "processes", lambda self: processes)
    return processes


def test_a_running_database_and_aws_without_airflow_is_healthy(
    marts_settings: Settings, running: dict[str, Process]
) -> None:
    found = read_status(marts_settings)
    assert (found.health, found.problems) == ("healthy", [])
    assert found.lag is None, "nothing landed yet"


def test_a_crashing_process_degrades_and_its_log_is_named(
    marts_settings: Settings, running: dict[str, Process]
) -> None:
    running["aws"] = Process("aws", "BACKOFF", None, 0.0, "exited too quickly")
    found = read_status(marts_settings)
    assert found.health == "degraded"
    assert found.problems == ["aws is BACKOFF: exited too quickly; see `quantstream logs aws`"]


def test_what_the_last_landing_left_is_the_lag(marts_settings: Settings, running: dict[str, Process]) -> None:
    with connect(marts_settings) as conn:
        record(conn, "land", True, detail={"millis_behind": 400_000, "records_behind": 12_345})
        record(conn, "land", False, error="the stream is away")
    found = read_status(marts_settings)
    assert found.lag is not None
    assert (found.lag.records, found.lag.seconds, found.lag.shards) == (12_345, 400.0, 1)
    assert found.health == "degraded"
    assert "the stream is 0:06:40 behind (12,345 records wait in it)" in found.problems[0]


def test_unsent_alerts_and_rejected_loads_are_counted(marts_settings: Settings, running: dict[str, Process]) -> None:
    with connect(marts_settings) as conn:
        conn.execute(
            "insert into ops.outbox (alert_key, message_key, subject, body, created_at, dead_at) values "
            "('k', 'k', 's', 'b', now() - interval '1 hour', null), "
            "('d', 'd', 's', 'b', now() - interval '1 day', now())"
        )
        conn.execute(
            "insert into marts.alerts (alert_key, rule, category, severity, message, sent_at, latency_seconds) "
            "select 'sent ' || n, 'zscore', 'market', 'warning', 'm', now() - n * interval '20 minutes', n * 10 "
            "from generate_series(0, 4) as n"
        )
        conn.execute("insert into ops.loads (origin, state, is_live, read_count) values ('o', 'rejected', true, 1)")
        conn.execute(
            "insert into marts.alerts (alert_key, rule, category, severity, message, state)"
            " select n, 'zscore', 'market', 'warning', 'm', 'history' from generate_series(1, 1234) as n"
        )
    found = read_status(marts_settings)
    assert (found.unsent_alerts, found.alerts_too_old, found.rejected_loads) == (1, 1234, 1)
    assert found.health == "degraded"
    assert any("quantstream loads list --state rejected" in problem for problem in found.problems)
    assert any("1 alerts are unsent" in problem for problem in found.problems)
    assert any("SNS will not take 1 alerts" in problem for problem in found.problems)
    assert found.alert_latency == Latency(alerts=3, p50=10, p95=19)  # of the last hour: 0, 10 and 20 s


def test_a_vendor_that_is_left_alone_is_a_problem_that_says_since_when_until_when_and_why(
    marts_settings: Settings, running: dict[str, Process]
) -> None:
    from include.sources.gate import Limits
    from include.warehouse.vendors import Breaker, VendorGate

    ours = marts_settings.model_copy(update={"sources": ["yahoo"]})
    with VendorGate(ours, "yahoo", Limits(60, 2000), breaker=Breaker(failures=1)) as gate:
        gate.admit()
        gate.failed("no answer within 10 s")
    found = read_status(ours)
    (yahoo,) = found.vendors
    assert (yahoo.vendor, yahoo.circuit, yahoo.minute_used, yahoo.minute_limit) == ("yahoo", "open", 1, 60)
    assert found.health == "degraded"
    assert found.problems[0].startswith("yahoo is left alone since ")
    assert found.problems[0].endswith(" UTC: no answer within 10 s")


def test_a_collector_that_failed_or_is_silent_is_a_problem(
    marts_settings: Settings, running: dict[str, Process]
) -> None:
    ours = marts_settings.model_copy(update={"collect": ["binance", "coinbase", "kraken"]})
    with connect(ours) as conn:
        record(conn, "collect", True, source="binance", row_count=1200)
        record(conn, "collect", False, source="coinbase", error="no frame for 300 s")
    found = read_status(ours)
    assert [(one.exchange, one.ok, one.trades) for one in found.collectors] == [
        ("binance", True, 1200), ("coinbase", False, 0),
    ]  # fmt: skip
    assert found.problems == [
        "the collector of coinbase: no frame for 300 s",
        "the collector of kraken reported nothing in the last 24 hours: `quantstream logs collect-kraken`",
    ]


EQUITIES = """symbol,asset_class,currency,calendar,primary_source,yahoo,kraken
SPY,equity,USD,XNYS,yahoo,SPY,
BTC-USD,crypto,USD,24/7,kraken,,XBTUSD
"""


@pytest.fixture
def equities(marts_settings: Settings, tmp_path: Path) -> Settings:
    """Equities of Yahoo alone."""
    file = tmp_path / "instruments.csv"
    file.write_text(EQUITIES)
    return marts_settings.model_copy(update={"sources": ["yahoo"], "instruments_file": file})


def test_each_exchange_says_whether_it_is_open_and_until_when(equities: Settings, running: dict[str, Process]) -> None:
    both = equities.model_copy(update={"sources": ["yahoo", "kraken"]})
    noon = datetime(2026, 3, 6, 17, tzinfo=UTC)
    always = Exchange("24/7", True, None)
    close, opening = datetime(2026, 3, 6, 21, tzinfo=UTC), datetime(2026, 3, 9, 13, 30, tzinfo=UTC)
    assert read_status(both, now=noon).exchanges == [always, Exchange("XNYS", True, close)]
    assert read_status(both, now=close).exchanges == [always, Exchange("XNYS", False, opening)]


def test_old_quotes_are_a_problem_only_once_the_exchange_was_open_again(equities: Settings) -> None:
    friday, monday = datetime(2026, 3, 6, 20, 59, 59, tzinfo=UTC), datetime(2026, 3, 9, 13, 30, tzinfo=UTC)
    found = status.Status("", monday, newest_quote=friday, newest_candle=friday)
    status._judge_the_clock(equities, found)
    assert found.problems == []
    found.at = monday + timedelta(minutes=5)
    status._judge_the_clock(equities, found)
    assert found.problems == [f"the newest {name} is of 2026-03-06 20:59:59 UTC" for name in ("quote", "candle")]


def test_a_cycle_that_takes_longer_than_the_cadence_is_a_problem_with_its_figure_and_remedy(settings: Settings) -> None:
    found = status.Status("", NOW, pace=Pace(cycles=20, last=11.0, p50=9.0, p95=23.4))
    status._judge_the_clock(settings.model_copy(update={"cadence_seconds": 10}), found)
    assert found.problems == [
        "a cycle takes up to 23.4 s (95 of 100 of the last 20), more than the 10 s of QUANTSTREAM_CADENCE_SECONDS: "
        "what is new comes late, intervals may be missed; set it to 30 or 60, pull fewer instruments, or give it more "
        "cores"
    ]
    found = status.Status("", NOW, pace=Pace(cycles=20, last=11.0, p50=9.0, p95=23.4))
    status._judge_the_clock(settings.model_copy(update={"cadence_seconds": 30}), found)
    assert found.problems == []


@pytest.mark.parametrize("as_json", [False, True], ids=["for people", "for scripts"])
def test_the_command_shows_all_of_it(
    as_json: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from include.warehouse.vendors import VendorState

    found = status.Status(
        "/home/of/it", NOW, health="degraded", problems=["a problem"], pace=Pace(20, 11.0, 9.0, 23.4),
        lag=Lag(NOW, 12, 3.0, 4), exchanges=[Exchange("XNYS", False, NOW), Exchange("24/7", True, None)],
        vendors=[VendorState("yahoo", "open", NOW, NOW, "it hangs", 3, 60, 40, None)],
        collectors=[Collector("binance", NOW, True, 1200, None)], missing=[Gap("yahoo", NOW, NOW, 7)],
        unsent_alerts=5, alerts_too_old=1234,
    )  # fmt: skip
    monkeypatch.setattr(status, "read_status", lambda settings: found)
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(typer.Exit) as ended:
        command.status(as_json)
    shown = capsys.readouterr().out
    assert ended.value.exit_code == 1
    if as_json:
        said = json.loads(shown)
        assert said["lag"] == {"at": "2026-03-02T12:10:30+00:00", "records": 12, "seconds": 3.0, "shards": 4}
        assert (said["vendors"][0]["reason"], said["collectors"][0]["trades"]) == ("it hangs", 1200)
        assert (said["exchanges"][0]["is_open"], said["pace"]["p95"], said["missing_intervals"]) == (False, 23.4, 7)
    else:
        for line in (
            "XNYS      closed  Mon 2026-03-02 12:10 UTC",
            "24/7      open    always",
            "yahoo   open     3 of 60 calls  40 calls  since 12:10:30, until 12:10:30 UTC: it hangs",
            "binance    2026-03-02 12:10:30 UTC, 0:00:00 ago  1,200 trades",
            "12 records, 0:00:03 behind (landing of 12:10:30 UTC, 4 shards)",
            "11.0 s; median 9.0 s, 95 of 100 within 23.4 s",
            "5 (written down, too old to send: 1,234)",
            "7 in the last 24 hours",
        ):
            assert line in shown


def test_a_warehouse_without_tables_is_a_problem_and_not_a_traceback(
    make_settings: object, settings: Settings, running: dict[str, Process]
) -> None:
    found = read_status(settings)  # migrated, but dbt has not built anything
    assert found.health == "degraded"
    assert "the warehouse: " in found.problems[0]


def test_nothing_running_is_its_own_state(settings: Settings) -> None:
    found = read_status(settings)
    assert found.health == "not running"
    assert status.EXIT_CODES[found.health] == 3
