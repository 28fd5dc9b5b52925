"""## platform_upkeep: once a day, what nobody should have to think of

| task | does | when it fails |
|---|---|---|
| `find_gaps` | looks for minutes that are missing in the sessions that changed; new ones become an operations alert | the next day looks again; `quantstream gaps` does the same |
| `remove_old` | removes rows and logs that the settings `QUANTSTREAM_KEEP_*_DAYS` no longer keep | nothing is lost: it goes on the next time |
| `clean_airflow` | removes Airflow's record of runs older than `QUANTSTREAM_KEEP_LOGS_DAYS`, by `airflow db clean` | the record grows; see the runbook *Start over* for its size |
| `lake_rules` | sets the lake's lifecycle rules and its tables in Glue again, as the settings say | the old rules stay |

The tasks do not depend on each other. Every one is safe to clear, to retry and to run by hand.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import CronDataIntervalTimetable, dag, task

from include.pipeline.task_defaults import HISTORY_TASK
from include.settings import get_settings


@dag(
    schedule=CronDataIntervalTimetable("20 0 * * *", timezone="UTC"),  # when every exchange but the open ones is done
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=3),
    default_args=HISTORY_TASK,
    tags=["platform", "daily", "impact:low"],
    doc_md=__doc__,
)
def platform_upkeep() -> None:
    @task
    def find_gaps(run_id: str) -> None:
        from include.pipeline.gaps import find_gaps
        from include.pipeline.notify import notify

        find_gaps(get_settings())
        notify(get_settings(), run_id=run_id)

    @task
    def remove_old(run_id: str) -> None:
        from include.pipeline.upkeep import upkeep

        upkeep(get_settings(), run_id=run_id)

    @task
    def clean_airflow() -> str:
        from include.stack.cleaning import clean_airflow

        return clean_airflow(get_settings())

    @task
    def lake_rules() -> None:
        from include.lake.catalogue import make_catalogue
        from include.lake.lifecycle import apply_lifecycle

        apply_lifecycle(get_settings())
        make_catalogue(get_settings())

    find_gaps()
    remove_old()
    clean_airflow()
    lake_rules()


platform_upkeep()
