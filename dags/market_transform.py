"""## market_transform: candles and indicators of what changed

Runs whenever `market_ingest` accepted loads (asset `market_events`). One `dbt build` takes **every** accepted load that is
not transformed yet, not only the one that woke it, so nothing is missed while a run is active. dbt recomputes the candles
whose minutes got events and the indicators from the first changed candle of each symbol on; then the audit checks the
changed part of the marts. Only then are the loads marked as transformed and handed to detection (asset `market_marts`).

When it fails the loads stay accepted and the next run takes them too; analysts go on reading the last good marts.
Triggered by hand it takes what is waiting; with nothing waiting it is skipped.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Asset, dag, task
from airflow.sdk.exceptions import AirflowSkipException

from include.pipeline.task_defaults import MINUTE_TASK
from include.settings import get_settings

MARKET_EVENTS = Asset("market_events")
MARKET_MARTS = Asset("market_marts")


@dag(
    schedule=[MARKET_EVENTS],
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=30),
    default_args=MINUTE_TASK | {"execution_timeout": timedelta(minutes=15)},
    tags=["market", "minute", "impact:critical"],
    doc_md=__doc__,
)
def market_transform() -> None:
    @task(outlets=[MARKET_MARTS])
    def build_and_audit(run_id: str) -> None:
        from include.pipeline.transform import transform
        from include.pipeline.waiting import symbols_to_detect

        report = transform(get_settings(), run_id=run_id)
        if not report.loads and not symbols_to_detect(get_settings()):
            raise AirflowSkipException("no accepted load waits: nothing to transform, nothing to detect")

    build_and_audit()


market_transform()
