"""Each reason of a gap, and what is no gap, in small pictures."""

from __future__ import annotations

import psycopg

from include.settings import Settings
from tests.gaps.pictures import complete, fetched, gaps, listed, polled, search, traded


def test_a_source_that_is_silent_for_longer_than_chance_allows_was_out(
    conn: psycopg.Connection, marts_settings: Settings
) -> None:
    traded(conn, "X", "00:00 .. 10:00", "10:40 .. 24:00")
    fetched(conn, "X", "00:00 .. 24:00")
    search(marts_settings)
    assert gaps(conn) == ["X 10:00-10:40 outage"]


def test_a_trading_pause_is_no_gap(conn: psycopg.Connection, marts_settings: Settings) -> None:
    traded(conn, "X", "00:00 .. 10:00", "10:14 .. 24:00")
    fetched(conn, "X", "00:00 .. 24:00")
    search(marts_settings)
    assert gaps(conn) == []


def test_minutes_in_which_nothing_traded_are_no_gaps(conn: psycopg.Connection, marts_settings: Settings) -> None:
    every_hour = [f"{hour:02}:00 .. {hour:02}:10" for hour in range(24)]
    traded(conn, "RARE", *every_hour)  # five minutes of six are quiet: a silence of 50 is usual
    fetched(conn, "RARE", "00:00 .. 24:00")
    search(marts_settings)
    assert gaps(conn) == []


def test_instruments_that_are_rarely_traded_tell_of_an_outage_together(
    conn: psycopg.Connection, marts_settings: Settings
) -> None:
    # each is quiet in half of the minutes: 21 in a row are one in two million for one, and beyond chance for three
    for symbol in ("A", "B", "C"):
        busy = [f"{n // 60:02}:{n % 60:02} .. {(n + 1) // 60:02}:{(n + 1) % 60:02}" for n in range(0, 1440, 2)]
        traded(conn, symbol, *[one for one in busy if not "10:00" <= one[:5] < "10:20"])
        fetched(conn, symbol, "00:00 .. 24:00")
    search(marts_settings)
    assert gaps(conn) == ["A 09:59-10:20 outage", "B 09:59-10:20 outage", "C 09:59-10:20 outage"]


def test_one_of_them_alone_tells_of_none(conn: psycopg.Connection, marts_settings: Settings) -> None:
    for symbol in ("A", "B", "C"):
        busy = [f"{n // 60:02}:{n % 60:02} .. {(n + 1) // 60:02}:{(n + 1) % 60:02}" for n in range(0, 1440, 2)]
        quiet = "10:20" if symbol == "A" else "10:00"
        traded(conn, symbol, *[one for one in busy if not "10:00" <= one[:5] < quiet])
        fetched(conn, symbol, "00:00 .. 24:00")
    search(marts_settings)
    assert gaps(conn) == []


def test_polled_quotes_need_stay_away_for_a_few_minutes_only(
    conn: psycopg.Connection, marts_settings: Settings
) -> None:
    traded(conn, "X", "00:00 .. 10:00", "10:05 .. 12:00", "12:02 .. 24:00", basis="quote", source="simulator")
    fetched(conn, "X", "00:00 .. 24:00", source="simulator")
    search(marts_settings)
    assert gaps(conn) == ["X 10:00-10:05 outage"]


def test_minutes_whose_pulls_failed_are_an_outage_however_few(
    conn: psycopg.Connection, marts_settings: Settings
) -> None:
    traded(conn, "X", "00:00 .. 10:00", "10:02 .. 24:00")
    polled(conn, "00:00 .. 10:00", "10:02 .. 24:00")
    polled(conn, "10:00 .. 10:02", ok=False)
    search(marts_settings)
    assert gaps(conn) == ["X 10:00-10:02 outage"]


def test_a_pull_that_failed_and_then_worked_is_none(conn: psycopg.Connection, marts_settings: Settings) -> None:
    traded(conn, "X", "00:00 .. 10:00", "10:02 .. 24:00")
    polled(conn, "00:00 .. 24:00")
    polled(conn, "10:00 .. 10:02", ok=False)
    search(marts_settings)
    assert gaps(conn) == []


def test_an_answer_without_the_instrument_is_an_outage_of_it_alone(
    conn: psycopg.Connection, marts_settings: Settings
) -> None:
    traded(conn, "X", "00:00 .. 10:00", "10:01 .. 24:00")
    traded(conn, "Y", "00:00 .. 10:00", "10:01 .. 24:00")
    polled(conn, "00:00 .. 10:00", "10:01 .. 24:00")
    polled(conn, "10:00 .. 10:01", missing=["X"])
    search(marts_settings)
    assert gaps(conn) == ["X 10:00-10:01 outage"]


def test_minutes_that_nobody_asked_for_were_never_fetched(conn: psycopg.Connection, marts_settings: Settings) -> None:
    traded(conn, "X", "00:00 .. 10:00", "10:05 .. 24:00")
    polled(conn, "00:00 .. 10:00", "10:05 .. 24:00")
    search(marts_settings)
    assert gaps(conn) == ["X 10:00-10:05 never_fetched"]


def test_a_day_between_two_that_were_fetched_was_never_fetched(
    conn: psycopg.Connection, marts_settings: Settings
) -> None:
    traded(conn, "X", "00:00 .. 23:58", "+2 00:02 .. +2 12:00")  # the quiet minutes beside it are none of it
    fetched(conn, "X", "00:00 .. 24:00", "+2 00:00 .. +3 00:00")
    search(marts_settings)
    assert gaps(conn) == ["X 2026-03-03 00:00-00:00 never_fetched"]


def test_silence_before_and_after_a_session_that_nobody_asked_for_is_not_one(
    conn: psycopg.Connection, marts_settings: Settings
) -> None:
    listed(conn, "X", "XNYS")
    traded(conn, "X", "14:30 .. 20:52", "+2 14:38 .. +2 21:00")  # 8 quiet minutes, a session, 8 quiet minutes
    polled(conn, "14:30 .. 21:00", "+2 14:30 .. +2 21:00")
    search(marts_settings)
    assert gaps(conn) == ["X 2026-03-03 14:30-21:00 never_fetched"]


def test_rows_in_quarantine_are_the_reason(conn: psycopg.Connection, marts_settings: Settings) -> None:
    traded(conn, "X", "00:00 .. 10:00", "10:02 .. 24:00")
    fetched(conn, "X", "00:00 .. 24:00")
    conn.execute(
        "insert into raw.rejected_events (origin, line_number, source, kind, symbol, event_time, reason, raw) "
        "values ('a', 1, 'binance', 'bar', 'X', '2026-03-02 10:01:30+00', 'price is negative', '')"
    )
    search(marts_settings)
    assert gaps(conn) == ["X 10:01-10:02 quarantined"]


def test_so_are_the_rows_of_a_load_that_the_audit_rejected(conn: psycopg.Connection, marts_settings: Settings) -> None:
    traded(conn, "X", "00:00 .. 10:00", "10:02 .. 24:00")
    fetched(conn, "X", "00:00 .. 24:00")
    conn.execute(
        "with bad as (insert into ops.loads (origin, is_live, read_count, state) values ('b', true, 1, 'rejected') "
        "returning load_id) "
        "insert into raw.landed_events (load_id, line_number, source, kind, symbol, event_time, payload_hash, payload, "
        "received_at) select load_id, 1, 'binance', 'bar', 'X', '2026-03-02 10:00+00', gen_random_uuid(), '{}', now() "
        "from bad"
    )
    search(marts_settings)
    assert gaps(conn) == ["X 10:00-10:01 quarantined"]


def test_without_a_record_of_who_asked_the_reason_is_not_known(
    conn: psycopg.Connection, marts_settings: Settings
) -> None:
    traded(conn, "X", "00:00 .. 10:00", "10:01 .. 12:00", "13:00 .. 24:00", source="replay")
    search(marts_settings)
    assert gaps(conn) == ["X 12:00-13:00 unknown"]


def test_nor_where_the_vendor_refuses_to_tell(conn: psycopg.Connection, marts_settings: Settings) -> None:
    traded(conn, "X", "00:00 .. 10:00", "11:00 .. 24:00")
    fetched(conn, "X", "00:00 .. 10:00", "11:00 .. 24:00")
    fetched(conn, "X", "10:00 .. 11:00", ended="refused")
    search(marts_settings)
    assert gaps(conn) == ["X 10:00-11:00 unknown"]


def test_before_the_first_and_after_the_last_candle_silence_is_no_gap(
    conn: psycopg.Connection, marts_settings: Settings
) -> None:
    traded(conn, "NEW", "12:00 .. 14:00")  # listed at noon, gone at two
    fetched(conn, "NEW", "-1 00:00 .. +1 00:00")
    search(marts_settings)
    assert gaps(conn) == []


def test_after_the_last_candle_failed_pulls_are_an_outage_still(
    conn: psycopg.Connection, marts_settings: Settings
) -> None:
    settings = marts_settings.model_copy(update={"sources": ["binance"]})
    traded(conn, "BTC-USD", "00:00 .. 10:00")
    polled(conn, "00:00 .. 10:00")
    polled(conn, "10:00 .. 10:07", ok=False)
    search(settings)
    assert gaps(conn) == ["BTC-USD 10:00-10:07 outage"]


def test_minutes_that_are_not_complete_yet_are_not_missing(conn: psycopg.Connection, marts_settings: Settings) -> None:
    traded(conn, "X", "00:00 .. 10:00", "10:20 .. 10:30", "11:00 .. 11:01")
    fetched(conn, "X", "00:00 .. 24:00")
    complete(conn, "10:31")
    search(marts_settings)
    assert gaps(conn) == ["X 10:00-10:20 outage"]


def test_what_lies_in_a_load_that_is_not_transformed_yet_is_not_missing(
    conn: psycopg.Connection, marts_settings: Settings
) -> None:
    traded(conn, "X", "00:00 .. 10:00", "11:00 .. 24:00")
    fetched(conn, "X", "00:00 .. 24:00")
    conn.execute(
        "insert into ops.loads (origin, is_live, read_count, first_event_at, last_event_at) "
        "values ('c', false, 60, '2026-03-02 10:00+00', '2026-03-02 10:59+00')"
    )
    search(marts_settings)
    assert gaps(conn) == []


def test_two_sources_of_an_instrument_are_two_series(conn: psycopg.Connection, marts_settings: Settings) -> None:
    traded(conn, "X", "00:00 .. 24:00", source="kraken")
    traded(conn, "X", "00:00 .. 10:00", "11:00 .. 24:00")
    fetched(conn, "X", "00:00 .. 24:00")
    fetched(conn, "X", "00:00 .. 24:00", source="kraken")
    search(marts_settings)
    rows = conn.execute("select source, minutes from marts.gaps").fetchall()
    assert rows == [("binance", 60)]


def test_an_instrument_without_a_candle_has_no_gaps(conn: psycopg.Connection, marts_settings: Settings) -> None:
    listed(conn, "X")
    fetched(conn, "X", "00:00 .. 24:00")
    assert search(marts_settings).gaps == 0
