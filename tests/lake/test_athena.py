"""Athena on the lake's tables: the same rows from JSON and from Parquet, the bytes that either costs, clear errors."""

from __future__ import annotations

from datetime import date

import pytest

from include.aws import client
from include.lake.athena import Answer, QueryError, run
from include.lake.catalogue import make_catalogue
from include.lake.samples import SAMPLES, sql
from include.pipeline.compact import compact
from include.settings import Settings
from tests.lake.lines import put, quote, trade

pytestmark = pytest.mark.stack

MONDAY, TUESDAY = "2026-03-02", "2026-03-03"


@pytest.fixture
def filled(lake: Settings) -> Settings:
    """Two days, in JSON and in Parquet."""
    for day in (MONDAY, TUESDAY):
        put(lake, day, "a", [
            quote("BTC-USD", f"{day}T10:00", 100, previous_close=100, bid=99, ask=101, day_volume=10),
            quote("BTC-USD", f"{day}T11:00", 107, previous_close=100, bid=106, ask=108, day_volume=30),
            quote("AAPL", f"{day}T11:00", 49, previous_close=50, bid=48, ask=50, day_volume=5),
            trade("BTC-USD", f"{day}T10:00", 100, 0.5, "1"),
            trade("BTC-USD", f"{day}T10:30", 101, 1.5, "2"),
            trade("AAPL", f"{day}T10:30", 49, 10, "3"),
        ])  # fmt: skip
        compact(lake, date.fromisoformat(day))
    return lake


def test_top_movers(filled: Settings) -> None:
    answer = run(filled, sql("top-movers"))
    assert answer.columns == ("symbol", "price", "change_percent")
    assert answer.rows == [("BTC-USD", 107.0, 7.0), ("AAPL", 49.0, -2.0)]


def test_average_volume(filled: Settings) -> None:
    assert run(filled, sql("average-volume")).rows == [("AAPL", 2, 10.0, 20.0), ("BTC-USD", 4, 1.0, 4.0)]


def test_big_moves(filled: Settings) -> None:
    assert run(filled, sql("big-moves")).rows == [
        ("BTC-USD", "2026-03-02 11:00:00", 107.0, 7.0),
        ("BTC-USD", "2026-03-03 11:00:00", 107.0, 7.0),
    ]


def test_quick_look(filled: Settings) -> None:
    answer = run(filled, sql("quick-look"))
    assert answer.columns == ("symbol", "event_time", "price", "bid", "ask", "change_percent", "day_volume")
    assert answer.rows[0] == ("AAPL", "2026-03-03 11:00:00", 49.0, 48.0, 50.0, -2.0, 5.0)
    assert len(answer.rows) == 6


@pytest.mark.parametrize("name", SAMPLES)
def test_each_sample_gives_the_same_on_json_for_more_bytes(name: str, filled: Settings) -> None:
    on_parquet, on_raw = run(filled, sql(name)), run(filled, sql(name, on_raw=True))
    assert _rounded(on_parquet) == _rounded(on_raw)
    assert not on_parquet.is_reported and not on_raw.is_reported, "the local one does not count"


def _rounded(answer: Answer) -> list[tuple[object, ...]]:
    times = {n for n, name in enumerate(answer.columns) if name == "event_time"}
    return [
        tuple(value[:19].replace("T", " ") if n in times else round(value, 9) if isinstance(value, float) else value
              for n, value in enumerate(row))
        for row in answer.rows
    ]  # fmt: skip


def test_the_bytes_are_those_of_the_columns_and_days_that_are_needed(filled: Settings) -> None:
    def scanned(query: str) -> int:
        return run(filled, query).scanned

    both, one_day = (
        scanned("select avg(price) from trades"),
        scanned(f"select avg(price) from trades where dt = '{TUESDAY}'"),
    )
    assert 0 < one_day < both < scanned("select * from trades")
    s3 = client(filled, "s3")
    raw = {
        day: sum(one["Size"] for one in s3.list_objects_v2(Bucket=filled.bucket, Prefix=f"raw/dt={day}/")["Contents"])
        for day in (MONDAY, TUESDAY)
    }
    assert scanned("select count(*) from raw_events where kind = 'trade'") == sum(raw.values())
    assert scanned(f"select count(*) from raw_events where dt >= '{TUESDAY}' and hh = '12'") == raw[TUESDAY]
    assert scanned("select 1") == 0


def test_raw_json_is_read_as_text_with_its_payload_as_json(filled: Settings) -> None:
    answer = run(
        filled,
        "select event_time, payload, json_extract_scalar(r.payload, '$.side') as side, sub_sequence "
        f"from {filled.glue_database}.raw_events as r where dt = '{MONDAY}' and kind = 'trade' and symbol = 'AAPL'",
    )
    assert answer.rows == [
        ("2026-03-02T10:30:00.000000Z", '{"price":49,"size":10,"side":"buy"}', "buy", None)
    ]  # fmt: skip


def test_lines_that_are_no_json_objects_do_not_stop_a_query(lake: Settings) -> None:
    put(lake, MONDAY, "a", [b'{"raw_base64":"bm8="}\n', b"not json\n", trade("BTC-USD", f"{MONDAY}T10:00", 1)])
    assert run(lake, "select symbol from raw_events where kind = 'trade'").rows == [("BTC-USD",)]


def test_an_empty_lake_has_no_raw_events(lake: Settings) -> None:
    answer = run(lake, "select symbol, payload, dt from raw_events")
    assert (answer.columns, answer.rows, answer.scanned) == (("symbol", "payload", "dt"), [], 0)


def test_a_filter_on_the_partition_reads_that_day_only(filled: Settings) -> None:
    assert run(filled, f"select distinct dt from quotes where dt > '{MONDAY}'").rows == [(TUESDAY,)]


def test_it_waits_and_tells_how_it_goes(filled: Settings) -> None:
    seen: list[str] = []
    run(filled, "select 1", progress=lambda state, seconds: seen.append(state))
    assert seen[-1] == "SUCCEEDED"


def test_a_missing_table_says_which_there_are_and_what_makes_them(lake: Settings) -> None:
    with pytest.raises(QueryError, match=r"tarde(.|\n)*there is no table in lake_.*quantstream provision"):
        run(lake, "select * from tarde")
    make_catalogue(lake)
    with pytest.raises(QueryError, match=r"the tables of lake_\w+ are actions, bars, quotes, raw_events, trades"):
        run(lake, "select * from tarde")


def test_wrong_sql_is_told_in_the_engines_words(lake: Settings) -> None:
    with pytest.raises(QueryError, match="selec"):
        run(lake, "selec 1")


def test_an_empty_lake_has_empty_tables(lake: Settings) -> None:
    make_catalogue(lake)
    answer = run(lake, "select symbol, price from trades")
    assert (answer.columns, answer.rows, answer.scanned) == (("symbol", "price"), [], 0)


def test_nulls_whole_numbers_truth_and_decimals_come_with_their_types(lake: Settings) -> None:
    answer = run(lake, "select null as a, 1 as b, true as c, 1.50 as d, cast(2 as double) as e, 'x' as f")
    assert tuple(map(str, answer.rows[0])) == ("None", "1", "True", "1.50", "2.0", "x")


def test_the_same_table_twice_in_a_query(filled: Settings) -> None:
    answer = run(
        filled,
        "with last as (select symbol, max(event_time) as at from quotes group by symbol) "
        "select q.symbol, q.price from quotes as q join last on q.symbol = last.symbol and q.event_time = last.at "
        "order by 1",
    )
    assert answer.rows == [("AAPL", 49.0), ("BTC-USD", 107.0)]
