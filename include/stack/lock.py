"""One `up`, `down` or `clean` at a time for one home."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from include.errors import QuantStreamError
from include.stack.layout import Layout


@contextmanager
def alone(layout: Layout) -> Iterator[None]:
    """Hold the home's lock for the block; it ends with the process. Raises QuantStreamError if another one has it."""
    layout.run.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(layout.run / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise QuantStreamError(
                f"another `quantstream up` or `down` works on {layout.home} now; wait for it"
            ) from None
        yield
    finally:
        os.close(descriptor)
