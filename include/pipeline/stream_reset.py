"""Reading the stream again: a shard's position is set back, and the next landings read on from there.

What is read again goes under new keys and comes into the warehouse as duplicates. A position is only ever set back:
what was not read yet is never left out. Closed shards are read again as well, parents before their children.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import psycopg

from include.aws import client
from include.crashpoints import crash_point
from include.errors import ConfigError, LeaseHeldError
from include.events import iso
from include.pipeline import landing
from include.settings import Settings
from include.stream.consumer import (
    Record,
    RecordsGoneError,
    StreamInfo,
    describe,
    first_record,
    read_batch,
)
from include.warehouse import ranges, resets
from include.warehouse.db import connect
from include.warehouse.leases import Lease, lease
from include.warehouse.outcomes import attempt
from include.warehouse.resets import NOTHING, Read

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient

log = logging.getLogger(__name__)

STEP: Final = "stream_reset"
_MOST_UNREAD: Final = 10_000  # records counted beyond a position
_MOST_BYTES: Final = 64 * 1024 * 1024
_PATIENCE: Final = 60.0  # seconds to wait for a landing to end


@dataclass(frozen=True, slots=True)
class Place:
    """Where to begin: at a sequence number (of one shard), at a time of arrival (UTC), or, with neither, the horizon.

    The horizon is the oldest record that the stream holds.
    """

    sequence: str | None = None
    timestamp: datetime | None = None

    def __str__(self) -> str:
        if self.sequence is not None:
            return f"sequence number {self.sequence}"
        return "the horizon" if self.timestamp is None else f"arrival at {iso(self.timestamp)}"


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """What becomes of one shard. Times are UTC.

    It is read again from `first` (None: it is left as it is, `why` says for what reason) to `read_to`, its position
    until now. `known` is that in records and events, as far as the ledger knows it; `trimmed` is what was landed and
    the stream no longer holds: of that only the lake can tell. `unread` records behind the position are read on the way
    in any case (`is_more`: at least so many).
    """

    shard_id: str
    read_to: str | None
    oldest: Record | None
    first: Record | None = None
    known: Read = NOTHING
    trimmed: Read = NOTHING
    unread: int = 0
    is_more: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class ResetPlan:
    """What a reset would do, or has done, to the shards of a stream."""

    stream: str
    created_at: datetime
    place: Place
    shards: tuple[ShardPlan, ...]

    @property
    def changed(self) -> tuple[ShardPlan, ...]:
        return tuple(one for one in self.shards if one.first is not None)

    def __str__(self) -> str:
        changed = self.changed
        if not changed:
            return f"{self.stream}: no shard was read beyond {self.place}, nothing to do"
        records, events = sum(one.known.records for one in changed), sum(one.known.events for one in changed)
        return (
            f"{self.stream}: {len(changed)} of {len(self.shards)} shards are read again from {self.place}, about "
            f"{records:,} records with {events:,} events"
        )


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """A shard: the sequence number up to which it is read, and until when it was (UTC); records that wait.

    `is_more`: at least so many. `is_set_back`: it was read further before, and is to be read again.
    """

    shard_id: str
    position: str | None
    read_until: datetime | None
    unread: int
    is_more: bool
    is_closed: bool
    is_set_back: bool

    def as_json(self) -> dict[str, object]:
        return {
            "shard": self.shard_id,
            "position": self.position,
            "read_until": None if self.read_until is None else iso(self.read_until),
            "unread": self.unread,
            "is_more": self.is_more,
            "is_closed": self.is_closed,
            "is_set_back": self.is_set_back,
        }


def plan_reset(settings: Settings, place: Place, *, shard_id: str | None = None) -> ResetPlan:
    """What reading again from `place` on would mean, for all shards or one. Changes nothing.

    Raises ConfigError for a place that is not possible, saying what is, and StreamError if the stream cannot be read.
    """
    kinesis = client(settings, "kinesis")
    with connect(settings) as conn:
        return _plan(conn, kinesis, describe(kinesis, settings.stream), place, shard_id)


def reset_stream(
    settings: Settings,
    place: Place,
    *,
    shard_id: str | None = None,
    run_id: str | None = None,
    patience: float = _PATIENCE,
    sleep: Callable[[float], None] = time.sleep,
) -> ResetPlan:
    """Set the positions back, of all shards at once or not at all; what was done.

    A landing that is at work is waited for, so many seconds. The landings after it read from `place` on; watermarks
    stay. Raises like `plan_reset`, and LeaseHeldError if landings go on and on. Doing it twice reads twice.
    """
    kinesis = client(settings, "kinesis")
    with (
        connect(settings) as conn,
        attempt(conn, STEP, run_id=run_id, detail={"place": str(place), "shard": shard_id}) as this,
        _landing_stopped(conn, settings, patience, sleep) as held,
    ):
        with held.kept():
            stream = describe(kinesis, settings.stream)
        plan = _plan(conn, kinesis, stream, place, shard_id, held)
        with conn.transaction():
            for one in plan.changed:
                assert one.first is not None and one.read_to is not None  # noqa: S101  # that is what changed means
                is_horizon = place.sequence is None and place.timestamp is None
                resets.set_back(
                    held, stream=stream.name, created_at=stream.created_at, shard_id=one.shard_id,
                    at_sequence=None if is_horizon else one.first.sequence_number, read_to=one.read_to,
                    asked=str(place),
                )  # fmt: skip
            crash_point("before_reset_commit")
        crash_point("after_reset_commit")
        this.row_count = len(plan.changed)
        this.detail |= {"shards": {one.shard_id: str(one.first and one.first.sequence_number) for one in plan.changed}}
        log.warning("%s", plan)
    return plan


def stream_status(settings: Settings) -> list[ShardStatus]:
    """How far each shard is read, parents first. Raises StreamError if the stream cannot be read."""
    kinesis = client(settings, "kinesis")
    with connect(settings) as conn:
        stream = describe(kinesis, settings.stream)
        known = ranges.read_until(conn, stream.name)
        found = []
        for shard in stream.shards:
            after, at = ranges.start(conn, stream.name, stream.created_at, shard.shard_id)
            unread, is_more = _unread(kinesis, stream, shard.shard_id, after, at)
            was_read = after or resets.was_read_to(conn, stream.name, stream.created_at, shard.shard_id)
            until = known.get((stream.created_at, shard.shard_id))
            found.append(
                ShardStatus(
                    shard.shard_id, after, until, unread, is_more, shard.closed, after is None and was_read is not None
                )
            )
    return found


@contextmanager
def _landing_stopped(
    conn: psycopg.Connection, settings: Settings, patience: float, sleep: Callable[[float], None]
) -> Iterator[Lease]:
    """Hold the landing's lease, as soon as it is free."""
    left = patience
    while True:
        try:
            context = lease(conn, landing.STEP, seconds=settings.lease_seconds)
            held = context.__enter__()
            break
        except LeaseHeldError:
            if left <= 0:
                raise
            sleep(0.2)
            left -= 0.2
    try:
        yield held
    finally:
        context.__exit__(None, None, None)


def _plan(
    conn: psycopg.Connection,
    kinesis: KinesisClient,
    stream: StreamInfo,
    place: Place,
    shard_id: str | None,
    held: Lease | None = None,
) -> ResetPlan:
    chosen = [one.shard_id for one in stream.shards if shard_id in (None, one.shard_id)]
    _check(stream, place, shard_id, chosen)
    plans = []
    for one in chosen:
        plans.append(_plan_shard(conn, kinesis, stream, one, place))
        if held is not None:
            held.renew()
    return ResetPlan(stream.name, stream.created_at, place, tuple(plans))


def _check(stream: StreamInfo, place: Place, shard_id: str | None, chosen: list[str]) -> None:
    """Raise ConfigError where a place cannot be one of this stream at all."""
    names = ", ".join(one.shard_id for one in stream.shards)
    if not chosen:
        raise ConfigError(f"{stream.name} has no shard {shard_id}; it has {names}")
    if place.sequence is not None:
        if not place.sequence.isdecimal():
            raise ConfigError(f"{place.sequence!r} is no sequence number: those are digits")
        if shard_id is None and len(chosen) > 1:
            raise ConfigError(f"a sequence number belongs to one shard: say which with --shard; there are {names}")
    if place.timestamp is None:
        return
    now = datetime.now(UTC)
    horizon = max(stream.created_at, now - stream.retention)
    if place.timestamp > now:
        raise ConfigError(f"{iso(place.timestamp)} lies in the future; it is {iso(now)}")
    if place.timestamp < horizon:
        raise ConfigError(
            f"{stream.name} holds nothing from {iso(place.timestamp)}: it keeps records for {stream.retention}, so "
            f"from {iso(horizon)} on. Take a later time or --horizon; what is older is read from the lake: "
            "quantstream replay"
        )


def _plan_shard(
    conn: psycopg.Connection, kinesis: KinesisClient, stream: StreamInfo, shard_id: str, place: Place
) -> ShardPlan:
    after, at = ranges.start(conn, stream.name, stream.created_at, shard_id)
    oldest = first_record(kinesis, stream.name, shard_id)
    first = _first(kinesis, stream, shard_id, place, oldest)
    unread, is_more = _unread(kinesis, stream, shard_id, after, at)
    read_to = after or resets.was_read_to(conn, stream.name, stream.created_at, shard_id)
    if read_to is None:
        return ShardPlan(shard_id, None, oldest, unread=unread, is_more=is_more, why="nothing of it was read yet")
    trimmed = resets.read_between(
        conn, stream.name, stream.created_at, shard_id, "0", oldest.sequence_number if oldest else read_to
    )
    plan = ShardPlan(shard_id, read_to, oldest, trimmed=trimmed, unread=unread, is_more=is_more)
    if after is None and (at is None or first is None or int(first.sequence_number) >= int(at)):
        return replace(plan, why="it is set back so far already, and not read on since")
    if first is None or int(first.sequence_number) > int(read_to):
        if place.sequence is not None:
            raise ConfigError(
                f"{stream.name}/{shard_id} is read up to {read_to} only; a position is set back, never forward: what "
                "lies between would be left out"
            )
        return replace(plan, why="nothing of it that was read lies behind that place")
    beyond = str(int(read_to) + 1)
    known = resets.read_between(conn, stream.name, stream.created_at, shard_id, first.sequence_number, beyond)
    return replace(plan, first=first, known=known)


def _first(
    kinesis: KinesisClient, stream: StreamInfo, shard_id: str, place: Place, oldest: Record | None
) -> Record | None:
    """The first record from that place on; raises ConfigError for a number that is not one of the shard's records."""
    if place.timestamp is not None:
        return first_record(kinesis, stream.name, shard_id, since=place.timestamp)
    if place.sequence is None or oldest is None:
        return oldest
    where = f"{stream.name}/{shard_id}"
    possible = f"the oldest one that it holds is {oldest.sequence_number}, arrived at {iso(oldest.arrived_at)}"
    if int(place.sequence) < int(oldest.sequence_number):
        raise ConfigError(
            f"{where} no longer holds {place.sequence}: {possible}. Take that one or --horizon; what is older is read "
            "from the lake: quantstream replay"
        )
    try:
        found = first_record(kinesis, stream.name, shard_id, at=place.sequence)
    except RecordsGoneError as error:
        raise ConfigError(f"{place.sequence} is no number of {where}: {error}; {possible}") from None
    if found is None or int(found.sequence_number) != int(place.sequence):
        next_one = f"the next one is {found.sequence_number}" if found else "nothing lies behind it"
        raise ConfigError(f"no record of {where} has the number {place.sequence}; {next_one}; {possible}")
    return found


def _unread(
    kinesis: KinesisClient, stream: StreamInfo, shard_id: str, after: str | None, at: str | None
) -> tuple[int, bool]:
    batch = read_batch(kinesis, stream.name, shard_id, after, _MOST_UNREAD, _MOST_BYTES, at=at)
    return len(batch.records), not batch.caught_up
