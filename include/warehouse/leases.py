"""Leases: one holder of a step at a time, and a late zombie's writes are refused.

Airflow may run a task twice at once. Whoever moves a checkpoint or a load's state holds a lease with an epoch; every
such write asks `fence` in its own transaction. A lease is free when it was given back, when its holder's database
session is gone (killed processes free it at once), or when it was silent for `seconds` (a frozen process).
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psycopg

from include.errors import FencedError, LeaseHeldError

_ACQUIRE = """
insert into ops.leases as l (name, epoch, holder, backend_pid, backend_start, expires_at)
select %(name)s, 1, %(holder)s, a.pid, a.backend_start, clock_timestamp() + make_interval(secs => %(seconds)s)
from pg_stat_activity as a where a.pid = pg_backend_pid()
on conflict (name) do update set
    epoch = l.epoch + 1, holder = excluded.holder, backend_pid = excluded.backend_pid,
    backend_start = excluded.backend_start, expires_at = excluded.expires_at, acquired_at = clock_timestamp()
where l.expires_at <= clock_timestamp()
   or not exists (
       select 1 from pg_stat_activity as a where a.pid = l.backend_pid and a.backend_start = l.backend_start
   )
returning epoch
"""

_HOLDER = "select holder, acquired_at, expires_at from ops.leases where name = %s and expires_at > clock_timestamp()"


@dataclass(frozen=True, slots=True)
class Lease:
    """A held lease. `conn` is the session it is bound to."""

    conn: psycopg.Connection
    name: str
    epoch: int
    seconds: int

    def fence(self) -> None:
        """Lock the lease row until the transaction ends; raise FencedError if another process took it meanwhile."""
        row = self.conn.execute("select epoch from ops.leases where name = %s for share", [self.name]).fetchone()
        if row is None or row[0] != self.epoch:
            now = "nobody" if row is None else f"epoch {row[0]}"
            raise FencedError(
                f"the step {self.name} was taken over ({now} holds it, this process has epoch {self.epoch}); "
                "nothing was written, the other process goes on"
            )

    def renew(self) -> None:
        """Say that this process is alive. Raises FencedError if it is too late."""
        done = self.conn.execute(
            "update ops.leases set expires_at = clock_timestamp() + make_interval(secs => %s) "
            "where name = %s and epoch = %s",
            [self.seconds, self.name, self.epoch],
        )
        if done.rowcount != 1:
            self.fence()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Renew from a thread while the block works for long and leaves `conn` alone.

        A renewal that is refused ends the thread; `fence`, in the transaction that writes, is what refuses the work.
        """
        done = threading.Event()

        def renew() -> None:
            with suppress(FencedError, psycopg.Error):
                while not done.wait(self.seconds / 3):
                    self.renew()

        thread = threading.Thread(target=renew, name=f"lease-{self.name}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


@contextmanager
def lease(conn: psycopg.Connection, name: str, *, seconds: int) -> Iterator[Lease]:
    """Hold the lease `name` for the block. Raises LeaseHeldError, naming the holder, if another process has it."""
    holder = f"{socket.gethostname()}:{os.getpid()}"
    acquire = {"name": name, "holder": holder, "seconds": seconds}
    while (row := conn.execute(_ACQUIRE, acquire).fetchone()) is None:
        other = conn.execute(_HOLDER, [name]).fetchone()
        if other is None:
            continue  # given back between the two statements: it is free now
        who, since, until = other
        raise LeaseHeldError(
            f"the step {name} runs already ({who} since {since}, at the latest until {until}); "
            "this one stops, nothing was done"
        )
    held = Lease(conn, name, row[0], seconds)
    try:
        yield held
    finally:
        if not conn.closed and conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            conn.execute(
                "update ops.leases set expires_at = '-infinity' where name = %s and epoch = %s", [name, held.epoch]
            )
