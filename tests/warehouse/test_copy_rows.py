"""The quick way says of every line what `lines.parse` says, and nothing else."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from include.events import iso
from include.warehouse.copy_rows import COLUMNS, Chunk, Said
from include.warehouse.lines import Reject, parse, time_of

NOON = "2026-01-02T12:00:00.000000Z"
LINE = {
    "source": "binance", "kind": "trade", "symbol": "BTC-USD", "event_time": NOON, "vendor_id": "7",
    "received_at": NOON, "complete_until": None, "payload": {"p": "1.5"},
}  # fmt: skip
HASH = "e07875f0305497d110248ed0a3992cca"
_UNESCAPED = {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}


def line(**fields: Any) -> bytes:
    return orjson.dumps(LINE | fields)


def encoded(*lines: bytes) -> Chunk:
    """A chunk of load 3 that has been run through."""
    chunk = Chunk(list(enumerate(lines, 1)), 3)
    assert "".join(chunk.pieces()) == "".join(chunk.rows)
    return chunk


def cells(row: str) -> dict[str, str]:
    """A row of COPY's text format as Postgres reads it."""
    assert row.endswith("\n")
    found = [re.sub(r"\\(.)", lambda match: _UNESCAPED[match[1]], cell) for cell in row[:-1].split("\t")]
    return dict(zip(COLUMNS.split(", "), found, strict=True))


def test_a_line_is_a_row_of_copy() -> None:
    chunk = encoded(line(), line(vendor_id="8", payload={"q": 2, "p": "back\\slash"}))
    assert chunk.rows == [
        f'binance\ttrade\tBTC-USD\t1\t{NOON}\t7\t{HASH}\t{{"p":"1.5"}}\t{NOON}\t3\n',
        f"binance\ttrade\tBTC-USD\t2\t{NOON}\t8\t{cells(chunk.rows[1])['payload_hash']}\t"
        f'{{"p":"back\\\\\\\\slash","q":2}}\t{NOON}\t3\n',
    ]


def test_lines_like_the_one_before_are_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[int] = []
    monkeypatch.setattr(
        "include.warehouse.copy_rows.parse", lambda number, text: parsed.append(number) or parse(number, text)
    )
    encoded(
        line(), line(vendor_id="8"), line(symbol="ETH-USD"), line(symbol="ETH-USD", event_time="2026-01-02"), line()
    )
    assert parsed == [1, 3, 4]  # the first of its kind, another symbol, a time that is written otherwise


TIMES = st.sampled_from([
    NOON, "2026-01-02T12:00:00.999999Z", "2026-01-02T12:00:00Z", "2026-01-02T12:00:00.000000+01:00",
    "20260102T120000.0000000000Z", "2026-W01-1T12:00:00.00000Z", "2026-13-02T12:00:00.000000Z",
    "0001-01-01T00:00:00+14:00", "0000-01-01T00:00:00.000000Z", "2026-01-02T12:00:00.000000",
    "٢٠٢٦-01-02T12:00:00.000000Z", "", None, 0, True, [], {},
])  # fmt: skip
TEXTS = st.sampled_from([
    "binance", "trade", "quote", "BTC-USD", "", "a\tb", "\\N", "line\nend\r", "\\.", "é", "x" * 100, "x" * 101,
    "x" * 200, "x" * 201, "nul\x00", None, 0, 7, True, [], {},
])  # fmt: skip
PAYLOADS = st.sampled_from([
    {}, {"p": "1.5"}, {"b": 1, "a": 2.5}, {"a": "\\"}, {"a": "\\u0000"}, {"a": "\x00"}, {"\x00": 1}, {"a": '"\t\n'},
    {"a": "é😀"}, {"a": 2**63}, {"a": [None, True]}, [], "text", None,
])  # fmt: skip
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "source": TEXTS, "kind": TEXTS, "symbol": TEXTS, "event_time": TIMES, "vendor_id": TEXTS, "received_at": TIMES,
        "complete_until": TIMES, "payload": PAYLOADS, "sequence_number": st.sampled_from(["7", "8", None, 9, []]),
        "arrived_at": TIMES,
    },
)  # fmt: skip
MISSING = st.sets(st.sampled_from(sorted(LINE)), max_size=1)
LINES = st.one_of(
    st.builds(
        lambda fields, missing: orjson.dumps({key: one for key, one in (LINE | fields).items() if key not in missing}),
        FIELDS, MISSING,
    ),
    st.just(line()), st.binary(max_size=8), st.just(b"[1]"), st.just(line().replace(b'"1.5"', b"[" * 300 + b"]" * 300)),
)  # fmt: skip


@given(lines=st.lists(LINES, max_size=12))
@hypothesis_settings(max_examples=500, deadline=None)
def test_whatever_the_lines_hold_rows_and_rejects_are_those_of_parse(lines: list[bytes]) -> None:
    chunk = encoded(*lines)

    rows: list[dict[str, str]] = []
    rejects: list[Reject] = []
    said: list[Said] = []
    records, sequence_number, arrived_at = 0, None, None
    for number, text in enumerate(lines, 1):
        found, stamp = parse(number, text)
        if stamp.sequence_number != sequence_number:
            sequence_number, arrived_at = stamp.sequence_number, time_of(stamp.arrived_at)
            records += sequence_number is not None
        if isinstance(found, Reject):
            rejects.append(found)
            continue
        event = found.event
        rows.append({
            "source": event.source, "kind": event.kind, "symbol": event.symbol, "line_number": str(number),
            "event_time": iso(event.event_time), "vendor_id": event.vendor_id, "payload_hash": found.payload_hash,
            "payload": found.payload, "received_at": iso(event.received_at), "load_id": "3",
        })  # fmt: skip
        if event.complete_until:
            said.append(Said(number, event.source, event.complete_until, arrived_at))

    assert [cells(row) for row in chunk.rows] == rows
    assert [chunk.lines[place][0] for place in chunk.places] == [int(row["line_number"]) for row in rows]
    assert chunk.rejects == rejects
    assert chunk.said == said
    assert (chunk.records, chunk.sequence_number, chunk.arrived_at) == (records, sequence_number, arrived_at)


def test_a_time_that_says_completeness_may_be_written_in_any_way() -> None:
    written = ["2026-01-02T12:00:00.000000Z", "2026-01-02T13:00:00+01:00", "20260102T1200Z"]
    chunk = encoded(*[line(complete_until=text) for text in written])
    assert {one.complete_until for one in chunk.said} == {datetime(2026, 1, 2, 12, tzinfo=UTC)}
    assert [one.line_number for one in chunk.said] == [1, 2, 3]
