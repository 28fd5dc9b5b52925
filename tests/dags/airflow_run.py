"""Runs of market_transform and market_detect on an Airflow database of their own, with what they call replaced.

A program, because Airflow's database is chosen when it is imported: `python -m tests.dags.airflow_run`, with
AIRFLOW_HOME set. The tasks run as a worker runs them, through the execution API. Prints, as the last line, for each run
its state and which DAGs its events would start, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

from include.pipeline.detect import DetectReport
from include.pipeline.transform import TransformReport
from include.settings import ROOT

TRANSFORMED = {
    "history is left": TransformReport(loads=3, slices=1, is_more_left=True),
    "nothing is left": TransformReport(loads=3, slices=1),
    "nothing waited": TransformReport(),
}
DETECTED = {"history is left": DetectReport(is_more_left=True), "nothing is left": DetectReport()}


def main() -> None:
    home = os.environ["AIRFLOW_HOME"]
    os.environ |= {
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
    }
    sys.path.insert(0, str(ROOT / "plugins"))  # as Airflow does
    from airflow.dag_processing.dagbag import DagBag
    from airflow.models import Pool
    from airflow.utils.db import initdb
    from airflow.utils.session import create_session

    initdb()
    with create_session() as session:
        Pool.create_or_update_pool("market", slots=4, description="", include_deferred=False, session=session)
    dags = DagBag(dag_folder=str(ROOT / "dags")).dags
    print(json.dumps(_transforms(dags["market_transform"]) | _detects(dags["market_detect"])))  # noqa: T201


def _transforms(dag: object) -> dict[str, list[object]]:
    from include.pipeline import transform, waiting

    waiting.symbols_to_detect = lambda settings: 0
    found = {}
    for what, report in TRANSFORMED.items():
        transform.transform = lambda settings, run_id, report=report: report  # type: ignore[assignment]
        found[f"transform, {what}"] = _run(dag)
    return found


def _detects(dag: object) -> dict[str, list[object]]:
    from include.pipeline import detect, notify, pace

    notify.notify = lambda settings, run_id: None  # type: ignore[assignment]
    pace.last_cycle_seconds = lambda settings: None
    found = {}
    for what, report in DETECTED.items():
        detect.detect = lambda settings, report=report, **given: report  # type: ignore[assignment]
        found[f"detect, {what}"] = _run(dag)
    return found


def _run(dag: object) -> list[object]:
    from airflow.models.asset import AssetDagRunQueue
    from airflow.utils.session import create_session
    from sqlalchemy import delete, select

    test: Callable[..., object] = dag.test  # type: ignore[attr-defined]
    run = test(logical_date=None)
    with create_session() as session:
        starts = sorted(session.scalars(select(AssetDagRunQueue.target_dag_id)))
        session.execute(delete(AssetDagRunQueue))
    return [str(run.state), starts]  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
