"""## market_transform: candles and indicators of what changed

Runs whenever loads were accepted (asset `market_events`). A run takes **every** accepted load that is not transformed yet,
not only those that woke it, so nothing is missed while a run is active. What came live goes first, in one `dbt build`, and
ends the run, so that detection has it; else history is built, in slices of `QUANTSTREAM_TRANSFORM_HISTORY_EVENTS`, as many
days together as fit, and between two slices it looks again for what is live. Shortly before the next live load is
expected no slice is begun.

dbt recomputes the candles whose minutes got events and the indicators that depend on them; then the audit checks the
changed part of the marts. Only then are the loads marked as transformed and handed to detection (asset `market_marts`).
A run that leaves loads behind emits `market_events` itself (through the alias `market_transform_again`): it starts again.

When it fails the loads stay accepted and the next run takes them too; analysts go on reading the last good marts.
Triggered by hand it takes what is waiting; with nothing waiting it is skipped.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, AssetAlias, dag, task
from airflow.sdk.exceptions import AirflowSkipException

from include.pipeline.task_defaults import MINUTE_TASK
from include.settings import get_settings

MARKET_EVENTS = Asset("market_events")
MARKET_MARTS = Asset("market_marts")
AGAIN = AssetAlias("market_transform_again")  # an asset is emitted by every success, an alias by those that say so


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
    @task(outlets=[MARKET_MARTS, AGAIN])
    def build_and_audit(run_id: str, outlet_events: Any) -> None:
        from include.pipeline.transform import transform
        from include.pipeline.waiting import symbols_to_detect

        report = transform(get_settings(), run_id=run_id)
        if report.is_more_left:
            outlet_events[AGAIN].add(MARKET_EVENTS)
        elif not report.loads and not symbols_to_detect(get_settings()):
            raise AirflowSkipException("no accepted load waits: nothing to transform, nothing to detect")

    build_and_audit()


market_transform()
