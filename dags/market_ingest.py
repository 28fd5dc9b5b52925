"""## market_ingest: quotes into the warehouse, every minute

| task | does | when it fails |
|---|---|---|
| `pull_<source>` | asks the source for the minute `[start, end)` and puts its events into the stream | the other sources go on; `quantstream status` lists the minute as missing |
| `land` | writes the stream's new records to the lake, unchanged: an intent row, then the object | the next run lands the same range under the same key |
| `load` | copies landed objects into the warehouse and moves the checkpoint, in one transaction | nothing was written; the next run repeats it |
| `audit` | judges each load: bad rows go to quarantine, a bad load is rejected and an operations alert sent | see the runbook *A load was rejected* |

A successful audit emits the asset `market_events`, which starts `market_transform`.

Every task is safe to clear, to retry and to run twice: a step has one holder at a time, and keys come from the data.
Triggered by hand it pulls the last whole minute again; what is there already is dropped as a duplicate.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import Asset, CronDataIntervalTimetable, TriggerRule, dag, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from include.pipeline.task_defaults import MINUTE_TASK
from include.settings import get_settings

MARKET_EVENTS = Asset("market_events")


@dag(
    schedule=CronDataIntervalTimetable("* * * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=10),
    default_args=MINUTE_TASK,
    tags=["market", "minute", "impact:critical"],
    doc_md=__doc__,
)
def market_ingest() -> None:
    @task
    def pull(source: str, data_interval_start: datetime, data_interval_end: datetime, dag_run: Any) -> None:
        from include.events import Window
        from include.pipeline.pull import pull

        by_hand = data_interval_start is None  # triggered without a logical date
        window = Window.minute_before(dag_run.run_after) if by_hand else Window(data_interval_start, data_interval_end)
        pull(get_settings(), source, window, run_id=dag_run.run_id)

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def land(run_id: str) -> None:
        from include.pipeline.land import land

        land(get_settings(), run_id=run_id)

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

    pulls = [pull.override(task_id=f"pull_{source}")(source=source) for source in get_settings().sources]
    pulls >> land() >> load() >> audit()


market_ingest()
