"""Warm once, fork afterwards: the child judges at once, and nothing is written to the disk or sent anywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from include.settings import ROOT

PROGRAM = """
import json, os, socket, sys, time

def refuse(*_):
    raise AssertionError("it wants to talk to somebody")

socket.socket.connect = refuse
socket.getaddrinfo = refuse

from include.quality.audit import preload
assert "great_expectations" not in sys.modules, "imported before it is needed"
preload()
begun = time.perf_counter()
child = os.fork()
if not child:
    preload()
    os._exit(0)
_, status = os.waitpid(child, 0)
print(json.dumps({"status": status, "seconds": time.perf_counter() - begun}))
"""


def test_a_forked_child_finds_everything_warm_and_nothing_leaves_the_process(tmp_path: Path) -> None:
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"HOME": str(home), "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    said = json.loads(done.stdout)
    assert said["status"] == 0
    assert said["seconds"] < 2, "a cold start takes longer"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["home", "tmp"]
    assert "Warning" not in done.stderr
