"""supervisord's configuration, and its keeping of processes alive."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from include.errors import NotRunningError
from include.settings import Settings
from include.stack import leftovers
from include.stack.layout import Layout
from include.stack.programs import MARKER, Program
from include.stack.supervision import Supervisor
from tests.conftest import wait_until

SLEEP = "import time; time.sleep(600)"


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    home = tmp_path / "a home, with 100%"  # names that a configuration file could trip over
    made = Supervisor(Settings(_env_file=None, home=home))
    made.layout.make()
    yield made
    if made.answers():
        made.shutdown()
    leftovers.clear(made.layout)


def sleeper(name: str = "sleeper", code: str = SLEEP, **environment: str) -> Program:
    return Program(name, (sys.executable, "-c", code), environment)


def environ(process: psutil.Process) -> dict[str, str]:
    return dict(process.environ())


def test_a_program_starts_only_when_it_is_told_to_and_carries_the_marker(supervisor: Supervisor) -> None:
    supervisor.start([sleeper(GREETING="it's 100%, \\ ok")])
    assert not supervisor.processes()["sleeper"].running
    assert supervisor.start_program("sleeper")
    assert not supervisor.start_program("sleeper"), "it runs already"
    process = psutil.Process(supervisor.processes()["sleeper"].pid)
    # Before it is executed it is a fork of the supervisor, whose environment carries the marker too.
    wait_until(lambda: "GREETING" in environ(process), 5, "the program is executed")
    assert environ(process)[MARKER] == str(supervisor.layout.home)
    assert environ(process)["GREETING"] == "it's 100%, \\ ok"


def test_a_killed_program_comes_back_by_itself(supervisor: Supervisor) -> None:
    supervisor.start([sleeper()])
    supervisor.start_program("sleeper")
    wait_until(lambda: supervisor.processes()["sleeper"].state == "RUNNING", 10, "it runs")
    first = supervisor.processes()["sleeper"].pid
    assert first
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: supervisor.processes()["sleeper"].pid not in (None, first), 10, "it runs again")


def test_a_stop_takes_the_programs_children_along(supervisor: Supervisor) -> None:
    code = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); time.sleep(600)"
    supervisor.start([sleeper(code=code)])
    supervisor.start_program("sleeper")
    process = psutil.Process(supervisor.processes()["sleeper"].pid)
    wait_until(lambda: process.children(), 10, "its child runs")
    child = process.children()[0]
    assert supervisor.stop_programs(["sleeper", "no such program"]) == ["sleeper"]
    supervisor.shutdown()
    leftovers.clear(supervisor.layout)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_what_a_killed_supervisor_left_is_found_and_stopped_and_nothing_else(supervisor: Supervisor) -> None:
    supervisor.start([sleeper()])
    supervisor.start_program("sleeper")
    orphan = psutil.Process(supervisor.processes()["sleeper"].pid)
    daemon = psutil.Process(supervisor.pid())
    stranger = psutil.Popen(
        [sys.executable, "-c", SLEEP], env=os.environ | {MARKER: str(supervisor.layout.home) + "-other"}
    )
    try:
        daemon.kill()
        wait_until(lambda: not supervisor.answers(), 5, "the supervisor is gone")
        assert orphan.is_running()
        said = leftovers.clear(supervisor.layout)
        assert "stopped 1 processes of a killed stack" in said
        assert "supervisord.pid" in said
        assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
    assert leftovers.clear(supervisor.layout) == ""


def test_a_changed_program_is_taken_over_when_it_does_not_run(supervisor: Supervisor) -> None:
    supervisor.start([sleeper("one"), sleeper("two")])
    supervisor.start_program("one")
    assert supervisor.update([sleeper("one", A="1"), sleeper("two", A="1"), sleeper("three")]) == ["one"]
    supervisor.start_program("two")
    process = psutil.Process(supervisor.processes()["two"].pid)
    wait_until(lambda: environ(process).get("A") == "1", 5, "it has the new environment")
    assert "three" in supervisor.processes()


def test_nothing_answers_where_nothing_runs(supervisor: Supervisor) -> None:
    with pytest.raises(NotRunningError, match="does not run; `make up` starts it"):
        supervisor.processes()


def test_a_stale_pid_file_of_the_database_is_not_taken_for_a_running_one(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.postgres.mkdir(parents=True)
    (layout.postgres / "postmaster.pid").write_text(f"{os.getpid()}\n/somewhere\n")  # the number of another program
    assert leftovers.postmaster(layout) is None
    assert leftovers.clear(layout) == "removed stale postmaster.pid"
