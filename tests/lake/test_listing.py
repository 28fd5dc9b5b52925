"""What the lake's listing tells: objects of the stream and of history, hour by hour, and nothing else."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from include.aws import client
from include.errors import LakeError
from include.events import Window
from include.lake import raw
from include.lake.listing import Piece, RawFile, describe_key, list_raw
from include.settings import Settings

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SHARD = "shardId-000000000003"
LONG = "49671234567890123456789012345678901234567890123456789012"


@pytest.mark.parametrize(
    ("key", "told"),
    [
        (raw.object_key("my-events", SHARD, "1", LONG, NOON), (NOON, Piece("my-events", SHARD, "1", LONG), None, None)),
        (raw.object_key("s", SHARD, "1", "2", NOON, again=7), (NOON, Piece("s", SHARD, "1", "2", 7), None, None)),
        (raw.object_key("history", SHARD, "1", "2", NOON), (NOON, Piece("history", SHARD, "1", "2"), None, None)),
        (
            raw.history_key("binance", "bar", date(2026, 1, 1), "0f-1c", NOON),
            (NOON, None, "binance", "bar"),
        ),
        ("raw/dt=2026-03-02/hh=12/by-hand.jsonl.gz", (NOON, None, None, None)),
        ("raw/dt=2026-02-30/hh=12/by-hand.jsonl.gz", None),
        ("raw/dt=2026-03-02/hh=12/notes.txt", None),
        ("parquet/dt=2026-03-02/x.parquet", None),
    ],
)
def test_a_key_tells_where_its_object_came_from(key: str, told: object) -> None:
    assert describe_key(key) == told


def test_it_was_judged_when_it_was_written_unless_that_is_a_later_copy() -> None:
    def judged(written: datetime) -> datetime:
        return RawFile("k", 1, NOON, written).judged_at(24 * HOUR)

    assert judged(NOON + timedelta(minutes=5)) == NOON + timedelta(minutes=5)
    assert judged(NOON + 20 * HOUR) == NOON + 20 * HOUR  # the stream held it for so long
    assert judged(NOON + 30 * HOUR) == NOON + HOUR  # a copy
    assert judged(NOON - HOUR) == NOON + HOUR


@pytest.mark.stack
def test_the_hours_that_touch_a_window_come_in_their_order(settings: Settings) -> None:
    s3 = client(settings, "s3")
    for hour in (13, 11, 12, 36):
        at = NOON.replace(hour=0) + hour * HOUR
        raw.put_once(s3, settings.bucket, raw.object_key("s", SHARD, "1", "2", at), raw.encode([b"{}\n"]))
    s3.put_object(Bucket=settings.bucket, Key="raw/dt=2026-03-02/hh=12/notes.txt", Body=b"")

    def hours(window: Window | None) -> list[int]:
        return [(file.hour - NOON) // HOUR for file in list_raw(s3, settings.bucket, window)]

    assert hours(None) == [-1, 0, 1, 24]
    assert hours(Window(NOON, NOON + HOUR)) == [0]
    assert hours(Window(NOON + timedelta(minutes=59), NOON + timedelta(minutes=61))) == [0, 1]
    assert hours(Window(NOON + 2 * HOUR, NOON + 48 * HOUR)) == [24]


@pytest.mark.stack
def test_a_lake_that_does_not_answer_is_an_error_of_the_lake(settings: Settings) -> None:
    with pytest.raises(LakeError, match=r"s3://no-such-bucket/raw/dt= cannot be listed"):
        list(list_raw(client(settings, "s3"), "no-such-bucket"))
