"""Work in a process of its own that may be killed, forked so that heavy imports are paid once."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code, or the signal that killed it, and what it wrote on failing."""

    code: int
    signal: int | None

    @property
    def killed(self) -> bool:
        return self.signal == signal.SIGKILL

    @property
    def ok(self) -> bool:
        return self.code == 0 and self.signal is None


def start(work: Callable[[], object], environment: Mapping[str, str] | None = None) -> int:
    """Begin `work` in a forked child and return its pid."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.environ.update(environment or {})
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def wait(pid: int) -> Ended:
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return Ended(-1, os.WTERMSIG(status))
    return Ended(os.WEXITSTATUS(status), None)


def run(work: Callable[[], object], environment: Mapping[str, str] | None = None) -> Ended:
    """Do `work` in a forked child and wait for its end."""
    return wait(start(work, environment))
