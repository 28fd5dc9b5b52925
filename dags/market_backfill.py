"""## market_backfill: the past of every source, day by day

A run takes one day `[00:00, 24:00)` UTC. Nothing runs by itself: make a **backfill** (Trigger, then *Backfill*, or
`quantstream backfill --from ... --to ...`), or trigger a single run, which takes yesterday or what `from` and `to` say.

| task | does | when it fails |
|---|---|---|
| `asked` | leaves out the sources that were not asked for (only where there are more than two) | it is tried again |
| `backfill_<source>` | fetches what the day lacks in as few calls as the vendor allows, puts the answers into the lake, loads and audits them | what came is kept, and a retry goes on from there; a load that the audit rejects waits for you: see the runbook *A load was rejected* |

What does not fit in the vendor's budget is no failure: the task is `up_for_reschedule` until there is room again, holds no
slot meanwhile, and its log says until when.

Days are independent: they may run in any order, at the same time, twice, or beside the live minutes. Asking again for
a day that is there costs next to nothing, so choose *All Runs* where another source, kind or symbol is wanted.
The asset `market_events` starts `market_transform`, which takes all days that are ready at once; the asset `lake_history` starts
`lake_compact`, which stands behind the backfill in the pool, so once at its end.

**In the backfill form, tick *Override parameters on existing runs*:** without it Airflow leaves out what was chosen below it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, Param, dag, task
from airflow.sdk.exceptions import AirflowFailException, AirflowRescheduleException, AirflowSkipException
from history_days import HistoryDaysTimetable  # plugins/history_days.py

from include.pipeline.history_request import KIND_NAMES, USUAL, asked_sources, known_symbols
from include.pipeline.task_defaults import HISTORY_TASK
from include.settings import get_settings

MARKET_EVENTS = Asset("market_events")
LAKE_HISTORY = Asset("lake_history")
SOURCES = asked_sources(get_settings())
NAMES = {"type": "string"}
PARAMS = {
    "sources": Param(
        [], type=["array", "null"], items=NAMES | {"enum": list(SOURCES)}, examples=list(SOURCES), title="Sources",
        description="Who is asked. None chosen: every source that is enabled.",
    ),
    "symbols": Param(
        [], type=["array", "null"], items=NAMES, examples=list(known_symbols(get_settings())), title="Symbols",
        description="Which instruments. None chosen: all that the source has.",
    ),
    "kind": Param(
        USUAL, type="string", enum=[USUAL, *KIND_NAMES], title="Kind",
        description="The usual one is bars of a minute, or what the source has instead. Trades are many: a day of a busy pair is hundreds of calls.",
    ),
    "reprocess": Param(
        False, type="boolean", title="Ask again",
        description="Ask the vendor again for what is there already. What it says now counts as a revision.",
    ),
    "gaps": Param(
        False, type="boolean", title="Only gaps", description="Ask only for the minutes that marts.gaps lists as missing."
    ),
    "from": Param(
        None, type=["null", "string"], format="date-time", title="From",
        description="Nothing before this time (inclusive, UTC). In a single run: where it begins, instead of yesterday's midnight.",
    ),
    "to": Param(
        None, type=["null", "string"], format="date-time", title="To",
        description="Nothing from this time on (exclusive, UTC). In a single run: where it ends.",
    ),
}  # fmt: skip


@dag(
    schedule=HistoryDaysTimetable(),
    catchup=False,
    max_active_runs=4,
    dagrun_timeout=timedelta(days=60),  # a small budget may spread a day over many
    default_args=HISTORY_TASK,
    params=PARAMS,
    tags=["market", "history", "impact:low"],
    doc_md=__doc__,
)
def market_backfill() -> None:
    @task.branch
    def asked(params: dict[str, Any]) -> list[str]:
        return [f"backfill_{source}" for source in SOURCES if source in (params["sources"] or SOURCES)]

    @task(outlets=[MARKET_EVENTS, LAKE_HISTORY])
    def backfill(source: str, params: dict[str, Any], dag_run: Any) -> None:
        from quantstream_keys import settings_with_keys  # plugins/quantstream_keys.py

        from include.errors import ConfigError, HistoryDeferredError, LoadRejectedError
        from include.events import Window
        from include.pipeline.history_day import bring_history
        from include.pipeline.history_request import HistoryRequest, day_before

        try:
            request = HistoryRequest.from_params(params)
            if not request.asks(source):
                raise AirflowSkipException(f"{source} was not asked for, or has no history of this kind")
            start, end = dag_run.data_interval_start, dag_run.data_interval_end  # None without a logical date
            day = Window(start, end) if start else day_before(dag_run.run_after)
            window = request.window(day, by_hand=dag_run.run_type == "manual")
            if window is None:
                raise AirflowSkipException("nothing of this day lies between from and to")
            # A backfill over a day that ran before clears its run: the same id, but asked anew.
            run_id = dag_run.run_id + (f"#{dag_run.clear_number}" if dag_run.clear_number else "")
            bring_history(settings_with_keys(get_settings(), source), source, window, request, run_id=run_id)
        except HistoryDeferredError as deferred:
            raise AirflowRescheduleException(deferred.until) from deferred
        except (ConfigError, LoadRejectedError) as failed:  # a retry would find the same
            raise AirflowFailException(str(failed)) from failed

    days = [backfill.override(task_id=f"backfill_{source}")(source=source) for source in SOURCES]
    if len(SOURCES) > 2:
        asked() >> days


market_backfill()
