"""## model_training: once a week, what is usual is learned again

Trains the isolation forest, the half-space trees and the seasonal baseline on the last 35 whole UTC days before the run's
interval ends: four weeks to learn from, and the last seven days, from which nothing is learned, to be scored on. A model
that is worse on those days than the one in use is rejected; the others are in use from the next minute on.

By hand or by trigger with a window of your own: `from` and `to` are dates or times in UTC (half open), `holdout_days` are
the days before `to` that are held out, `models` some of the names.

| when it fails | then |
|---|---|
| a window without enough candles | nothing changes; the text says from when to when there are candles. Without a window of your own it is skipped |
| the lake does not answer | nothing changes, and the retry makes the very same files |
| a model is rejected | the one before stays in use; see the runbook *A model was rejected* |

Safe to clear and to retry: the same window and candles give the same versions. One training runs at a time.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import CronDataIntervalTimetable, Param, dag, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from include.pipeline.task_defaults import HISTORY_TASK
from include.settings import get_settings


@dag(
    schedule=CronDataIntervalTimetable("10 2 * * 0", timezone="UTC"),  # Sunday: exchanges are closed
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=12),
    default_args=HISTORY_TASK | {"priority_weight": -1},
    params={
        "from": Param("", type="string", title="From (UTC)", description="date or time; empty: 35 days before `to`"),
        "to": Param(
            "", type="string", title="To (UTC)", description="date or time; empty: the last midnight before it was due"
        ),
        "holdout_days": Param(7, type="integer", minimum=1, title="Days held out at the end"),
        "models": Param([], type="array", items={"type": "string"}, title="Only these models; none: all"),
    },
    tags=["models", "weekly", "impact:low"],
    doc_md=__doc__,
)
def model_training() -> None:
    @task
    def train(params: dict[str, Any], dag_run: Any) -> str:
        from include.errors import ConfigError
        from include.pipeline.training import NotEnoughError, train_as_asked

        try:
            ends_at = dag_run.data_interval_end or dag_run.run_after  # None without a logical date
            return train_as_asked(get_settings(), dict(params), ends_at, run_id=dag_run.run_id)
        except ConfigError as error:
            raise AirflowFailException(str(error)) from error
        except NotEnoughError as error:
            if params["from"] or params["to"]:
                raise AirflowFailException(str(error)) from error
            raise AirflowSkipException(str(error)) from error  # a young platform: next week there is more

    train()


model_training()
