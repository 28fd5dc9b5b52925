"""## market_ingest: quotes into the warehouse, every minute that a market is open

| task | does | when it fails |
|---|---|---|
| `pull_<source>` | asks the source for the minute `[start, end)` and puts its events into the stream | the other sources go on; `quantstream status` lists the minute as missing |
| `land` | writes the stream's new records to the lake, unchanged: an intent row, then the object | the next run lands the same range under the same key |
| `load` | copies landed objects into the warehouse and moves the checkpoint, in one transaction | nothing was written; the next run repeats it |
| `audit` | judges each load: bad rows go to quarantine, a bad load is rejected and an operations alert sent | see the runbook *A load was rejected* |

With several sources nobody waits for a slow one: `land` begins as soon as the others are done, and what comes later is
landed, loaded and audited by the tasks in `late`; they are skipped where all were in time.

A successful audit emits the asset `market_events`, which starts `market_transform`.

An interval is a minute, or `QUANTSTREAM_CADENCE_SECONDS`. There is a run for each in which a source has anything to say:
crypto and the simulator always, equities while their exchange is open.

Every task is safe to clear, to retry and to run twice: a step has one holder at a time, and keys come from the data.
Triggered by hand it pulls the last whole interval again; what is there already is dropped as a duplicate.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import Asset, TaskGroup, TriggerRule, dag, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from market_hours import MarketHoursTimetable  # plugins/market_hours.py

from include.pipeline.clock import pulled_intervals
from include.pipeline.task_defaults import MINUTE_TASK
from include.settings import get_settings

MARKET_EVENTS = Asset("market_events")
SOURCES = get_settings().sources
INTERVALS = pulled_intervals(get_settings())


@dag(
    schedule=MarketHoursTimetable(INTERVALS.calendars, INTERVALS.seconds, INTERVALS.extended, INTERVALS.delay),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=10),
    default_args=MINUTE_TASK,
    tags=["market", "minute", "impact:critical"],
    doc_md=__doc__,
)
def market_ingest() -> None:
    @task(pool="pull")
    def pull(source: str, dag_run: Any) -> None:
        from quantstream_keys import settings_with_keys  # plugins/quantstream_keys.py

        from include.errors import SourceError
        from include.events import Window
        from include.pipeline.pull import pull

        start, end = dag_run.data_interval_start, dag_run.data_interval_end  # None if triggered without a logical date
        window = INTERVALS.last_until(dag_run.run_after) if start is None else Window(start, end)
        try:
            pull(settings_with_keys(get_settings(), source), source, window, run_id=dag_run.run_id)
        except SourceError as failed:  # it was tried again already, and the others wait: the next interval asks anew
            raise AirflowFailException(str(failed)) from failed

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def land(run_id: str, late: bool = False) -> None:
        from airflow.sdk.observability import stats

        from include.pipeline.land import land
        from include.pipeline.waiting import pulls_came_late, wait_for_pulls

        if late and not pulls_came_late(get_settings(), run_id):
            raise AirflowSkipException("every source was in time: all is landed")
        if not late and len(SOURCES) > 1:
            wait_for_pulls(get_settings(), run_id)
        report = land(get_settings(), run_id=run_id)
        stats.gauge("quantstream.stream.seconds_behind", report.seconds_behind)
        stats.gauge("quantstream.stream.records_behind", report.records_behind)

    @task
    def load(run_id: str) -> None:
        from include.pipeline.load import load

        load(get_settings(), run_id=run_id)

    @task(outlets=[MARKET_EVENTS])
    def audit(run_id: str) -> None:
        from contextlib import suppress

        from include.errors import LoadRejectedError, QuantStreamError
        from include.pipeline.audit import audit
        from include.pipeline.notify import notify
        from include.pipeline.waiting import loads_to_transform

        try:
            report = audit(get_settings(), run_id=run_id)
        except LoadRejectedError as rejected:
            with suppress(QuantStreamError):  # what cannot be sent now stays in the outbox
                notify(get_settings(), run_id=run_id)  # the operations alert leaves at once
            raise AirflowFailException(str(rejected)) from rejected  # a retry would judge the same rows again
        if not report.accepted and not loads_to_transform(get_settings()):
            raise AirflowSkipException("no accepted load waits: nothing to transform")

    pulls = [pull.override(task_id=f"pull_{source}")(source=source) for source in SOURCES]
    if len(SOURCES) == 1:
        pulls >> land() >> load() >> audit()
        return
    landed, audited = land.override(trigger_rule=TriggerRule.ALWAYS)(), audit()  # begins beside the pulls, and waits
    pulls >> landed >> load() >> audited
    audited >> EmptyOperator(task_id="in_time")  # so that the run fails with the audit, whatever comes late
    with TaskGroup("late"):
        landed_late = land(late=True)
        [*pulls, audited] >> landed_late >> load() >> audit()


market_ingest()
