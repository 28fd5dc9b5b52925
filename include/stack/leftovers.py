"""What a killed stack left behind: processes that nobody supervises any more, and files that name dead processes.

Only processes of this stack are touched: they carry its home in their environment, or hold its database's pid file.
"""

from __future__ import annotations

import signal
from contextlib import suppress

import psutil

from include.stack.layout import Layout
from include.stack.programs import MARKER

_PATIENCE_SECONDS = 20.0


def orphans(layout: Layout) -> list[psutil.Process]:
    """Living processes of this stack, the caller excepted. Call it when supervisord does not answer."""
    mine = {psutil.Process().pid, *(parent.pid for parent in psutil.Process().parents())}
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        if process.pid in mine:
            continue
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARKER) == str(layout.home) and process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = process
                found.update((child.pid, child) for child in process.children(recursive=True))
    server = postmaster(layout)
    if server is not None:
        found.setdefault(server.pid, server)
    return list(found.values())


def postmaster(layout: Layout) -> psutil.Process | None:
    """The database server that its pid file names, if it lives and is really this one."""
    with suppress(OSError, ValueError, IndexError, psutil.Error):
        lines = (layout.postgres / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        process = psutil.Process(int(lines[0]))
        if str(layout.postgres) in process.cmdline():
            return process
    return None


def stop(layout: Layout, found: list[psutil.Process]) -> None:
    """End these processes as a clean stop would: the database last, and by the signal that makes it close properly."""
    server = postmaster(layout)
    database = set() if server is None else {server, *server.children(recursive=True)}
    rest = [process for process in found if process not in database]
    for process in rest:
        with suppress(psutil.Error):
            process.terminate()
    _, stubborn = psutil.wait_procs(rest, timeout=_PATIENCE_SECONDS)
    for process in stubborn:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(stubborn, timeout=5)
    if server is not None:
        with suppress(psutil.Error):
            server.send_signal(signal.SIGINT)
        psutil.wait_procs([server], timeout=60)


def remove_stale_files(layout: Layout) -> list[str]:
    """Remove pid files and sockets whose processes are dead; returns their names. Nothing of the stack may run."""
    stale = [layout.supervisor_pid, layout.socket(), layout.provisioned, layout.postgres / "postmaster.pid"]
    removed = [path.name for path in stale if path.exists() or path.is_socket()]
    for path in stale:
        path.unlink(missing_ok=True)
    return removed


def clear(layout: Layout) -> str:
    """Stop and remove what a killed stack left; says what it was, or nothing. Only when supervisord does not answer."""
    found = orphans(layout)
    stop(layout, found)
    stale = remove_stale_files(layout)
    parts = [f"stopped {len(found)} processes of a killed stack"] if found else []
    parts += [f"removed stale {', '.join(stale)}"] if stale else []
    return "; ".join(parts)
