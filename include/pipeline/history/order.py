"""Work that is done behind the one who orders it: piece by piece in order, and never beyond one that failed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

_WAITING: Final = 4  # pieces at the most, so that memory stays flat


class InOrder:
    """A thread of its own. Use it as a context manager: at the end of the block all that was ordered is done.

    What a piece of work raises is raised by a later `do`, or at the end of the block; what was ordered behind it is not
    done.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="in-order")
        self._waiting: deque[Future[None]] = deque()
        self._has_failed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._has_failed = self._has_failed or error is not None
        with self._pool:
            while self._waiting:
                self._waiting.popleft().result()

    def do(self, work: Callable[[], object]) -> None:
        """Order it; waits while too much is ordered already."""
        while len(self._waiting) >= _WAITING:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(self._run, work))

    def _run(self, work: Callable[[], object]) -> None:
        if self._has_failed:
            return
        try:
            work()
        except BaseException:
            self._has_failed = True
            raise
