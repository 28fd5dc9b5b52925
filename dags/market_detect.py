"""## market_detect: alerts out of new candles

Runs whenever `market_transform` changed the marts (asset `market_marts`).

| task | does | when it fails |
|---|---|---|
| `detect` | applies the rules of `include/config/detection.yml` to new and changed candles, those that came live first; writes alerts and the outbox in one transaction | nothing was written; the next run looks at the same candles. A wrong `detection.yml` is refused with file and line: `quantstream detection check` |
| `notify` | publishes the outbox to SNS in order and marks what SNS took | what was not taken stays in the outbox; see the runbook *Alerts do not arrive* |

An alert has a stable key (rule, symbol, candle), so a retry neither writes nor sends it twice. One whose candle is older than
`QUANTSTREAM_ALERT_MAX_AGE_HOURS` (that a backfill brings: `QUANTSTREAM_BACKFILL_ALERT_MAX_AGE_MINUTES`) is written down and sent to nobody. History waits for a run without live candles, and is looked at for a
few seconds: a run that leaves some sends what it found, emits `market_marts` itself (through the alias
`market_detect_again`), and starts again.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, AssetAlias, dag, task

from include.pipeline.task_defaults import MINUTE_TASK
from include.settings import get_settings

MARKET_MARTS = Asset("market_marts")
AGAIN = AssetAlias("market_detect_again")
HISTORY_SECONDS = 2.0  # then another part of history is begun by the next run: what came live is before it there


@dag(
    schedule=[MARKET_MARTS],
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=10),
    default_args=MINUTE_TASK | {"execution_timeout": timedelta(minutes=5)},
    tags=["market", "minute", "impact:critical"],
    doc_md=__doc__,
)
def market_detect() -> None:
    @task(outlets=[AGAIN])
    def detect(run_id: str, outlet_events: Any) -> None:
        from include.pipeline.detect import detect

        if detect(get_settings(), run_id=run_id, history_seconds=HISTORY_SECONDS).is_more_left:
            outlet_events[AGAIN].add(MARKET_MARTS)

    @task
    def notify(run_id: str) -> None:
        from airflow.sdk.observability import stats

        from include.pipeline.notify import notify
        from include.pipeline.pace import last_cycle_seconds

        notify(get_settings(), run_id=run_id)
        if (seconds := last_cycle_seconds(get_settings())) is not None:
            stats.gauge("quantstream.cycle.seconds", seconds)

    detect() >> notify()


market_detect()
