"""The page of recorded answers says what the tests hold, and leaves none of the recorded files out."""

from __future__ import annotations

import json
from pathlib import Path

from include.settings import ROOT
from tests.payload_table import PAYLOADS, render


def test_the_page_is_the_tests_table() -> None:
    page = (ROOT / "docs" / "payloads.md").read_text()
    assert page == render(), "write it anew: python -m tests.payload_table > docs/payloads.md"


def test_every_recorded_answer_is_in_it(shared_data: Path) -> None:
    manifest = json.loads((shared_data / "payloads" / "MANIFEST.json").read_text())
    recorded = {
        one.get("file") or one["path"] for one in (manifest if isinstance(manifest, list) else manifest["files"])
    }
    assert recorded == {payload.file for payload in PAYLOADS}
