"""A step killed right after its commit: its retry has nothing to do, but the next step is still told."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from include.events import Window
from include.pipeline import waiting
from include.pipeline.audit import audit
from include.pipeline.detect import detect
from include.pipeline.land import land
from include.pipeline.load import load
from include.pipeline.pull import pull
from include.pipeline.transform import transform
from include.settings import Settings
from tests import processes

pytestmark = pytest.mark.stack


def test_a_retry_after_the_commit_sees_what_waits(marts_settings: Settings) -> None:
    pull(marts_settings, "simulator", Window.minute_before(datetime.now(UTC)))
    land(marts_settings)
    load(marts_settings)
    assert waiting.loads_to_transform(marts_settings) == 0

    assert processes.run(lambda: audit(marts_settings), {"QUANTSTREAM_CRASH_AT": "after_audit_commit"}).killed
    assert audit(marts_settings).accepted == 0
    assert waiting.loads_to_transform(marts_settings) == 1

    assert processes.run(lambda: transform(marts_settings), {"QUANTSTREAM_CRASH_AT": "after_transform_commit"}).killed
    assert transform(marts_settings).loads == 0
    assert waiting.loads_to_transform(marts_settings) == 0
    assert waiting.symbols_to_detect(marts_settings) > 20

    detect(marts_settings)
    assert waiting.symbols_to_detect(marts_settings) == 0
