"""Raw JSON of a day becomes Parquet: counted, typed, sorted, replaced as a whole."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import pyarrow.parquet as pq
import pytest

from include.aws import client
from include.errors import FencedError, LakeError, LeaseHeldError
from include.lake import objects
from include.lake.parquet import Sorter
from include.pipeline import compaction
from include.pipeline.compact import compact, compact_due, verify
from include.settings import Settings
from include.warehouse.db import connect
from include.warehouse.leases import lease
from tests.lake.lines import NOON, ledger, put, quote, trade
from tests.lake.parquet import files, rows

pytestmark = pytest.mark.stack

MONDAY, TUESDAY = date(2026, 3, 2), date(2026, 3, 3)
WEDNESDAY = datetime(2026, 3, 4, 1, tzinfo=UTC)


def at(clock: str) -> datetime:
    return datetime.fromisoformat(f"2026-03-02T{clock}")


def test_five_lines_are_five_rows_with_types_in_the_order_of_symbol_and_time(lake: Settings) -> None:
    put(lake, "2026-03-02", "a", [
        trade("ETH-USD", "2026-03-02T10:00", "20.50", 3),
        trade("BTC-USD", "2026-03-02T10:01:00.000001", 101),
        trade("BTC-USD", "2026-03-02T10:00", 100.25, size="nothing"),
    ])  # fmt: skip
    put(lake, "2026-03-02", "b", [
        quote("BTC-USD", "2026-03-02T10:00", 100, previous_close=80),
        quote("BTC-USD", "2026-03-01T23:59", 99),
    ])  # fmt: skip

    report = compact(lake, MONDAY)

    assert (report.objects, report.lines, report.rows, report.repeated, report.malformed) == (2, 5, 5, 0, 0)
    assert rows(lake, "symbol", "event_time", "price") == {
        "quote/dt=2026-03-01/quotes-2026-03-02-000": [("BTC-USD", datetime.fromisoformat("2026-03-01T23:59"), 99.0)],
        "quote/dt=2026-03-02/quotes-2026-03-02-000": [("BTC-USD", at("10:00"), 100.0)],
        "trade/dt=2026-03-02/trades-2026-03-02-000": [
            ("BTC-USD", at("10:00"), 100.25),
            ("BTC-USD", at("10:01:00.000001"), 101.0),
            ("ETH-USD", at("10:00"), 20.5),
        ],
    }


def test_a_number_that_is_none_is_empty_and_every_column_has_its_type(lake: Settings) -> None:
    put(lake, "2026-03-02", "a", [trade("BTC-USD", "2026-03-02T10:00", "7.5", "many", vendor_id='x,\n"y', side=None)])
    compact(lake, MONDAY)
    (body,) = files(lake).values()
    table = pq.read_table(io.BytesIO(body))
    assert table.to_pylist() == [
        {
            "source": "simulator", "symbol": "BTC-USD", "event_time": at("10:00"), "vendor_id": 'x,\n"y', "side": None,
            "price": 7.5, "size": None, "received_at": at("10:00"),
        }
    ]  # fmt: skip
    assert {str(type_) for type_ in table.schema.types} == {"string", "double", "timestamp[us]"}
    assert {pq.read_metadata(io.BytesIO(body)).row_group(0).column(n).compression for n in range(8)} == {"ZSTD"}


def test_lines_that_are_no_events_and_exact_repeats_are_counted_and_left_out(lake: Settings) -> None:
    same = quote("BTC-USD", "2026-03-02T10:00", 100)
    put(lake, "2026-03-02", "a", [
        same,
        b'{"raw_base64":"bm8gSlNPTg==","sequence_number":"1","arrived_at":"2026-03-02T10:00:00Z"}\n',
        b'{"kind":"quote"}\n',
        quote("BTC-USD", "2026-03-02T10:00", 100, source="nobody knows this one"),
    ])  # fmt: skip
    put(lake, "2026-03-02", "b", [
        same,
        quote("BTC-USD", "2026-03-02T10:00", 100, received_at=NOON),
        quote("BTC-USD", "2026-03-02T10:00", 101, received_at=NOON),
    ])  # fmt: skip

    report = compact(lake, MONDAY)

    assert (report.lines, report.rows, report.repeated, report.malformed) == (7, 2, 2, 3)
    assert list(rows(lake, "price", "received_at").values()) == [
        [(100.0, at("12:00")), (101.0, at("12:00"))]  # the repeat received last stays; another payload is a revision
    ]
    assert ledger(lake, "select line_count, row_count, repeated_count, malformed_count from ops.lake_days") == [
        (7, 2, 2, 3)
    ]
    assert ledger(lake, "select right(key, 10), line_count from ops.lake_objects order by 1") == [
        ("a.jsonl.gz", 4), ("b.jsonl.gz", 3)
    ]  # fmt: skip


def test_a_second_time_there_is_nothing_to_do_and_by_force_the_same_files_come_out(lake: Settings) -> None:
    put(lake, "2026-03-02", "a", [trade(f"S{n % 7}", f"2026-03-02T10:{n:02d}", n) for n in range(60)])
    first = compact(lake, MONDAY)
    made = files(lake)

    second, forced = compact(lake, MONDAY), compact(lake, MONDAY, again=True)

    assert (first.is_new, first.put, second.is_new) == (True, 1, False)
    assert (second.rows, second.lines) == (60, 60)
    assert (forced.is_new, forced.put, forced.removed) == (True, 0, 0), "the same bytes are not put again"
    assert files(lake) == made


def test_objects_that_arrive_later_make_the_day_due_and_their_rows_appear(lake: Settings) -> None:
    put(lake, "2026-03-02", "a", [trade("BTC-USD", "2026-03-02T10:00", 1)])
    assert [str(report.day) for report in compact_due(lake, now=WEDNESDAY)] == ["2026-03-02"]
    assert compact_due(lake, now=WEDNESDAY) == []

    put(lake, "2026-03-02", "late", [trade("BTC-USD", "2026-03-02T09:00", 2)])
    (report,) = compact_due(lake, now=WEDNESDAY)

    assert (report.objects, report.rows, report.put) == (2, 2, 1)
    assert rows(lake, "price") == {"trade/dt=2026-03-02/trades-2026-03-02-000": [(2.0,), (1.0,)]}


def test_two_arrival_days_of_one_event_date_have_files_of_their_own(lake: Settings) -> None:
    put(lake, "2026-03-02", "a", [trade("BTC-USD", "2026-03-02T10:00", 1)])
    put(lake, "2026-03-03", "b", [trade("BTC-USD", "2026-03-02T11:00", 2)])
    compact(lake, MONDAY)
    before = files(lake)

    compact(lake, TUESDAY)

    assert rows(lake, "price") == {
        "trade/dt=2026-03-02/trades-2026-03-02-000": [(1.0,)],
        "trade/dt=2026-03-02/trades-2026-03-03-000": [(2.0,)],
    }
    assert before.items() <= files(lake).items(), "another day's files are not touched"


def test_the_running_day_is_left_out_unless_it_is_asked_for(lake: Settings) -> None:
    put(lake, "2026-03-02", "a", [trade("BTC-USD", "2026-03-02T10:00", 1)])
    put(lake, "2026-03-03", "b", [trade("BTC-USD", "2026-03-03T10:00", 1)])
    tuesday = datetime(2026, 3, 3, 15, tzinfo=UTC)
    assert [report.day for report in compact_due(lake, now=tuesday)] == [MONDAY]
    assert [report.day for report in compact_due(lake, now=tuesday, running=True)] == [TUESDAY]


def test_somebody_else_at_the_same_day_is_left_to_it(lake: Settings) -> None:
    put(lake, "2026-03-02", "a", [trade("BTC-USD", "2026-03-02T10:00", 1)])
    put(lake, "2026-03-03", "b", [trade("BTC-USD", "2026-03-03T10:00", 1)])
    with connect(lake) as other, lease(other, "compact 2026-03-02", seconds=60):
        with pytest.raises(LeaseHeldError, match="the step compact 2026-03-02 runs already"):
            compact(lake, MONDAY)
        assert [report.day for report in compact_due(lake, now=WEDNESDAY)] == [TUESDAY]


def test_a_file_over_the_limit_is_cut_and_keeps_its_cuts(lake: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "Sorter", partial(Sorter, max_bytes=3000))
    lines = [
        trade(f"S{n % 4}", f"2026-03-02T10:{n // 60:02d}:{n % 60:02d}", n * 1.37, vendor_id=f"{n * n}")
        for n in range(400)
    ]
    put(lake, "2026-03-02", "a", lines)
    report = compact(lake, MONDAY)
    before = rows(lake, "symbol", "event_time", "price")
    assert report.files > 2 and report.rows == 400
    assert [row for part in sorted(before.values()) for row in part] == sorted(
        row for part in before.values() for row in part
    )

    put(lake, "2026-03-02", "late", [trade("S0", "2026-03-02T10:00:00.5", 1)])
    late = compact(lake, MONDAY)
    after = rows(lake, "symbol", "event_time", "price")

    assert late.put == 1 and set(after) == set(before)
    assert [name for name in after if after[name] != before[name]] == ["trade/dt=2026-03-02/trades-2026-03-02-000"]


def test_after_the_loss_of_the_warehouse_no_row_is_in_parquet_twice(
    lake: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lake has three files of the day, an empty ledger knows of none, and today's limit would make one of them."""
    lines = [trade("S0", f"2026-03-02T10:00:{n % 60:02d}", n * 1.37, vendor_id=f"{n * n}") for n in range(300)]
    put(lake, "2026-03-02", "a", lines)
    with monkeypatch.context() as small:
        small.setattr(compaction, "Sorter", partial(Sorter, max_bytes=3000))
        assert compact(lake, MONDAY).files > 2
    with connect(lake) as conn:
        conn.execute("truncate ops.lake_files, ops.lake_objects, ops.lake_days cascade")
    report = compact(lake, MONDAY)
    assert (report.files, report.rows) == (1, 300) and report.removed >= 2
    assert [len(part) for part in rows(lake, "symbol", "event_time").values()] == [300]


def test_files_that_do_not_hold_what_came_in_are_not_published(lake: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    put(lake, "2026-03-02", "a", [trade("BTC-USD", "2026-03-02T10:00", 1)])
    compact(lake, MONDAY)
    put(lake, "2026-03-02", "b", [trade("BTC-USD", "2026-03-02T11:00", 2)])
    good = files(lake)
    staged = Sorter._rows

    monkeypatch.setattr(
        Sorter,
        "_rows",
        lambda self, kind: staged(self, kind).replace("select *", "select * replace (price + 1e-9 as price)"),
    )
    with pytest.raises(
        LakeError, match=r"trades of 2026-03-02: .* came in, but the files hold .* nothing of this day was published"
    ):
        compact(lake, MONDAY)
    assert files(lake) == good


def test_a_file_that_was_changed_in_the_lake_is_found_and_made_anew(lake: Settings) -> None:
    put(lake, "2026-03-02", "a", [trade("BTC-USD", "2026-03-02T10:00", 1), quote("BTC-USD", "2026-03-02T10:00", 1)])
    compact(lake, MONDAY)
    good = files(lake)
    assert verify(lake, MONDAY) == 2
    quotes, trades = good
    s3 = client(lake, "s3")
    s3.put_object(Bucket=lake.bucket, Key=trades, Body=good[trades][:-1] + b"X")
    s3.delete_object(Bucket=lake.bucket, Key=quotes)

    with pytest.raises(
        LakeError, match=rf"{quotes} is gone\n.*{trades} is not what was written(.|\n)*--day 2026-03-02 --again"
    ):
        verify(lake, MONDAY)
    compact(lake, MONDAY, again=True)

    assert files(lake) == good and verify(lake, MONDAY) == 2


def test_an_object_that_is_damaged_stops_its_day_and_no_other(lake: Settings) -> None:
    s3 = client(lake, "s3")
    key = put(lake, "2026-03-02", "a", [trade("BTC-USD", "2026-03-02T10:00", 1)])
    s3.put_object(Bucket=lake.bucket, Key=key, Body=s3.get_object(Bucket=lake.bucket, Key=key)["Body"].read()[:-5])
    put(lake, "2026-03-03", "b", [trade("BTC-USD", "2026-03-03T10:00", 1)])

    with pytest.raises(LakeError, match=f"2026-03-02: .*{key} is no whole gzip file"):
        compact_due(lake, now=WEDNESDAY)

    assert list(rows(lake, "price")) == ["trade/dt=2026-03-03/trades-2026-03-03-000"]
    outcomes = "select ok, error like '%no whole gzip%' from ops.outcomes where step = 'compact' order by at"
    assert ledger(lake, outcomes) == [(False, True), (True, None)]


def test_raw_objects_that_have_expired_do_not_take_their_rows_with_them(lake: Settings) -> None:
    key = put(lake, "2026-03-02", "a", [trade("BTC-USD", "2026-03-02T10:00", 1)])
    compact(lake, MONDAY)
    good = files(lake)
    client(lake, "s3").delete_object(Bucket=lake.bucket, Key=key)
    assert compact_due(lake, now=WEDNESDAY) == []

    put(lake, "2026-03-02", "late", [trade("BTC-USD", "2026-03-02T11:00", 1)])
    with pytest.raises(
        LakeError, match=f"1 raw objects of 2026-03-02 are in Parquet and no longer in the lake .*{key}"
    ):
        compact_due(lake, now=WEDNESDAY)
    assert files(lake) == good


def test_a_day_without_objects_is_an_error_that_says_where_to_look(lake: Settings) -> None:
    with pytest.raises(LakeError, match=r"raw/dt=2026-03-02/ holds no raw object; `quantstream compact --list`"):
        compact(lake, MONDAY)


def test_a_view_that_was_mended_makes_the_columns_anew(lake: Settings) -> None:
    put(lake, "2026-03-02", "a", [trade("BTC-USD", "2026-03-02T10:00", 1)])
    assert compact(lake, MONDAY).is_new
    with connect(lake) as conn:
        (view,) = conn.execute("select pg_get_viewdef('staging.stg_simulator__trade'::regclass)").fetchone() or ("",)
        assert "'side'::text" in view
        conn.execute(
            "create or replace view staging.stg_simulator__trade as " + view.replace("'side'::text", "'price'::text")
        )
    assert compact(lake, MONDAY).is_new
    assert rows(lake, "side") == {"trade/dt=2026-03-02/trades-2026-03-02-000": [("1",)]}


def test_what_the_minute_works_with_is_not_touched(lake: Settings) -> None:
    put(lake, "2026-03-02", "a", [trade("BTC-USD", "2026-03-02T10:00", 1)])
    compact(lake, MONDAY)
    assert ledger(lake, "select (select count(*) from ops.loads), (select count(*) from raw.events), "
                        "pg_relation_size('raw.landed_events')") == [(0, 0, 0)]  # fmt: skip
    assert not (lake.home / "compact" / "2026-03-02").exists()


def test_what_was_put_meanwhile_by_another_process_is_not_overwritten(
    lake: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(lake, "2026-03-02", "a", [trade("BTC-USD", "2026-03-02T10:00", 1)])
    compact(lake, MONDAY)
    (key,) = files(lake)
    put(lake, "2026-03-02", "b", [trade("BTC-USD", "2026-03-02T11:00", 2)])
    replace = objects.replace

    def late(s3: Any, *arguments: Any) -> None:
        s3.put_object(Bucket=lake.bucket, Key=key, Body=b"the other one's")
        replace(s3, *arguments)

    monkeypatch.setattr(objects, "replace", late)
    with pytest.raises(FencedError, match=f"{key} was changed by somebody else meanwhile"):
        compact(lake, MONDAY)
    assert files(lake) == {key: b"the other one's"}

    monkeypatch.undo()
    assert compact(lake, MONDAY).rows == 2
    assert rows(lake, "price") == {"trade/dt=2026-03-02/trades-2026-03-02-000": [(1.0,), (2.0,)]}
