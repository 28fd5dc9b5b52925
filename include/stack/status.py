"""How the platform does: processes, DAG runs, the stream's lag, freshness, gaps, vendors, and what is wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

import psycopg

from include.errors import ConfigError, NotRunningError, QuantStreamError
from include.pipeline.clock import pulled_intervals, source_intervals
from include.pipeline.pace import Pace, pace
from include.settings import Settings
from include.stack.airflow import DAGS, HISTORY_DAGS
from include.stack.airflow_api import AirflowApi, Run
from include.stack.backfills import DAG_ID, day_of
from include.stack.layout import Layout
from include.stack.market import Collector, Exchange, Gap, Lag, collectors, exchanges, lag, missing_intervals
from include.stack.programs import AIRFLOW, programs
from include.stack.secrets import load_secrets
from include.stack.supervision import Process, Supervisor

if TYPE_CHECKING:
    from include.warehouse.outbox import Latency
    from include.warehouse.vendors import VendorState

Health = Literal["healthy", "degraded", "not running"]
EXIT_CODES: dict[Health, int] = {"healthy": 0, "degraded": 1, "not running": 3}

_STALE: Final = timedelta(minutes=3)  # a minute that is late, one that is being worked on, and one spare
_LATENCY_OF: Final = timedelta(hours=1)
_FRESHNESS: Final = """
select (select max(event_time) from raw.market_events),
       (select max(candle_start) from marts.indicators_1m),
       (select count(*) from ops.outbox where sent_at is null and dead_at is null),
       (select min(created_at) from ops.outbox where sent_at is null and dead_at is null),
       (select count(*) from ops.loads where state = 'rejected'),
       (select count(*) from marts.alerts where state = 'history')
"""


@dataclass(slots=True)
class Status:
    """Everything `quantstream status` shows. Times are UTC; None where there is nothing yet or nobody to ask."""

    home: str
    at: datetime
    health: Health = "healthy"
    problems: list[str] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    runs: dict[str, Run | None] = field(default_factory=dict)
    paused: list[str] = field(default_factory=list)
    lag: Lag | None = None
    pace: Pace | None = None
    exchanges: list[Exchange] = field(default_factory=list)
    vendors: list[VendorState] = field(default_factory=list)
    collectors: list[Collector] = field(default_factory=list)
    newest_quote: datetime | None = None
    newest_candle: datetime | None = None
    unsent_alerts: int = 0
    dead_alerts: int = 0
    alert_latency: Latency | None = None
    alerts_too_old: int = 0
    rejected_loads: int = 0
    missing: list[Gap] = field(default_factory=list)

    @property
    def missing_intervals(self) -> int:
        return sum(gap.intervals for gap in self.missing)

    def problem(self, text: str) -> None:
        self.problems.append(text)
        if self.health == "healthy":
            self.health = "degraded"


def read_status(settings: Settings, *, now: datetime | None = None) -> Status:
    """Ask everything that can be asked; what does not answer is a problem in the result, not an error."""
    status = Status(str(settings.home), now or datetime.now(UTC))
    local = settings.postgres == "embedded" or settings.aws == "local"
    try:
        status.processes = sorted(Supervisor(settings).processes().values(), key=lambda process: process.name)
    except NotRunningError as error:
        if local:
            status.health, status.problems = "not running", [str(error)]
            return status
    with_airflow = any(process.name in AIRFLOW and process.state != "STOPPED" for process in status.processes)
    expected = {program.name for program in programs(settings, airflow=with_airflow)} if local else set()
    for process in status.processes:
        if process.name in expected and process.state != "RUNNING":
            status.problem(
                f"{process.name} is {process.state}: {process.detail}; see `quantstream logs {process.name}`"
            )
    if with_airflow:
        _ask_airflow(settings, status)
    try:
        _ask_warehouse(settings, status, with_airflow=with_airflow)
    except (QuantStreamError, psycopg.Error) as error:
        status.problem(f"the warehouse: {str(error).splitlines()[0]}")
    return status


def _ask_airflow(settings: Settings, status: Status) -> None:
    try:
        with AirflowApi(settings, load_secrets(Layout(settings.home)), timeout=10) as api:
            dags = api.dags()
            status.paused = [dag_id for dag_id in DAGS if dag_id in dags and dags[dag_id].is_paused]
            known = [dag_id for dag_id in (*DAGS, *HISTORY_DAGS) if dag_id in dags]
            status.runs = {dag_id: api.last_run(dag_id) for dag_id in known}
            failed_days = _failed_days(api) if DAG_ID in dags else []
            for error in api.import_errors():
                status.problem(f"Airflow cannot import {error}")
    except QuantStreamError as error:
        status.problem(str(error))
        return
    for dag_id, run in status.runs.items():
        if run is not None and run.state == "failed" and dag_id != DAG_ID:
            status.problem(f"the last run of {dag_id} failed ({run.run_id}); its log is in the Airflow UI")
    if failed_days:
        more = f" to {failed_days[-1]}" if len(failed_days) > 1 else ""
        status.problem(
            f"{len(failed_days)} runs of {DAG_ID} failed ({failed_days[0]}{more}): the same backfill again goes on "
            "where they stopped; see docs/runbooks/a_backfill_is_stuck.md"
        )


def _failed_days(api: AirflowApi) -> list[str]:
    """The days of backfills that failed and were not made good, oldest first, at most 100.

    What was cancelled before it began is failed too, for Airflow, but never ended.
    """
    found, _ = api.runs(DAG_ID, state="failed")
    return sorted(str(day_of(run)) for run in found if run.ended is not None)


def _ask_warehouse(settings: Settings, status: Status, *, with_airflow: bool) -> None:
    from include.warehouse.db import connect
    from include.warehouse.outbox import count_dead, latency
    from include.warehouse.vendors import vendor_states

    with connect(settings) as conn:
        row = conn.execute(_FRESHNESS).fetchone()
        assert row is not None  # noqa: S101  # a select without from gives one row
        status.newest_quote, status.newest_candle, status.unsent_alerts, oldest_unsent, *counts = row
        status.rejected_loads, status.alerts_too_old = counts
        status.dead_alerts, status.alert_latency = count_dead(conn), latency(conn, status.at, _LATENCY_OF)
        status.vendors = vendor_states(conn)
        status.collectors = collectors(conn, status.at)
        status.pace = pace(conn, status.at)
        try:
            status.exchanges = exchanges(settings, status.at)
            status.missing = missing_intervals(conn, source_intervals(settings), status.at)
        except ConfigError as error:
            status.problem(str(error))
        try:
            status.lag = lag(conn, settings)
        except QuantStreamError as error:
            status.problem(f"the stream: {str(error).splitlines()[0]}")
    if status.rejected_loads:
        status.problem(
            f"{status.rejected_loads} rejected loads wait for you: `quantstream loads list --state rejected`"
        )
    if oldest_unsent is not None and status.at - oldest_unsent > _STALE:
        status.problem(f"{status.unsent_alerts} alerts are unsent, the oldest since {oldest_unsent:%H:%M:%S}")
    if status.dead_alerts:
        status.problem(
            f"SNS will not take {status.dead_alerts} alerts: `quantstream alerts redeliver --dead --dry-run` says why"
        )
    _judge_the_feeds(settings, status)
    if with_airflow and not status.paused:
        _judge_the_clock(settings, status)


def _judge_the_feeds(settings: Settings, status: Status) -> None:
    """Vendors that are left alone, collectors that are silent or fail, a stream that grows."""
    for vendor in status.vendors:
        if vendor.circuit != "closed" and vendor.vendor in settings.sources:
            status.problem(
                f"{vendor.vendor} is left alone since {vendor.since:%H:%M:%S}, until {vendor.until:%H:%M:%S} UTC: "
                f"{vendor.reason}"
            )
    reports = {one.exchange: one for one in status.collectors}
    for name in settings.collect:
        report = reports.get(name)
        if report is None or status.at - report.at > _STALE:
            since = f"since {report.at:%Y-%m-%d %H:%M:%S} UTC" if report else "in the last 24 hours"
            status.problem(f"the collector of {name} reported nothing {since}: `quantstream logs collect-{name}`")
        elif not report.ok:
            status.problem(f"the collector of {name}: {report.error}")
    if status.lag is not None and status.lag.seconds > _STALE.total_seconds():
        status.problem(
            f"the stream is {timedelta(seconds=round(status.lag.seconds))} behind ({status.lag.records:,} records wait "
            "in it): more arrives than is landed; see QUANTSTREAM_LAND_MAX_RECORDS and QUANTSTREAM_SHARDS"
        )


def _judge_the_clock(settings: Settings, status: Status) -> None:
    """Stale data, recent gaps and a cadence that does not fit. While every exchange is closed, nothing is stale."""
    due = pulled_intervals(settings).last_until(status.at)
    for name, newest in (("quote", status.newest_quote), ("candle", status.newest_candle)):
        if newest is not None and due is not None and due.end - newest > _STALE + timedelta(minutes=1):
            status.problem(f"the newest {name} is of {newest:%Y-%m-%d %H:%M:%S} UTC")
    recent = [gap for gap in status.missing if status.at - gap.end < _STALE]
    if recent:
        count, since = sum(gap.intervals for gap in recent), min(gap.start for gap in recent)
        sources = ", ".join(dict.fromkeys(gap.source for gap in recent))
        status.problem(f"{count} recent intervals were not pulled, since {since:%H:%M:%S} UTC ({sources})")
    if status.pace is not None and not status.pace.fits(settings):
        status.problem(status.pace.warning(settings))
