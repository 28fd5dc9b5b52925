"""One pass over the shards of a stream: several at a time, parents before children, each its fair share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Final

from include.errors import FencedError, QuantStreamError
from include.pipeline.landing import Landing, Reading
from include.stream.consumer import StreamInfo
from include.warehouse import ranges, resets

_READERS: Final = 4  # shards at a time: each holds some pages of records in memory

ReadShard = Callable[[Landing, StreamInfo, Reading, int], int]


def sweep(work: Landing, stream: StreamInfo, read_shard: ReadShard) -> list[Reading]:
    """Read all shards that are not drained; how far each came, of those that were read.

    `read_shard(work, stream, reading, allowed)` reads one of them on, in a thread, and returns how many events it took;
    all together take `land_max_records`. In each round what is left of that is divided among the shards that have more,
    those with the oldest records first. An error of one shard is kept in its reading and stops no other; one that is no
    QuantStreamError, or says that the lease is lost, stops all and is raised.
    """
    conn = work.lease.conn
    drained = ranges.drained(conn, stream.name, stream.created_at)
    drained -= resets.to_read_again(conn, stream.name, stream.created_at)
    waiting = {shard.shard_id for shard in stream.shards} - drained
    readings = _start(work, stream, waiting)
    left = work.settings.land_max_records
    with ThreadPoolExecutor(_READERS, thread_name_prefix="land") as pool:
        while left > 0 and (
            ready := [one for one in readings if not one.is_over and waiting.isdisjoint(one.shard.parents)]
        ):
            ready.sort(key=lambda one: one.oldest)
            share = -(-left // len(ready))
            jobs: list[Future[int]] = []
            granted = 0
            for reading in ready:
                allowed = min(share, left - granted)
                if allowed:
                    granted += allowed
                    jobs.append(pool.submit(_guarded, read_shard, work, stream, reading, allowed))
            _wait(work, jobs)
            left -= sum(job.result() for job in jobs)
            waiting -= {one.shard.shard_id for one in readings if one.is_closed and one.shard.closed and one.is_over}
    return readings


def _start(work: Landing, stream: StreamInfo, waiting: set[str]) -> list[Reading]:
    """A reading for each shard, with a first note of those of which nothing is known: they count as unread."""
    conn, lease = work.lease.conn, work.lease
    known = ranges.read_until(conn, stream.name)
    readings = []
    for shard in stream.shards:
        if shard.shard_id not in waiting:
            continue
        until = known.get((stream.created_at, shard.shard_id))
        if until is None and waiting.isdisjoint(shard.parents):  # a child is as far as its parent until that is drained
            ranges.note_read(lease, stream.name, stream.created_at, shard.shard_id, stream.created_at)
        readings.append(Reading(shard, until or stream.created_at, stream.retention))
    return readings


def _guarded(read_shard: ReadShard, work: Landing, stream: StreamInfo, reading: Reading, allowed: int) -> int:
    before = reading.events
    try:
        return read_shard(work, stream, reading, allowed)
    except FencedError:
        raise
    except QuantStreamError as error:
        reading.error, reading.is_over, reading.is_caught_up, reading.is_closed = error, True, False, False
        return reading.events - before


def _wait(work: Landing, jobs: Sequence[Future[int]]) -> None:
    """Wait for all threads and keep the lease meanwhile; what stops one stops all."""
    pending = set(jobs)
    try:
        while pending:
            done, pending = wait(pending, timeout=work.lease.seconds / 3, return_when=FIRST_EXCEPTION)
            with work.database:
                work.lease.renew()
            for job in done:
                job.result()
    except BaseException:
        work.stop.set()
        raise
