"""How the platform does: processes, DAG runs, the stream's lag, freshness, gaps, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

import psycopg

from include.errors import NotRunningError, QuantStreamError
from include.settings import Settings
from include.stack.airflow import DAGS
from include.stack.airflow_api import AirflowApi, Run
from include.stack.layout import Layout
from include.stack.programs import AIRFLOW, programs
from include.stack.secrets import load_secrets
from include.stack.supervision import Process, Supervisor

Health = Literal["healthy", "degraded", "not running"]
EXIT_CODES: dict[Health, int] = {"healthy": 0, "degraded": 1, "not running": 3}

_STALE = timedelta(minutes=3)  # a minute that is late, one that is being worked on, and one spare
_GRACE = timedelta(seconds=75)  # a minute counts as missing when its pull had this long
_DAY = timedelta(hours=24)
_LAG_RECORDS = 10_000  # no more than this is read to count what waits
_LAG_BYTES = 32 * 1024 * 1024

# What no successful pull of a source covers, from its first pull on, as ranges of whole minutes.
_MISSING = """
with covered as (
    select source, range_agg(tstzrange(window_start, window_end)) as minutes
    from ops.outcomes
    where step = 'pull' and ok and source = any(%(sources)s) and window_end > %(since)s
    group by source
), wanted as (
    select source, tstzrange(greatest(min(window_start), %(since)s), %(until)s) as span
    from ops.outcomes
    where step = 'pull' and ok and source = any(%(sources)s)
    group by source
    having greatest(min(window_start), %(since)s) < %(until)s
)
select wanted.source, lower(gap), upper(gap)
from wanted
left join covered on covered.source = wanted.source
cross join unnest(tstzmultirange(wanted.span) - coalesce(covered.minutes, '{}'::tstzmultirange)) as gap
order by 1, 2
"""
_FRESHNESS = """
select (select max(event_time) from raw.market_events),
       (select max(candle_start) from marts.indicators_1m),
       (select count(*) from ops.outbox where sent_at is null),
       (select min(created_at) from ops.outbox where sent_at is null),
       (select count(*) from ops.loads where state = 'rejected')
"""


@dataclass(frozen=True, slots=True)
class Gap:
    """Minutes `[start, end)`, UTC, that were not pulled from a source."""

    source: str
    start: datetime
    end: datetime

    @property
    def minutes(self) -> int:
        return round((self.end - self.start) / timedelta(minutes=1))


@dataclass(frozen=True, slots=True)
class Lag:
    """What waits in the stream: records (counted up to 10,000) and the age of the oldest of them."""

    records: int
    seconds: float


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
    newest_quote: datetime | None = None
    newest_candle: datetime | None = None
    unsent_alerts: int = 0
    rejected_loads: int = 0
    missing: list[Gap] = field(default_factory=list)

    @property
    def missing_minutes(self) -> int:
        return sum(gap.minutes for gap in self.missing)

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
            status.runs = {dag_id: api.last_run(dag_id) for dag_id in DAGS if dag_id in dags}
            for error in api.import_errors():
                status.problem(f"Airflow cannot import {error}")
    except QuantStreamError as error:
        status.problem(str(error))
        return
    for dag_id in DAGS:
        run = status.runs.get(dag_id)
        if run is not None and run.state == "failed":
            status.problem(f"the last run of {dag_id} failed ({run.run_id}); its log is in the Airflow UI")


def _ask_warehouse(settings: Settings, status: Status, *, with_airflow: bool) -> None:
    from include.warehouse.db import connect

    with connect(settings) as conn:
        row = conn.execute(_FRESHNESS).fetchone()
        assert row is not None  # noqa: S101  # a select without from gives one row
        status.newest_quote, status.newest_candle, status.unsent_alerts, oldest_unsent, status.rejected_loads = row
        status.missing = missing_minutes(conn, settings.sources, status.at)
        try:
            status.lag = _lag(conn, settings, status.at)
        except QuantStreamError as error:
            status.problem(f"the stream: {str(error).splitlines()[0]}")
    if status.rejected_loads:
        status.problem(
            f"{status.rejected_loads} rejected loads wait for you: `quantstream loads list --state rejected`"
        )
    if oldest_unsent is not None and status.at - oldest_unsent > _STALE:
        status.problem(f"{status.unsent_alerts} alerts are unsent, the oldest since {oldest_unsent:%H:%M:%S}")
    if with_airflow and not status.paused:
        for name, newest in (("quote", status.newest_quote), ("candle", status.newest_candle)):
            if newest is not None and status.at - newest > _STALE + timedelta(minutes=1):
                status.problem(f"the newest {name} is of {newest:%Y-%m-%d %H:%M:%S} UTC")
        recent = [gap for gap in status.missing if status.at - gap.end < _STALE]
        if recent:
            count = sum(gap.minutes for gap in recent)
            status.problem(
                f"{count} recent minutes were not pulled, since {recent[0].start:%H:%M} UTC ({recent[0].source})"
            )


def missing_minutes(conn: psycopg.Connection, sources: Iterable[str], now: datetime) -> list[Gap]:
    """Minutes of the last 24 hours, since each source's first pull, that no successful pull covers. `now` in UTC."""
    until = (now - _GRACE).replace(second=0, microsecond=0)
    parameters = {"sources": list(sources), "since": until - _DAY, "until": until}
    return [Gap(source, start, end) for source, start, end in conn.execute(_MISSING, parameters)]


def _lag(conn: psycopg.Connection, settings: Settings, now: datetime) -> Lag:
    from include.aws import client
    from include.stream.consumer import describe, read_batch
    from include.warehouse.ranges import position

    kinesis = client(settings, "kinesis")
    stream = describe(kinesis, settings.stream)
    waiting, oldest = 0, now
    for shard in stream.shards:
        after = position(conn, stream.name, stream.created_at, shard.shard_id)
        batch = read_batch(kinesis, stream.name, shard.shard_id, after, _LAG_RECORDS, _LAG_BYTES)
        waiting += len(batch.records)
        oldest = min([oldest, *(record.arrived_at for record in batch.records[:1])])
    return Lag(waiting, max(0.0, (now - oldest).total_seconds()))
