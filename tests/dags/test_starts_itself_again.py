"""market_transform and market_detect start again if they left something behind, and only then."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from include.settings import ROOT


@pytest.mark.airflow
def test_a_run_that_leaves_history_behind_starts_its_dag_again(tmp_path: Path) -> None:
    """Without any new event. Detection is started by what was built, and by nothing else."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.dags.airflow_run"],
        cwd=ROOT, env=os.environ | {"AIRFLOW_HOME": str(tmp_path)}, capture_output=True, text=True, check=False,
        timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "transform, history is left": ["success", ["market_detect", "market_transform"]],
        "transform, nothing is left": ["success", ["market_detect"]],
        "transform, nothing waited": ["success", []],
        "detect, history is left": ["success", ["market_detect"]],
        "detect, nothing is left": ["success", []],
    }
