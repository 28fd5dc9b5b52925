"""What must hold before anything starts."""

import sys
from pathlib import Path

import pytest

from include.stack import checks


def test_a_full_disk_is_named_with_what_is_needed_and_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checks, "free_bytes", lambda path: 300 * 1024**2)
    with pytest.raises(
        checks.UnfitMachineError, match=rf"only 0\.3 GB free for {tmp_path}.*needs 2 GB.*QUANTSTREAM_HOME"
    ):
        checks.check_disk(tmp_path)


def test_the_disk_of_a_folder_that_does_not_exist_yet_is_that_of_its_parent(tmp_path: Path) -> None:
    assert checks.free_bytes(tmp_path / "not" / "yet") == pytest.approx(checks.free_bytes(tmp_path), rel=0.1)


@pytest.mark.parametrize("version", [(3, 10, 4), (3, 14, 0)])
def test_an_unsupported_python_is_refused_with_the_way_to_choose_another(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int]
) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    with pytest.raises(checks.UnfitMachineError, match=r"must be 3\.11, 3\.12 or 3\.13.*PYTHON=python3\.12"):
        checks.check_python()


def test_this_python_is_fine() -> None:
    assert checks.check_python() == ".".join(map(str, sys.version_info[:3]))
