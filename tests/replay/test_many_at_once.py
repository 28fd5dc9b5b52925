"""Several at a time: everything is done once, little is in hand, and workers end with whoever started them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.pipeline.many_at_once import many_at_once
from tests import processes
from tests.conftest import wait_until


def square(number: int) -> int:
    return number * number


def fail_at_three(number: int) -> int:
    if number == 3:
        raise ValueError("three")
    return number


def note_and_wait(folder: Path) -> int:
    (folder / str(os.getpid())).touch()
    signal.pause()
    return 0


@pytest.mark.parametrize("jobs", [1, 3])
def test_each_is_done_once(jobs: int) -> None:
    assert sorted(many_at_once(square, range(20), jobs)) == [n * n for n in range(20)]
    assert list(many_at_once(square, [], jobs)) == []


def test_only_a_few_are_taken_before_some_are_done() -> None:
    taken: list[int] = []

    def things() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    done = many_at_once(square, things(), 2)
    next(done)
    assert len(taken) <= 5
    done.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_comes_out(jobs: int) -> None:
    with pytest.raises(ValueError, match="three"):
        list(many_at_once(fail_at_three, range(10), jobs))


def test_workers_end_with_whoever_started_them_even_by_kill_9(tmp_path: Path) -> None:
    pid = processes.start(lambda: list(many_at_once(note_and_wait, [tmp_path] * 2, 2)))
    wait_until(lambda: len(list(tmp_path.iterdir())) == 2, 20, "two workers are at work")
    os.kill(pid, signal.SIGKILL)
    processes.wait(pid)
    workers = [int(file.name) for file in tmp_path.iterdir()]
    wait_until(lambda: not any(is_alive(worker) for worker in workers), 20, "the workers are gone")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_worker_that_is_killed_is_an_error_that_says_so() -> None:
    from include.errors import QuantStreamError

    with pytest.raises(QuantStreamError, match=r"a worker was killed \(out of memory\?\)"):
        list(many_at_once(kill_self, range(3), 2))


def kill_self(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number
