"""Blocking work (disk, database, HTTP, AWS) beside an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


async def aside(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call it in a thread of its own and wait for the result.

    The thread is a daemon: a process that stops does not wait for a call that hangs, as an executor's would make it.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[R] = loop.create_future()

    def deliver(set_it: Callable[[Any], None], value: object) -> None:
        if not future.done():
            set_it(value)

    def work() -> None:
        try:
            value: Any = function(*args, **kwargs)
            set_it: Callable[[Any], None] = future.set_result
        except BaseException as error:
            value, set_it = error, future.set_exception
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(deliver, set_it, value)

    threading.Thread(target=work, name=f"collect-{getattr(function, '__name__', 'work')}", daemon=True).start()
    return await future
