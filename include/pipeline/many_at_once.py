"""The same work on many things, several at a time, each in a process of its own: Python has one processor per process.

Only a few of the things are in hand at any time, however many there are.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from itertools import islice
from typing import Final, TypeVar

from include.errors import QuantStreamError

T = TypeVar("T")
R = TypeVar("R")

_LOOK: Final = 0.5  # seconds between two looks whether whoever started a worker still lives


def many_at_once(work: Callable[[T], R], things: Iterable[T], jobs: int) -> Iterator[R]:
    """What `work` makes of each thing, in the order in which it is done.

    With one job nothing is started. Workers are forked, so that what is imported and read is theirs too; they end with
    whoever started them, even by kill -9. What `work` raises is raised here, after what is in hand is done.
    """
    if jobs <= 1:
        yield from map(work, things)
        return
    waiting = iter(things)
    with ProcessPoolExecutor(
        jobs, multiprocessing.get_context("fork"), initializer=_end_with, initargs=(os.getpid(),)
    ) as pool:
        running: set[Future[R]] = {pool.submit(work, one) for one in islice(waiting, 2 * jobs)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield _result(future)
            running |= {pool.submit(work, one) for one in islice(waiting, len(done))}


def _result(future: Future[R]) -> R:
    try:
        return future.result()
    except BrokenExecutor:
        raise QuantStreamError(
            "a worker was killed (out of memory?); what it had committed is kept, and doing the same again goes on"
        ) from None


def _end_with(parent: int) -> None:
    """Runs in a worker: end it as soon as its parent is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK)
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
