"""## lake_compact: raw JSON of the lake becomes Parquet

Runs every night for the days of arrival that are over, and whenever a backfill has brought history into the lake (asset
`lake_history`): then for the running day too, because that is where history arrives, and analysts need not wait for the
night. Every day with objects that are not in Parquet yet is done: the last one, those of nights that were missed, and days
for which objects came late.

In the pool it stands behind backfills and replays. So a backfill of a year is compacted when its last day is in, and not
once per day.

| when it fails | then |
|---|---|
| an object is damaged or gone | its day stays as it was, other days are done; see the runbook *Compaction failed* |
| files do not hold what came in | nothing of the day is published; the old files stay |
| it is killed | the next run makes the same files and puts those that are missing |

Safe to clear, to retry, to trigger by hand and to run beside `quantstream compact`: a day has one holder.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, AssetOrTimeSchedule, CronDataIntervalTimetable, dag, task
from airflow.sdk.exceptions import AirflowSkipException

from include.pipeline.task_defaults import HISTORY_TASK, be_nice
from include.settings import get_settings

LAKE_HISTORY = Asset("lake_history")
LAKE_PARQUET = Asset("lake_parquet")


@dag(
    schedule=AssetOrTimeSchedule(
        timetable=CronDataIntervalTimetable("40 0 * * *", timezone="UTC"),  # what was underway at midnight has landed
        assets=[LAKE_HISTORY],
    ),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=12),
    default_args=HISTORY_TASK | {"priority_weight": -1, "execution_timeout": timedelta(hours=6)},
    tags=["lake", "daily", "impact:low"],
    doc_md=__doc__,
)
def lake_compact() -> None:
    @task(outlets=[LAKE_PARQUET])
    def compact(run_id: str, triggering_asset_events: Any) -> None:
        from include.pipeline.compact import compact_due

        be_nice()
        if not compact_due(get_settings(), running=bool(triggering_asset_events), run_id=run_id):
            raise AirflowSkipException("every object of the days that are over is in Parquet")

    compact()


lake_compact()
