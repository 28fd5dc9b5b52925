"""Lines in, rows out: every line is an event or lies in quarantine with its reason and its bytes."""

from __future__ import annotations

import base64
import gzip
import json
import re
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from include.settings import Settings
from include.warehouse import loader
from include.warehouse.db import connect
from include.warehouse.lines import Reject, parse

NOON = "2026-01-02T12:00:00.000000Z"
STAMP = {"sequence_number": "7", "arrived_at": "2026-01-02T12:00:01.500000Z"}


def line(symbol: str = "AAPL", payload: Any = None, **more: Any) -> bytes:
    """A line of a raw object."""
    envelope = {
        "source": "simulator", "kind": "quote", "symbol": symbol, "event_time": NOON, "vendor_id": "",
        "received_at": NOON, "complete_until": None, "payload": {"price": 1.5} if payload is None else payload,
    }  # fmt: skip
    return json.dumps(envelope | STAMP | more).encode()


def unreadable(data: bytes) -> bytes:
    return json.dumps({"raw_base64": base64.b64encode(data).decode(), **STAMP}).encode()


def store(settings: Settings, *lines: bytes, origin: str = "raw/x") -> loader.Loaded:
    with connect(settings) as conn, conn.transaction():
        return loader.store(conn, enumerate(lines, 1), origin=origin, is_live=True)


def rows(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    with connect(settings) as conn:
        return conn.execute(query).fetchall()


def test_good_lines_become_events_and_bad_ones_lie_in_quarantine(settings: Settings) -> None:
    loaded = store(settings, line("AAPL", {"b": 2, "a": 1}), b'{"cut', line("MSFT", kind="tick"), line("MSFT"))
    assert (loaded.events, loaded.quarantined, loaded.is_new) == (2, 2, True)
    assert rows(settings, "select line_number, source, kind, symbol, payload, load_id from raw.landed_events") == [
        (1, "simulator", "quote", "AAPL", {"a": 1, "b": 2}, loaded.load_id),
        (4, "simulator", "quote", "MSFT", {"price": 1.5}, loaded.load_id),
    ]
    noon = datetime(2026, 1, 2, 12, tzinfo=UTC)
    assert rows(
        settings, "select origin, line_number, symbol, event_time, reason, raw from raw.rejected_events order by 2"
    ) == [
        ("raw/x", 2, None, None, "JSONDecodeError: unexpected end of data: line 1 column 6 (char 5)", b'{"cut'),
        (
            "raw/x",
            3,
            "MSFT",
            noon,
            "kind is 'tick'; it must be one of quote, trade, bar, action",
            line("MSFT", kind="tick"),
        ),
    ]
    assert rows(settings, "select origin, state, is_live, read_count, quarantined_count from ops.loads") == [
        ("raw/x", "landed", True, 4, 2)
    ]


def test_an_origin_is_loaded_once(settings: Settings) -> None:
    first = store(settings, line(), b"bad")
    again = store(settings, line(), b"bad")
    assert again == loader.Loaded(first.load_id, events=1, quarantined=1, is_new=False)
    assert rows(settings, "select count(*) from raw.landed_events") == [(1,)]


def test_an_object_without_lines_is_a_load_without_rows(settings: Settings) -> None:
    assert store(settings).events == 0
    assert rows(settings, "select read_count, quarantined_count from ops.loads") == [(0, 0)]


def test_a_load_is_complete_until_the_latest_time_each_of_its_sources_says(settings: Settings) -> None:
    times = [("a", 1), ("a", 3), ("a", 2), ("b", 1), ("c", None)]
    lines = [
        line(source=source, complete_until=minute and f"2026-01-02T12:0{minute}:00+00:00") for source, minute in times
    ]
    store(settings, *lines, line(source="b", complete_until="2026-01-02T13:00:00+00:00", payload=[]))
    assert rows(settings, "select complete_until from ops.loads") == [
        ({"a": "2026-01-02T12:03:00.000000Z", "b": "2026-01-02T12:01:00.000000Z"},)
    ]


def test_a_load_knows_when_its_first_and_its_last_event_happened(settings: Settings) -> None:
    at = [f"2026-01-0{day}T00:00:00Z" for day in (2, 1, 3, 9)]
    bad = line(event_time=at[3], payload=[])
    store(settings, *[line(event_time=time) for time in at[:3]], bad)
    store(settings, bad, origin="raw/none of it is an event")
    assert rows(settings, "select first_event_at, last_event_at from ops.loads order by load_id") == [
        (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC)), (None, None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (line(payload={"note": "a\x00b"}), "payload holds a NUL character; Postgres cannot store it"),
        (line(payload={"a\x00": 1}), "payload holds a NUL character; Postgres cannot store it"),
        (line(payload={"note": "\ud800"}), "JSONDecodeError: "),
        (line(payload={"price": float("nan")}), "JSONDecodeError: "),
        (line().replace(b"1.5", b"1e400"), "JSONDecodeError: number is infinity"),
        (line().replace(b"1.5", b"[" * 300 + b"]" * 300), "payload cannot be written as JSON: Recursion limit reached"),
        (line().replace(b"1.5", b"[" * 10_000 + b"]" * 10_000), "JSONDecodeError: depth limit exceeded"),
        (line(event_time="0001-01-01T00:00:00+14:00"), "event_time is .* outside the years 1 to 9999"),
        (b"\xff\xfe", "JSONDecodeError: "),
        (b"[1]", "not a JSON object but list"),
        (b"", "JSONDecodeError: "),
        (line(symbol="A" * 101), "symbol is 'AAA"),
        (line(symbol="A\x00"), "symbol is 'A"),
    ],
    ids=[
        "NUL", "NUL in a name", "half a surrogate pair", "NaN", "infinite", "nested 300 deep", "nested 10000 deep",
        "before year 1", "no UTF-8", "a list", "empty", "a long symbol", "NUL in the symbol",
    ],
)  # fmt: skip
def test_poison_goes_to_quarantine_and_its_neighbours_are_loaded(settings: Settings, bad: bytes, reason: str) -> None:
    loaded = store(settings, line("A"), bad, line("B"))
    assert (loaded.events, loaded.quarantined) == (2, 1)
    (found,) = rows(settings, "select line_number, reason, raw from raw.rejected_events")
    assert (found[0], found[2]) == (2, bad)
    assert re.match(reason, found[1]), found[1]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{cut", "no JSON: "),
        (b"\xef\xbb\xbf{}", "no JSON: UTF-8 byte order mark"),
        (b'"text"', "not a JSON object but str"),
        (b"\xf3\x89\x9a\xc2\x0a\x01A", "a record aggregated by the Kinesis Producer Library"),
        (b"\x00\x01", "no JSON: "),
        (gzip.compress(b'{"aggregate":"quantstream/1"')[:-9], "an aggregated record that cannot be taken apart: Compr"),
        (gzip.compress(b"x")[:-1] + b"\x99", "an aggregated record that cannot be taken apart: Incorrect length"),
        (
            gzip.compress(b'{"aggregate":"quantstream/1","count":2}\n{}'),
            'an aggregated record that cannot be taken apart: its lines are not those that its header b\'{"aggregate":',
        ),
    ],
    ids=["cut off", "BOM", "no object", "KPL", "binary", "an aggregate cut off", "one damaged", "one that miscounts"],
)
def test_a_record_that_is_no_json_object_is_kept_as_its_bytes(data: bytes, reason: str) -> None:
    reject, _ = parse(1, unreadable(data))
    assert isinstance(reject, Reject)
    assert reject.raw == data
    assert reject.reason.startswith(reason)


def test_an_event_of_an_aggregate_that_is_no_json_is_kept_as_its_bytes_too() -> None:
    reject, _ = parse(1, unreadable(b"{cut").replace(b'"arrived_at"', b'"sub_sequence": 3, "arrived_at"'))
    assert isinstance(reject, Reject)
    assert reject.raw == b"{cut"


def test_a_literal_backslash_u0000_is_no_nul(settings: Settings) -> None:
    store(settings, line(payload={"note": "\\u0000"}))
    assert rows(settings, "select payload ->> 'note' from raw.landed_events") == [("\\u0000",)]


def test_numbers_come_through_as_sent_within_64_bits(settings: Settings) -> None:
    numbers = b'{"a": 1e308, "b": -0.0, "c": 9223372036854775808, "d": 123456789012345678901234567890, "e": 0.1}'
    store(settings, line().replace(b'{"price": 1.5}', numbers))
    assert rows(
        settings, "select payload ->> 'c', payload ->> 'e', (payload ->> 'd')::float8 from raw.landed_events"
    ) == [("9223372036854775808", "0.1", 1.2345678901234568e29)]


def test_a_row_that_postgres_refuses_is_found_among_the_others(settings: Settings) -> None:
    with connect(settings, role="owner") as conn:
        conn.execute("alter table raw.landed_events add constraint no_poison check (symbol not like 'POISON%')")
    symbols = ["A", "B", "POISON1", "C", "D", "POISON2", "E"]
    loaded = store(settings, *[line(symbol) for symbol in symbols])
    assert (loaded.events, loaded.quarantined) == (5, 2)
    assert rows(settings, "select string_agg(symbol, '' order by line_number) from raw.landed_events") == [("ABCDE",)]
    found = rows(settings, "select line_number, symbol, reason, raw from raw.rejected_events order by 1")
    assert [(one[0], one[1], one[3]) for one in found] == [
        (3, "POISON1", line("POISON1")), (6, "POISON2", line("POISON2")),
    ]  # fmt: skip
    assert found[0][2].startswith("refused by the warehouse: new row for relation")


def test_trouble_of_the_server_is_no_fault_of_the_rows(settings: Settings) -> None:
    with connect(settings, role="owner") as conn:
        conn.execute("alter table raw.landed_events rename to elsewhere")
    with pytest.raises(psycopg.errors.UndefinedTable):
        store(settings, line())
    assert rows(settings, "select count(*) from ops.loads") == [(0,)]


def test_equal_payloads_have_equal_hashes_whatever_the_order_of_their_names(settings: Settings) -> None:
    store(
        settings, line(payload={"a": 1, "b": {"c": 1, "d": 2}}), line(payload={"b": {"d": 2, "c": 1}, "a": 1}), line()
    )
    assert rows(settings, "select count(distinct payload_hash), count(*) from raw.landed_events") == [(2, 3)]


def test_a_quarantined_line_stays_as_it_is_when_its_load_was_forgotten_and_comes_again(settings: Settings) -> None:
    first = store(settings, line(), b"bad")
    with connect(settings) as conn:
        conn.execute("delete from ops.loads")
        conn.execute("delete from raw.landed_events")
    assert store(settings, line(), b"bad").quarantined == 1
    assert rows(settings, "select load_id, line_number from raw.rejected_events") == [(first.load_id, 2)]


def test_the_events_of_a_record_count_as_one_record_and_the_arrival_of_the_last_is_known(settings: Settings) -> None:
    later = "2026-01-02T12:00:07.000000Z"
    loaded = store(
        settings,
        line("A", sub_sequence=0), line("B", sub_sequence=1), unreadable(b"?"),
        line("C", sequence_number="8"), line("D", sequence_number="9", arrived_at=later),
    )  # fmt: skip
    assert (loaded.events, loaded.quarantined, loaded.lines, loaded.records) == (4, 1, 5, 3)
    assert loaded.arrived_at == datetime(2026, 1, 2, 12, 0, 7, tzinfo=UTC)
    assert store(settings, b"bad", origin="raw/y").arrived_at is None


def test_what_events_say_about_completeness_is_told_with_the_last_arrival_that_said_it(settings: Settings) -> None:
    one, two = "2026-01-02T12:01:00Z", "2026-01-02T12:02:00Z"
    loaded = store(
        settings,
        line(complete_until=one, vendor_id="1"),
        line(complete_until=one, vendor_id="2", sequence_number="8", arrived_at="2026-01-02T12:00:05Z"),
        line(complete_until=two, vendor_id="3", sequence_number="9", arrived_at="2026-01-02T12:00:06Z"),
        line(complete_until=two, payload=[], sequence_number="10", arrived_at="2026-01-02T12:00:09Z"),
    )
    assert loaded.marks == {
        ("simulator", datetime(2026, 1, 2, 12, 1, tzinfo=UTC)): datetime(2026, 1, 2, 12, 0, 5, tzinfo=UTC),
        ("simulator", datetime(2026, 1, 2, 12, 2, tzinfo=UTC)): datetime(2026, 1, 2, 12, 0, 6, tzinfo=UTC),
    }


def test_a_large_object_is_loaded_chunk_by_chunk(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "_CHUNK", 3)
    with connect(settings, role="owner") as conn:
        conn.execute("alter table raw.landed_events add constraint no_poison check (symbol <> 'POISON')")
    loaded = store(settings, line("A"), line("B"), b"bad", line("POISON"), line("C"), line("D"), line("E"), line("F"))
    assert (loaded.events, loaded.quarantined) == (6, 2)
    assert rows(settings, "select string_agg(symbol, '' order by line_number) from raw.landed_events") == [("ABCDEF",)]
    assert rows(settings, "select line_number from raw.rejected_events order by 1") == [(3,), (4,)]
    assert rows(settings, "select read_count, quarantined_count from ops.loads") == [(8, 2)]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
LINES = st.one_of(
    st.binary(max_size=40),
    JSON.map(json.dumps).map(str.encode),
    st.dictionaries(st.text(), JSON, max_size=3).map(lambda payload: line(payload=payload)),
    st.dictionaries(st.sampled_from(sorted(json.loads(line()))), JSON).map(
        lambda fields: json.dumps(json.loads(line()) | fields).encode()
    ),
)  # fmt: skip


@given(lines=st.lists(LINES, max_size=8))
@hypothesis_settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_whatever_the_lines_hold_each_is_an_event_or_a_reject_and_the_ledger_counts_them(
    settings: Settings, lines: list[bytes]
) -> None:
    with connect(settings) as conn, conn.transaction(force_rollback=True):
        loaded = loader.store(conn, enumerate(lines, 1), origin="raw/any", is_live=True)
        events = conn.execute("select line_number, payload::text from raw.landed_events").fetchall()
        rejects = conn.execute("select line_number from raw.rejected_events").fetchall()
        (counts,) = conn.execute("select read_count, quarantined_count from ops.loads").fetchall()
    assert sorted(number for number, *_ in [*events, *rejects]) == list(range(1, len(lines) + 1))
    assert (loaded.events, loaded.quarantined) == (len(events), len(rejects))
    assert counts == (len(lines), len(rejects))
    for number, payload in events:
        sent = json.loads(lines[number - 1], parse_int=float)["payload"]
        assert json.loads(payload, parse_int=float) == sent  # 3.6e+16 comes back as 36000000000000000
