"""The same records give the same bytes; an object is written once; what is damaged is said, not read."""

from __future__ import annotations

import base64
import gzip
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.aws import client
from include.errors import LakeConflictError, LakeError
from include.lake import raw
from include.settings import Settings
from tests.faults.proxy import Answer, Change, Cut, LoseAnswer, Response, aws_faults
from tests.stream.helpers import single_shot

NOON = datetime(2026, 1, 2, 12, 0, 0, 5000, tzinfo=UTC)
STAMP = b'"sequence_number":"7","arrived_at":"2026-01-02T12:00:00.005000Z"}\n'
KEY = "raw/dt=2026-01-02/hh=12/s-0-7-7.jsonl.gz"


def test_a_key_tells_the_hour_the_shard_and_the_range() -> None:
    tokyo = NOON.astimezone(timezone(timedelta(hours=9)))
    assert raw.object_key("s", "shardId-0", "7", "9", tokyo) == "raw/dt=2026-01-02/hh=12/s-shardId-0-7-9.jsonl.gz"


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b'{"price":1.10}', b'{"price":1.10,' + STAMP),
        (
            b'{"price": 1e2,\r\n "x": 12345678901234567890123}\n',
            b'{"price": 1e2,   "x": 12345678901234567890123,' + STAMP,
        ),
        (b"{}", b"{" + STAMP),
        (b" { } ", b" { " + STAMP),
        (b"[1]", b'{"raw_base64":"WzFd",' + STAMP),
        (b'{"cut', b'{"raw_base64":"eyJjdXQ=",' + STAMP),
        (b'{"price":NaN}', b'{"raw_base64":"eyJwcmljZSI6TmFOfQ==",' + STAMP),
        (b"", b'{"raw_base64":"",' + STAMP),
    ],
    ids=["as it is", "on one line", "empty", "white space", "a list", "cut off", "not a number", "nothing"],
)
def test_a_line_is_the_record_with_its_place_in_the_stream(data: bytes, line: bytes) -> None:
    assert raw.line(data, "7", NOON) == line


@given(
    st.one_of(
        st.binary(), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps).map(str.encode)
    )
)
def test_any_bytes_are_one_line_of_json_and_come_back(data: bytes) -> None:
    line = raw.line(data, "7", NOON)
    assert line.count(b"\n") == 1
    assert base64.b64decode(json.loads(line)["raw_base64"]) == data


def test_the_same_lines_are_the_same_bytes_without_time_or_name() -> None:
    body = raw.encode([b"a\n", b"b\n"])
    assert body == raw.encode([b"a\n", b"b\n"])
    assert gzip.decompress(body) == b"a\nb\n"
    assert body[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"


def test_an_object_is_written_and_read_with_its_line_numbers(settings: Settings) -> None:
    s3 = client(settings, "s3")
    stored = raw.put_once(s3, settings.bucket, KEY, raw.encode([b"a\n", b"b\n"]))
    assert stored.outcome == "created"
    assert list(raw.read_lines(s3, settings.bucket, KEY, sha256=stored.sha256)) == [(1, b"a"), (2, b"b")]
    assert raw.find(s3, settings.bucket, KEY) == stored.sha256


def test_writing_it_again_is_success(settings: Settings) -> None:
    s3 = client(settings, "s3")
    first = raw.put_once(s3, settings.bucket, KEY, raw.encode([b"a\n"]))
    again = raw.put_once(s3, settings.bucket, KEY, raw.encode([b"a\n"]))
    assert (again.outcome, again.sha256) == ("same", first.sha256)


def test_the_same_lines_packed_by_another_zlib_are_the_same(settings: Settings) -> None:
    s3 = client(settings, "s3")
    other = gzip.compress(b"a\n" * 1000, compresslevel=1, mtime=0)
    first = raw.put_once(s3, settings.bucket, KEY, other)
    again = raw.put_once(s3, settings.bucket, KEY, raw.encode([b"a\n"] * 1000))
    assert (again.outcome, again.sha256) == ("same", first.sha256)


def test_other_content_under_the_key_stops_and_is_not_overwritten(settings: Settings) -> None:
    s3 = client(settings, "s3")
    raw.put_once(s3, settings.bucket, KEY, raw.encode([b"a\n"]))
    with pytest.raises(LakeConflictError, match=f"{KEY} holds other content .* nothing was overwritten"):
        raw.put_once(s3, settings.bucket, KEY, raw.encode([b"b\n"]))
    assert list(raw.read_lines(s3, settings.bucket, KEY)) == [(1, b"a")]


def test_a_lost_answer_is_found_to_have_been_written(settings: Settings) -> None:
    with aws_faults(settings) as (proxy, behind):
        proxy.add(LoseAnswer(), method="PUT")
        stored = raw.put_once(client(behind, "s3"), settings.bucket, KEY, raw.encode([b"a\n"]))
        assert [seen.upstream_status for seen in proxy.seen if seen.request.method == "PUT"] == [200, 412]
    assert stored.outcome == "same"


def test_another_writer_at_the_same_moment_is_waited_out(settings: Settings) -> None:
    conflict = b"<Error><Code>ConditionalRequestConflict</Code><Message>busy</Message></Error>"
    with aws_faults(settings) as (proxy, behind):
        proxy.add(Answer(409, conflict, {"Content-Type": "application/xml"}), method="PUT")
        assert raw.put_once(client(behind, "s3"), settings.bucket, KEY, b"x").outcome == "created"


@pytest.mark.parametrize("status", [500, 503])
def test_a_lake_that_is_busy_is_asked_again_and_one_that_is_down_is_an_error(settings: Settings, status: int) -> None:
    with aws_faults(settings) as (proxy, behind):
        proxy.add(Answer(status), method="PUT")
        assert raw.put_once(client(behind, "s3"), settings.bucket, KEY, b"x").outcome == "created"
        proxy.add(Answer(status), method="PUT", times=None)
        with pytest.raises(LakeError, match=f"{KEY} could not be written"):
            raw.put_once(single_shot(behind, "s3"), settings.bucket, KEY, b"x")


def test_a_body_cut_off_on_its_way_is_fetched_again(settings: Settings) -> None:
    s3 = client(settings, "s3")
    raw.put_once(s3, settings.bucket, KEY, raw.encode([b"a\n"]))
    with aws_faults(settings) as (proxy, behind):
        proxy.add(Cut(0.5), method="GET", times=2)
        assert list(raw.read_lines(client(behind, "s3"), settings.bucket, KEY)) == [(1, b"a")]


def test_a_flipped_byte_is_found(settings: Settings) -> None:
    s3 = client(settings, "s3")
    raw.put_once(s3, settings.bucket, KEY, raw.encode([b"a\n"]))

    def flip(answer: Response) -> Response:
        return Response(answer.status, answer.body[:-1] + b"\x77", answer.headers)

    with aws_faults(settings) as (proxy, behind):
        proxy.add(Change(flip), method="GET", times=None)
        with pytest.raises(LakeError, match=f"{KEY} is not what was written"):
            list(raw.read_lines(client(behind, "s3"), settings.bucket, KEY))


@pytest.mark.parametrize("body", [raw.encode([b"a\n"])[:-3], b"", b"plain text"], ids=["truncated", "empty", "plain"])
def test_what_is_no_whole_gzip_file_is_an_error_with_the_remedy(settings: Settings, body: bytes) -> None:
    s3 = client(settings, "s3")
    s3.put_object(Bucket=settings.bucket, Key=KEY, Body=body)
    with pytest.raises(LakeError, match=f"{KEY} is no whole gzip file .* restore it"):
        list(raw.read_lines(s3, settings.bucket, KEY))


def test_an_object_changed_behind_our_back_is_an_error(settings: Settings) -> None:
    s3 = client(settings, "s3")
    stored = raw.put_once(s3, settings.bucket, KEY, raw.encode([b"a\n"]))
    s3.put_object(Bucket=settings.bucket, Key=KEY, Body=raw.encode([b"b\n"]))
    with pytest.raises(LakeError, match=f"{KEY} is not what was written: its SHA-256 is"):
        list(raw.read_lines(s3, settings.bucket, KEY, sha256=stored.sha256))


def test_a_missing_object_is_an_error_and_not_found(settings: Settings) -> None:
    s3 = client(settings, "s3")
    assert raw.find(s3, settings.bucket, KEY) is None
    with pytest.raises(LakeError, match=f"{KEY} does not exist"):
        list(raw.read_lines(s3, settings.bucket, KEY))
