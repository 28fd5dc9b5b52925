"""The notebook of the docs, run by a Jupyter kernel on a platform that has lived for an hour."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from pydantic import SecretStr

from include.pipeline.cycle import catch_up
from include.settings import ROOT, Settings

pytestmark = pytest.mark.stack


def test_the_notebook_runs_from_its_first_to_its_last_cell(
    make_settings: Callable[..., Settings], template_marts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lived = make_settings(template=template_marts)
    assert not catch_up(lived, minutes=60, until=datetime.now(UTC)).failures
    assert isinstance(lived.analyst_dsn, SecretStr)
    monkeypatch.setenv("QUANTSTREAM_ANALYST_DSN", lived.analyst_dsn.get_secret_value())
    notebook = nbformat.read(ROOT / "docs" / "notebooks" / "analyst.ipynb", as_version=4)

    NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()

    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert [output for output in shown if output.output_type == "error"] == []
    assert any("image/png" in output.get("data", {}) for output in shown)
    text = "\n".join(output.get("data", {}).get("text/plain", "") for output in shown)
    assert "BTC-USD" in text, text
    assert "equal           True" in text, text


def test_it_is_kept_without_output() -> None:
    notebook = nbformat.read(ROOT / "docs" / "notebooks" / "analyst.ipynb", as_version=4)
    assert [cell["source"] for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")] == []
