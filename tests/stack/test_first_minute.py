"""The end of `up`: waiting for the first minute, closing the gap before it, and saying whether the cadence fits."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from include.events import Window
from include.settings import Settings
from include.stack import first_minute, past
from include.stack.first_minute import cadence_warning, wait_for_first_minute
from include.stack.secrets import Secrets
from include.stack.supervision import Supervisor
from include.warehouse.db import connect
from include.warehouse.leases import lease
from include.warehouse.outcomes import record
from tests.pipeline.sent import in_stream, outcomes

WARM = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        pytest.param(
            datetime(2026, 3, 7, 12, tzinfo=UTC),
            "every exchange is closed; the first one opens Monday 2026-03-09 at 13:30 UTC",
            id="on a Saturday",
        ),
        pytest.param(datetime(2026, 3, 6, 20, 59, 30, tzinfo=UTC), "every exchange is closed", id="in the last minute"),
        pytest.param(datetime(2026, 3, 9, 13, 29, 30, tzinfo=UTC), None, id="right before the opening"),
        pytest.param(datetime(2026, 3, 9, 15, tzinfo=UTC), None, id="in trading hours"),
    ],
)
def test_while_every_exchange_is_closed_nobody_waits(tmp_path: Path, now: datetime, expected: str | None) -> None:
    file = tmp_path / "instruments.csv"
    file.write_text("symbol,asset_class,currency,calendar,primary_source,yahoo\nSPY,equity,USD,XNYS,yahoo,SPY\n")
    found = first_minute._closed(Settings(_env_file=None, sources=["yahoo"], instruments_file=file), now)
    assert found is expected is None or (found is not None and expected is not None and found.startswith(expected))


def test_up_says_when_the_first_exchange_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_minute, "_closed", lambda settings, now: "every exchange is closed; ...")
    settings = Settings(_env_file=None)
    said = wait_for_first_minute(settings, Secrets.generate(), Supervisor(settings))  # Airflow is not even asked
    assert said == "every exchange is closed; ..."


@pytest.mark.parametrize(
    ("pulls", "said"),
    [
        ({"kraken": False, "yahoo": False}, "brought anything:\n  kraken: answered 503\n  yahoo: answered 503\nEver"),
        ({"kraken": False, "yahoo": True}, None),
        ({"kraken": False}, None),
    ],
    ids=["all failed", "one came", "one is not through yet"],
)
def test_up_says_what_the_sources_said_if_none_brought_anything(
    settings: Settings, pulls: dict[str, bool], said: str | None
) -> None:
    ours, began = settings.model_copy(update={"sources": ["yahoo", "kraken"]}), datetime.now(UTC).timestamp()
    with connect(ours) as conn:
        record(conn, "pull", False, source="yahoo", run_id="scheduled__1", error="of before")
        conn.execute("update ops.outcomes set at = at - interval '1 hour'")
        for source, ok in pulls.items():
            record(conn, "pull", ok, source=source, run_id="scheduled__2", error=None if ok else "answered 503")
    found = first_minute._nothing_comes(ours, began - 1)
    assert found is None if said is None else found is not None and said in found


def cycle(conn: psycopg.Connection, seconds: float) -> None:
    """A scheduled cycle that ended just now."""
    for step, run, ended, took in (
        ("pull", "scheduled__1", seconds - 0.1, 0.1), ("audit", "scheduled__1", 0.3, 0.1),
        ("transform", "asset", 0.2, 0.1), ("notify", "asset", 0, 0.1),
    ):  # fmt: skip
        conn.execute(
            "insert into ops.outcomes (step, at, seconds, run_id, ok, detail) "
            "values (%s, %s, %s, %s, true, '{\"accepted\": 1}')",
            [step, datetime.now(UTC) - timedelta(seconds=ended), took, run],
        )


@pytest.mark.parametrize(("cadence", "warns"), [(10, True), (30, False)])
def test_up_warns_if_the_first_cycle_took_longer_than_the_cadence(
    settings: Settings, cadence: int, warns: bool
) -> None:
    ours = settings.model_copy(update={"cadence_seconds": cadence})
    assert cadence_warning(ours) is None
    with connect(ours) as conn:
        cycle(conn, seconds=14)
    said = cadence_warning(ours)
    assert said is None if not warns else said is not None and said.startswith("a cycle takes up to 14.0 s")


def scheduled_pull(settings: Settings, window: Window) -> None:
    with connect(settings) as conn:
        record(conn, "pull", True, source="simulator", window=window, run_id="scheduled__1")


def test_what_lies_between_the_warm_up_and_the_first_interval_is_pulled_too(settings: Settings) -> None:
    ours = settings.model_copy(update={"cadence_seconds": 10})
    first = Window(WARM + timedelta(seconds=40), WARM + timedelta(seconds=50))
    assert past.close_gap(ours, WARM) is None, "no scheduled interval yet"
    scheduled_pull(ours, first)
    assert past.close_gap(ours, WARM) == Window(WARM, first.start)
    ten_seconds = {(event.event_time - WARM) // timedelta(seconds=10) for event in in_stream(ours)}
    assert ten_seconds == {0, 1, 2, 3}


def test_without_a_gap_nothing_is_pulled(settings: Settings) -> None:
    scheduled_pull(settings, Window(WARM, WARM + timedelta(minutes=1)))
    assert past.close_gap(settings, WARM) is None
    assert in_stream(settings) == []


def test_a_scheduled_pull_that_is_at_work_is_waited_for(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduled_pull(settings, Window(WARM + timedelta(minutes=1), WARM + timedelta(minutes=2)))
    with ExitStack() as other:
        other.enter_context(lease(other.enter_context(connect(settings)), "pull simulator", seconds=60))
        monkeypatch.setattr(past, "sleep", lambda seconds: other.close())
        assert past.close_gap(settings, WARM) is not None
    tried = [(row[4], row[6]) for row in outcomes(settings) if row[6] == "catch-up"]
    assert tried == [(False, "catch-up"), (True, "catch-up")]


def test_the_warm_up_brings_quotes_of_the_simulator_alone(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from include.pipeline import cycle as cycles

    asked: list[Settings] = []

    def catch_up(settings: Settings, *, minutes: int, until: datetime) -> cycles.Cycle:
        asked.append(settings)
        return cycles.Cycle(Window(WARM - timedelta(minutes=minutes), until), ())

    monkeypatch.setattr(cycles, "catch_up", catch_up)
    (settings.home / "run").mkdir(parents=True, exist_ok=True)
    both = settings.model_copy(update={"sources": ["yahoo", "simulator"], "simulator_trades_per_minute": 1000})
    past.bring_in(both, WARM)
    assert [(one.sources, one.simulator_trades_per_minute) for one in asked] == [(["simulator"], 0)]
    assert not past.wanted(both), "once per home"
