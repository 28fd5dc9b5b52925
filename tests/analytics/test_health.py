"""How feeds are, and what audits, models and tests of dbt had to say."""

from __future__ import annotations

from datetime import timedelta

import psycopg

from include.transform.results import NodeResult, keep_results
from tests.analytics.pictures import asked, minute_candles
from tests.transform.events import at

OUTCOME = (
    "insert into ops.outcomes (at, step, source, window_start, window_end, ok, row_count, error) values (now() - %s, "
    "'pull', %s, now() - %s - interval '1 minute', now() - %s, %s, %s, %s)"
)


def test_a_feed_tells_its_lag_its_last_pull_and_its_vendor(marts: psycopg.Connection) -> None:
    minute_candles(marts, "BTC-USD", [(at("10:00"), 1), (at("10:01"), 1)], source="kraken")
    marts.execute(
        "insert into ops.watermarks values ('kraken', '2026-03-02 10:01Z'), ('simulator', now() + '1 minute')"
    )
    for ago, ok, rows, error in ((90, False, None, "long ago"), (5, True, 3, None), (2, False, None, "no answer")):
        past = timedelta(minutes=ago)
        marts.execute(OUTCOME, [past, "kraken", past, past, ok, rows, error])
    marts.execute("""
        insert into ops.vendors (vendor, minute_limit, failures, opened_at, open_until)
        values ('kraken', 60, 5, now(), now() + interval '1 minute'), ('yahoo', null, 0, null, null)
    """)
    marts.execute("""
        insert into ops.vendor_calls values
            ('kraken', '1 second', now() - interval '20 seconds', 4, 0),
            ('kraken', '1 second', now() - interval '2 minutes', 9, 0),
            ('kraken', '5 minutes', now(), 13, 0)
    """)
    feeds = asked(
        marts,
        """
        select source, newest_until, asked_at - lag, last_pull_ok, last_error, pulls_last_hour, errors_last_hour,
               circuit, failures_in_a_row, minute_limit, minute_used, day_used
        from marts.feed_health order by 1
        """,
    )
    assert feeds[0] == ("kraken", at("10:02"), at("10:02"), False, "no answer", 2, 1, "open", 5, 60, 4, 13)
    assert feeds[2] == ("yahoo", None, None, None, None, 0, 0, "closed", 0, None, 0, 0)
    assert asked(marts, "select lag, circuit from marts.feed_health where source = 'simulator'") == [
        (timedelta(0), None)
    ]


def test_every_audit_is_a_row(marts: psycopg.Connection) -> None:
    marts.execute("""
        insert into ops.loads (origin, state, is_live, read_count, inserted_count, duplicate_count, quarantined_count,
                               failures)
        values ('a', 'transformed', true, 9, 7, 0, 2, '[]'),
               ('b', 'rejected', true, 5, null, null, 0,
                '[{"rule": "enough_symbols", "observed": "1 of 9", "rows": 0}]'),
               ('c', 'landed', true, 1, null, null, 0, '[]')
    """)
    marts.execute("""
        insert into raw.rejected_events (load_id, origin, line_number, reason, raw)
        select load_id, origin, line, 'price_is_positive', '' from ops.loads, generate_series(1, 2) as line
        where origin = 'a'
    """)
    keep_results(marts, [NodeResult("gone", "success", 0.1, 1)])
    nodes = [NodeResult("quotes", "success", 0.1, 4), NodeResult("quotes_are_sound", "fail", 0.1, 3, "test", "Got 3")]
    keep_results(marts, nodes, whole=True)
    query = (
        "select kind, coalesce(l.origin, q.name), rule, q.state, row_count, failed_rows, detail "
        "from marts.data_quality as q left join ops.loads as l on q.name = l.load_id::text order by 1, 2"
    )
    assert asked(marts, query) == [
        ("load", "a", "", "passed", 9, 2, "a"),
        ("load", "b", "", "failed", 5, 0, "b"),
        ("load", "c", "", "waiting", 1, 0, "c"),
        ("model", "quotes", "", "passed", 4, None, None),
        ("quarantine", "a", "price_is_positive", "failed", 9, 2, "a"),
        ("rule", "b", "enough_symbols", "failed", 5, 0, "1 of 9"),
        ("test", "quotes_are_sound", "", "failed", None, 3, "Got 3"),
    ]
    keep_results(marts, [NodeResult("quotes_are_sound", "pass", 0.1, 0, "test")])
    assert asked(marts, "select state, failed_at is not null, message from ops.build_results where kind = 'test'") == [
        ("pass", True, None)  # when it failed last is kept
    ]
