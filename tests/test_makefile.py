"""The Makefile's own messages: nobody should have to read it to know what is wrong."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from include.settings import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, env=kept | environment, capture_output=True, text=True, check=False, timeout=60
    )


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_make_alone_lists_every_target_that_is_meant_for_people() -> None:
    documented = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = set(re.findall(r"^  make ([a-z-]+) ", make().stdout, re.MULTILINE))
    assert (
        shown
        == documented
        >= {"help", "up", "down", "clean", "status", "test", "lint", "types", "format", "requirements"}
    )


def test_an_unknown_target_is_named_with_those_that_exist() -> None:
    done = make("start")
    assert done.returncode == 2
    assert "there is no target 'start'" in done.stderr
    assert "make up" in done.stderr


def test_an_old_python_is_refused_with_the_version_needed_and_the_way_to_choose(tmp_path: Path) -> None:
    old = program(tmp_path / "python-old", 'case "$1" in --version) echo "Python 3.9.2";; *) exit 1;; esac')
    done = make("new-environment", f"VENV={tmp_path / 'venv'}", f"PYTHON={old}")
    assert done.returncode == 2
    assert "QuantStream needs Python 3.11, 3.12 or 3.13; here is Python 3.9.2." in done.stderr
    assert "make up PYTHON=python3.12" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_a_failed_installation_shows_the_end_of_its_log_and_is_tried_again_the_next_time(tmp_path: Path) -> None:
    uv = program(tmp_path / "uv", 'echo "no space left on device" >&2; exit 1')
    for _ in range(2):
        done = make("environment", f"VENV={tmp_path / 'venv'}", f"UV={uv}")
        assert done.returncode == 2
        assert "no space left on device" in done.stderr


def test_an_environment_of_these_requirements_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "venv").mkdir()
    shutil.copy(ROOT / "requirements.txt", tmp_path / "venv")
    done = make("environment", f"VENV={tmp_path / 'venv'}", "UV=/nowhere/uv")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_ci_script_is_valid_and_runs_make_test() -> None:
    script = ROOT / ".ci" / "run"
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    assert os.access(script, os.X_OK)
    assert script.read_text().rstrip().endswith("exec make test")


def test_what_runs_from_an_environment_is_stopped_before_that_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    program(tmp_path / "venv" / "bin" / "quantstream", 'echo "stopped by $1"; exit 1')
    uv = program(tmp_path / "uv", "exit 0")
    done = make("environment", f"VENV={tmp_path / 'venv'}", f"UV={uv}")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "stopped by down"), done.stderr
    assert not (tmp_path / "venv" / "bin" / "quantstream").exists()
