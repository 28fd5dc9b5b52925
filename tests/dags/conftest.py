"""The DAGs of dags/, loaded as Airflow loads them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from include.settings import ROOT


@pytest.fixture(scope="session")
def dags(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Every DAG by id."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_HOME", str(tmp_path_factory.mktemp("airflow")))
        patch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        patch.syspath_prepend(str(ROOT / "plugins"))  # as Airflow does
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(dag_folder=str(ROOT / "dags"))
        assert not bag.import_errors, bag.import_errors
        assert bag.dags, "the folder of DAGs was not read"
        yield dict(bag.dags)
