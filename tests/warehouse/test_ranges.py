"""Where a shard was read to, and who may say so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.errors import FencedError, LakeConflictError
from include.settings import Settings
from include.warehouse import ranges
from include.warehouse.db import connect
from include.warehouse.leases import Lease, lease

MADE = datetime(2026, 1, 1, tzinfo=UTC)
NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


@pytest.fixture
def held(settings: Settings) -> Iterator[Lease]:
    with connect(settings) as conn, lease(conn, "land", seconds=60) as held:
        yield held


def intend(held: Lease, first: str, last: str, **more: Any) -> ranges.StreamRange:
    fields: dict[str, Any] = {
        "stream": "s", "stream_created_at": MADE, "shard_id": "0", "from_sequence": first, "to_sequence": last,
        "record_count": 2, "arrived_at": NOON, "s3_key": f"raw/{first}-{last}",
    }  # fmt: skip
    return ranges.intend(held, **(fields | more))


def position(held: Lease, made: datetime = MADE, shard: str = "0") -> str | None:
    return ranges.position(held.conn, "s", made, shard)


def finish(held: Lease, one: ranges.StreamRange) -> None:
    ranges.mark_landed(held, one, "abc")
    with held.conn.transaction():
        ranges.mark_loaded(held, one, NOON)


def checkpoint(held: Lease) -> list[tuple[object, ...]]:
    return held.conn.execute(
        "select stream, stream_created_at, shard_id, sequence_number from ops.checkpoints"
    ).fetchall()


def test_a_shard_that_was_never_read_has_no_position(held: Lease) -> None:
    assert position(held) is None


def test_a_range_goes_from_intended_to_landed_to_loaded_and_the_checkpoint_follows(held: Lease) -> None:
    one = intend(held, "8", "10")
    assert (one.state, one.sha256, str(one)) == ("intended", None, "s/0 8..10 (2 records)")
    assert ranges.in_state(held.conn, "intended") == [one]
    ranges.mark_landed(held, one, "abc")
    (landed,) = ranges.in_state(held.conn, "landed")
    assert (landed.range_id, landed.sha256) == (one.range_id, "abc")
    assert checkpoint(held) == []
    with held.conn.transaction():
        ranges.mark_loaded(held, landed, NOON)
    assert checkpoint(held) == [("s", MADE, "0", "10")]
    assert ranges.in_state(held.conn, "landed") == []


def test_reading_goes_on_behind_ranges_that_are_not_loaded_yet(held: Lease) -> None:
    finish(held, intend(held, "1", "8"))
    intend(held, "9", "10")  # as text "9" > "10"
    assert position(held) == "10"


def test_the_checkpoint_tells_the_position_where_ranges_were_cleaned_away(held: Lease) -> None:
    finish(held, intend(held, "1", "8"))
    held.conn.execute("delete from ops.stream_ranges")
    assert position(held) == "8"


def test_a_lost_checkpoint_makes_no_gap_and_no_repetition(held: Lease) -> None:
    finish(held, intend(held, "1", "8"))
    held.conn.execute("delete from ops.checkpoints")
    assert position(held) == "8"


def test_another_shard_and_a_stream_made_again_have_positions_of_their_own(held: Lease) -> None:
    intend(held, "1", "8")
    assert position(held, shard="1") is None
    assert position(held, made=MADE + timedelta(days=1)) is None


def test_the_checkpoint_never_goes_back(held: Lease) -> None:
    early, late = intend(held, "8", "9"), intend(held, "10", "11")
    finish(held, late)
    finish(held, early)
    assert checkpoint(held) == [("s", MADE, "0", "11")]


def test_a_lost_range_does_not_count_and_what_is_left_of_it_is_read(held: Lease) -> None:
    finish(held, intend(held, "1", "8"))
    lost = intend(held, "9", "12")
    with held.conn.transaction():
        ranges.mark_lost(held, lost)
    assert position(held) == "8"
    assert intend(held, "11", "12").range_id > lost.range_id


def test_a_lost_range_that_came_back_whole_is_intended_again(held: Lease) -> None:
    lost = intend(held, "9", "12")
    with held.conn.transaction():
        ranges.mark_lost(held, lost)
    assert intend(held, "9", "12") == lost


def test_a_key_belongs_to_one_range(held: Lease) -> None:
    intend(held, "1", "2")
    with pytest.raises(LakeConflictError, match="the key raw/1-2 belongs to a range that was read before"):
        intend(held, "1", "2", stream_created_at=MADE + timedelta(days=1))


def test_what_was_read_only_moves_forward(held: Lease) -> None:
    for until in (NOON, NOON + timedelta(minutes=1), NOON - timedelta(minutes=1)):
        ranges.note_read(held, "s", MADE, "0", until)
    assert ranges.read_until(held.conn, "s") == {(MADE, "0"): NOON + timedelta(minutes=1)}


def test_whoever_lost_the_lease_writes_nothing(held: Lease, settings: Settings) -> None:
    one = intend(held, "1", "2")
    held.conn.execute("update ops.leases set expires_at = clock_timestamp()")
    writes = [
        lambda: intend(held, "3", "4"),
        lambda: ranges.mark_landed(held, one, "abc"),
        lambda: ranges.mark_lost(held, one),
        lambda: ranges.mark_loaded(held, one, NOON),
        lambda: ranges.note_read(held, "s", MADE, "0", NOON),
    ]
    with connect(settings) as conn, lease(conn, "land", seconds=60):
        for write in writes:
            with pytest.raises(FencedError):
                write()
        assert ranges.in_state(conn, "intended") == [one]
        assert ranges.read_until(conn, "s") == {}
