"""From a running Airflow to the first minute that went all the way."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from include.errors import NotRunningError
from include.pipeline.clock import pulled_intervals
from include.pipeline.pace import pace
from include.settings import Settings
from include.stack.airflow import DAGS, url
from include.stack.airflow_api import AirflowApi, Run
from include.stack.secrets import Secrets
from include.stack.supervision import Supervisor

_PATIENCE_SECONDS = 180.0
_SOON = timedelta(minutes=1)


def unpause(settings: Settings, secrets: Secrets, dag_ids: Iterable[str]) -> list[str]:
    """Unpause those of the DAGs that never ran. Returns those that somebody has paused: they stay as they are."""
    paused = []
    with AirflowApi(settings, secrets) as api:
        known = api.dags()
        for dag_id in dag_ids:
            if dag_id not in known or not known[dag_id].is_paused:
                continue
            if api.last_run(dag_id) is None:
                api.unpause(dag_id)
            else:
                paused.append(dag_id)
    return paused


def wait_for_first_minute(settings: Settings, secrets: Secrets, supervisor: Supervisor) -> str:
    """Until each DAG has a good run that began after Airflow's start. Returns a line for the screen.

    While every exchange of the sources is closed, nobody waits: the line says when the first one opens.
    Raises NotRunningError, saying which DAG is late and where to look, or what the sources said if none came.
    """
    if closed := _closed(settings, datetime.now(UTC)):
        return closed
    scheduler = supervisor.processes()["scheduler"]
    since = datetime.now(UTC).timestamp() - scheduler.uptime_seconds
    end = time.monotonic() + _PATIENCE_SECONDS
    with AirflowApi(settings, secrets) as api:
        while True:
            good = {dag_id: api.last_run(dag_id, state="success") for dag_id in DAGS}
            late = [dag_id for dag_id, run in good.items() if not _after(run, since)]
            if not late:
                return f"{', '.join(DAGS)} ran"
            if late[0] != DAGS[0] and (why := _nothing_comes(settings, since)):
                raise NotRunningError(why)
            if time.monotonic() > end:
                last = api.last_run(late[0])
                state = "no run yet" if last is None else f"its last run {last.run_id} is {last.state}"
                raise NotRunningError(
                    f"{late[0]} has no successful run within {_PATIENCE_SECONDS:g} s ({state}). Look at "
                    f"{url(settings)}/dags/{late[0]} or at `quantstream logs scheduler`; everything keeps running."
                )
            time.sleep(0.5)


def _nothing_comes(settings: Settings, since: float) -> str | None:
    """What to say if every source was pulled since then, and each failed."""
    from include.warehouse.db import connect

    with connect(settings) as conn:
        pulls = conn.execute(
            "select distinct on (source) source, error from ops.outcomes where step = 'pull' and source = any(%s) "
            "and at >= to_timestamp(%s) order by source, ok desc, at desc",
            [settings.sources, since],
        ).fetchall()
    if {source for source, _ in pulls} != set(settings.sources) or not all(error for _, error in pulls):
        return None
    said = "\n".join(f"  {source}: {error}" for source, error in pulls)
    return (
        f"no source of QUANTSTREAM_SOURCES brought anything:\n{said}\n"
        "Everything keeps running, and they are asked again in each interval; `quantstream status` shows how they do."
    )


def cadence_warning(settings: Settings) -> str | None:
    """What to say if the cycles measured so far, be it one, take longer than the cadence."""
    from include.warehouse.db import connect

    with connect(settings) as conn:
        found = pace(conn, datetime.now(UTC))
    return None if found is None or found.fits(settings, enough=1) else found.warning(settings)


def _closed(settings: Settings, now: datetime) -> str | None:
    following = pulled_intervals(settings).first_from(now)
    if following is None or following.start - now <= _SOON:
        return None
    return f"every exchange is closed; the first one opens {following.start:%A %Y-%m-%d at %H:%M} UTC"


def _after(run: Run | None, since: float) -> bool:
    return run is not None and run.started is not None and run.started.timestamp() >= since
