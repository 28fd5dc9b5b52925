"""What is there when a part of the stack begins, however long the others take."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from include.settings import Settings, load_settings
from include.stack import up
from include.stack.layout import Layout
from include.stack.progress import Steps
from tests.conftest import wait_until


def test_airflow_starts_with_the_address_of_the_topic_however_long_the_models_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its scheduler reads the settings once, when it starts."""
    settings = load_settings(home=tmp_path / "home")
    Layout(settings.home).make()
    start = up._Start(settings, Steps(Console(quiet=True)), with_airflow=True)
    seen: list[Settings] = []
    topic = "arn:aws:sns:us-east-1:000000000000:alerts.fifo"
    for name in ("_database", "_warehouse", "_warm_up", "_collectors", "_first_minute"):
        monkeypatch.setattr(start, name, lambda: None)
    monkeypatch.setattr(start, "_supervise", lambda: set())
    monkeypatch.setattr(start, "_aws", lambda: settings.model_copy(update={"topic_arn": topic}))
    monkeypatch.setattr(start, "_airflow", lambda: seen.append(load_settings(home=settings.home)))
    monkeypatch.setattr(
        start, "_models", lambda: wait_until(lambda: seen, 10, "Airflow starts while the models are built")
    )
    start.run()
    assert [one.topic_arn for one in seen] == [topic]
