"""## lake_replay: a span of the raw lake once more through today's code

Nothing runs by itself: trigger it, or use `quantstream replay --from ... --to ...`.

| task | does | when it fails |
|---|---|---|
| `replay` | reads every raw object that arrived in `[from, to)` (UTC), loads and audits it, and takes out of quarantine what is accepted today | all other objects are in; the log names each that is not, with the remedy. A retry reads only what is left; a run that is cleared reads everything once more |

What is there already comes in as duplicates or revisions, so any span may be read at any time, beside the live minutes.
The asset `market_events` starts `market_transform`. Files of prices are another thing: `quantstream run --source replay`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, Param, dag, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from include.pipeline.task_defaults import HISTORY_TASK
from include.settings import get_settings

MARKET_EVENTS = Asset("market_events")
PARAMS = {
    "from": Param(
        None, type=["null", "string"], format="date-time", title="From", description="What arrived from then on (UTC)."
    ),
    "to": Param(
        None, type=["null", "string"], format="date-time", title="To",
        description="What arrived before then (UTC). Empty: until this run was due.",
    ),
    "source": Param(
        "", type=["null", "string"], title="Source",
        description="Only events of these sources, with commas between them. Empty: all.",
    ),
}  # fmt: skip


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(days=2),
    default_args=HISTORY_TASK | {"execution_timeout": timedelta(hours=6)},
    params=PARAMS,
    tags=["market", "history", "impact:low"],
    doc_md=__doc__,
)
def lake_replay() -> None:
    @task(outlets=[MARKET_EVENTS])
    def replay(params: dict[str, Any], dag_run: Any) -> None:
        from include.errors import ConfigError, LoadRejectedError
        from include.events import Window
        from include.pipeline.history_request import parse_moment
        from include.pipeline.lake_replay import replay_lake
        from include.pipeline.waiting import loads_to_transform

        try:
            if not params["from"]:
                raise ConfigError("from is missing: say which arrivals are read again")
            start = parse_moment("from", params["from"])
            end = parse_moment("to", params["to"]) if params["to"] else dag_run.run_after
            if end <= start:
                raise ConfigError(f"to = {end} is not after from = {start}")
            sources = [name.strip() for name in (params["source"] or "").split(",") if name.strip()]
            # A run that was cleared reads everything once more; a retry goes on where the try before it was.
            run_id = dag_run.run_id + (f"#{dag_run.clear_number}" if dag_run.clear_number else "")
            replay_lake(get_settings(), Window(start, end), sources=sources or None, run_id=run_id)
        except (ConfigError, LoadRejectedError) as failed:  # a retry would find the same
            raise AirflowFailException(str(failed)) from failed
        if not loads_to_transform(get_settings()):
            raise AirflowSkipException("no accepted load waits: nothing to transform")

    replay()


lake_replay()
