"""What the stream let go of before it was landed: said everywhere, once, never in silence."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime

from include.alerts import Alert, Severity
from include.events import iso
from include.pipeline.landing import STEP, Landing
from include.stream.consumer import StreamInfo
from include.warehouse import ranges
from include.warehouse.alerts import insert_alerts
from include.warehouse.outcomes import record
from include.warehouse.ranges import StreamRange

log = logging.getLogger(__name__)


def lose(work: Landing, intended: StreamRange, why: str) -> None:
    """Give a range up: its state, an outcome, an operations alert, and a line for the error at the end."""
    said = f"{intended} can no longer be read and has no object in the lake: {why}"
    log.error(said)
    with work.lease.conn.transaction():
        ranges.mark_lost(work.lease, intended)
        _report(work, said, "critical", f"range {intended.range_id}", {"lost": str(intended)})
    work.counts["lost"] += intended.record_count
    work.losses.append(said)


def notice_another_stream(work: Landing, stream: StreamInfo) -> None:
    """A stream of this name that was made at another time is read from its beginning; say so, once."""
    known = ranges.read_until(work.lease.conn, stream.name)
    made = {created_at for created_at, _ in known}
    if not made or stream.created_at in made:
        return
    read_until = max(until for (created_at, _), until in known.items() if created_at == max(made))
    said = (
        f"the stream {stream.name} was made again at {iso(stream.created_at)} (before: {iso(max(made))}) and is read "
        f"from its beginning; what arrived in the old one after {iso(read_until)} was not landed"
    )
    log.warning(said)
    with work.lease.conn.transaction():
        for shard in stream.shards:
            ranges.note_read(work.lease, stream.name, stream.created_at, shard.shard_id, stream.created_at)
        _report(work, said, "warning", f"stream {iso(stream.created_at)}", {"read_until": iso(read_until)})


def notice_shards_that_are_gone(work: Landing, stream: StreamInfo) -> None:
    """A closed shard that was not read to its end and is no longer there has lost what was left of it; say so, once."""
    conn = work.lease.conn
    over = ranges.drained(conn, stream.name, stream.created_at) | {shard.shard_id for shard in stream.shards}
    for (created_at, shard_id), until in ranges.read_until(conn, stream.name).items():
        if created_at != stream.created_at or shard_id in over:
            continue
        where = f"{stream.name}/{shard_id}"
        said = f"{where} is closed and gone, and was not read from {iso(until)} on; what arrived later is gone"
        log.warning(said)
        with conn.transaction():
            children = [shard.shard_id for shard in stream.shards if shard_id in shard.parents]
            ranges.note_drained(work.lease, stream.name, stream.created_at, shard_id, children)
            _report(work, said, "warning", f"{where} {iso(until)}", {"from": iso(until)})


def say_trimmed(work: Landing, stream: StreamInfo, shard_id: str, since: datetime, horizon: datetime) -> None:
    """What arrived in a shard between these times (UTC) was not read while the stream still kept it.

    `work.database` is held by the caller.
    """
    where = f"{stream.name}/{shard_id}"
    said = (
        f"{where} was not read from {iso(since)} on, longer than it keeps records ({stream.retention}); "
        f"what arrived before {iso(horizon)} is gone, if anything did"
    )
    log.warning(said)
    with work.lease.conn.transaction():
        ranges.note_read(work.lease, stream.name, stream.created_at, shard_id, horizon)
        _report(work, said, "warning", f"{where} {iso(since)}", {"from": iso(since), "until": iso(horizon)})


def _report(work: Landing, said: str, severity: Severity, what: str, detail: Mapping[str, str]) -> None:
    """An outcome and an operations alert, in the caller's transaction."""
    record(work.lease.conn, STEP, False, run_id=work.run_id, error=said, detail=dict(detail))
    insert_alerts(work.lease.conn, [Alert("stream_loss", "operations", severity, said, discriminator=what)])
