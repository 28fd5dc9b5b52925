"""Heavy imports happen once, in the scheduler, and what it forks dies with it."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from include.settings import ROOT
from include.stack import warm
from tests.conftest import wait_until


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which parts were warmed, with parts that cost nothing; the second one fails."""
    done: list[str] = []

    def broken() -> None:
        raise ModuleNotFoundError("No module named 'nowhere'")

    monkeypatch.setattr(
        warm, "_PARTS", {"one": lambda: done.append("one"), "two": broken, "three": lambda: done.append("three")}
    )
    monkeypatch.setattr(warm, "die_with_parent", lambda: None)
    return done


@pytest.mark.parametrize("component", ["api-server", "dag-processor", "triggerer", "tasks"])
def test_only_the_scheduler_warms_up(component: str, parts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["airflow", component])
    warm.preload()
    assert parts == []


def test_a_part_that_fails_is_said_and_the_others_are_warm(
    parts: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["airflow", "scheduler"])
    warm.preload()
    assert parts == ["one", "three"]
    assert (
        "two is not warm, tasks import it themselves: ModuleNotFoundError: No module named 'nowhere'"
        in capfd.readouterr().err
    )


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
def test_workers_and_tasks_of_a_killed_scheduler_die_with_it(tmp_path: Path) -> None:
    """The worker waits for work for ever, and its task is a process group of its own, as under Airflow."""
    code = f"""
        import os, time
        from include.stack.warm import die_with_parent
        die_with_parent()
        if os.fork() == 0:
            if os.fork() == 0:
                os.setpgid(0, 0)
            with open({str(tmp_path / "pids")!r}, "a") as file:
                file.write(f"{{os.getpid()}} ")
        time.sleep(600)
    """
    scheduler = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    pids = tmp_path / "pids"
    wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 2, 10, "worker and task run")
    children = [psutil.Process(int(pid)) for pid in pids.read_text().split()]
    scheduler.send_signal(signal.SIGKILL)
    scheduler.wait()
    gone, alive = psutil.wait_procs(children, timeout=5)
    for process in alive:
        process.kill()
    assert (len(gone), alive) == (2, [])
