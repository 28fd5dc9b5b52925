"""However the same events arrive, the marts end the same, byte for byte, and equal those built anew from raw."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from include.events import Event
from include.settings import Settings
from include.transform.runner import build_changed
from include.warehouse.db import connect
from tests.transform.events import DAY, accept, event
from tests.transform.marts import build, rebuild_tables, snapshot, unlike_their_minutes

MIDNIGHT = DAY + timedelta(days=1)
LOADS = 4
# A series long enough for every window, over midnight; what is drawn falls into it.
SERIES = [
    event("bar", "AAPL", MIDNIGHT + timedelta(minutes=minute), {"resolution": "1m", "volume": 10,
          **dict.fromkeys(("open", "high", "low", "close"), 100 + minute % 7)})
    for minute in range(-10, 31)
]  # fmt: skip

numbers = st.decimals("0.5", "9.5", places=2).map(lambda value: float(value) if value % 2 else str(value))
symbols = st.sampled_from(["AAPL", "BTC-USD"])
times = st.integers(-10 * 4, 31 * 4).map(lambda quarter: MIDNIGHT + timedelta(seconds=15 * quarter))
ids = st.sampled_from(["9", "10", "a"])
lateness = st.integers(0, 3).map(lambda seconds: timedelta(seconds=seconds))
quotes = st.builds(
    lambda symbol, time, late, price, volume, close, source: event(
        "quote", symbol, time, {"price": price, "day_volume": volume, "previous_close": close},
        received_at=time + late, source=source,
    ),
    symbols, times, lateness, numbers, st.none() | st.integers(0, 50), st.none() | numbers,
    st.sampled_from(["simulator", "replay"]),
)  # fmt: skip
coins = st.builds(
    lambda time, late, price: event(
        "quote", "BTC-USD", time, {"current_price": price, "total_volume": 5},
        received_at=time + late, source="coingecko",
    ),
    times, lateness, numbers,
)  # fmt: skip
trades = st.builds(
    lambda symbol, time, late, price, size, vendor_id: event(
        "trade", symbol, time, {"price": price, "size": size}, vendor_id=vendor_id, received_at=time + late
    ),
    symbols, times, lateness, numbers, numbers, ids,
)  # fmt: skip


@st.composite
def deliveries(draw: st.DrawFn) -> list[tuple[list[Event], datetime, bool]]:
    """Loads: the events of each in some order, up to when the sources are complete, and whether the run survived."""
    drawn = draw(st.lists(st.one_of(quotes, quotes, coins, trades), min_size=40, max_size=80))
    chance = draw(st.randoms(use_true_random=True))
    astray = draw(st.sampled_from([0, 0, 0.02, 1]))  # the share that does not come when its time is
    everything = [*SERIES, *drawn]
    again = [
        replace(one, received_at=one.received_at + timedelta(seconds=chance.randrange(3)))
        for one in (chance.sample(everything, 10) if astray else [])
    ]
    loads: list[list[Event]] = [[] for _ in range(LOADS)]
    for one in chance.sample([*everything, *again], len(everything) + len(again)):
        minute = (one.event_time - SERIES[0].event_time) // timedelta(minutes=1)
        # in time the last load brings no event, only that the sources are complete
        loads[chance.randrange(LOADS) if chance.random() < astray else minute * (LOADS - 1) // 41].append(one)
    return [(load, draw(times), n == LOADS - 1 or draw(st.booleans())) for n, load in enumerate(loads)]


@settings(
    max_examples=3, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(delivered=deliveries())
def test_any_delivery_ends_in_the_marts_of_a_full_refresh(
    marts_settings: Settings, delivered: list[tuple[list[Event], datetime, bool]]
) -> None:
    everything = [one for load, _, _ in delivered for one in load]
    complete = max(until for _, until, _ in delivered)
    with connect(marts_settings) as conn:
        forget(conn)
        for load, until, survived in delivered:
            accept(conn, load, dict.fromkeys(("simulator", "replay"), until))
            (build if survived else build_changed)(marts_settings)  # a run that died leaves its batch behind
        piecewise = snapshot(conn)
        assert piecewise["candles_1h"], "nothing was built"
        assert unlike_their_minutes(conn) == []
        rebuild_tables(marts_settings)
        assert snapshot(conn) == piecewise, "built anew from the same raw events"
        forget(conn)
        accept(conn, sorted(everything, key=by_time), dict.fromkeys(("simulator", "replay"), complete))
        build(marts_settings)
        assert snapshot(conn) == piecewise, "delivered in order, as one load"


@st.composite
def days_of_history(draw: st.DrawFn) -> list[list[Event]]:
    """Days of two symbols in any order, some of them short or left out, several of them at once or in two parts."""
    chance = draw(st.randoms(use_true_random=True))
    days = []
    for number in range(6):
        length = draw(st.sampled_from([0, 2, 13, 30]))
        start = DAY + timedelta(days=number, hours=draw(st.sampled_from([0, 14])))  # from 14:30 on XNYS is open
        minutes = sorted(chance.sample(range(45), length)) if draw(st.booleans()) else list(range(length))
        days.append([
            event("bar", symbol, start + timedelta(minutes=minute), {"resolution": "1m", "volume": 10,
                  **dict.fromkeys(("open", "high", "low", "close"), chance.randrange(90, 110))})
            for minute in minutes for symbol in ("AAPL", "BTC-USD")
        ])  # fmt: skip
    parts = [part for one in days for part in ((one[::2], one[1::2]) if draw(st.booleans()) else (one,))]
    chance.shuffle(parts)
    loads: list[list[Event]] = []
    for part in parts:
        if loads and draw(st.sampled_from([False, False, True])):
            loads[-1] += part
        else:
            loads.append(part)
    return loads


@settings(
    max_examples=3, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(loads=days_of_history())
def test_days_below_between_and_above_what_is_there_end_in_the_marts_of_a_full_refresh(
    marts_settings: Settings, loads: list[list[Event]]
) -> None:
    with connect(marts_settings) as conn:
        forget(conn)
        for load in loads:
            accept(conn, load, {"replay": DAY + timedelta(days=9)})
            build(marts_settings)
        piecewise = snapshot(conn)
        assert unlike_their_minutes(conn) == []
        rebuild_tables(marts_settings)
        assert snapshot(conn) == piecewise


def by_time(one: Event) -> tuple[Any, ...]:
    return one.event_time, one.symbol, one.source, one.vendor_id, one.received_at


def forget(conn: Any) -> None:
    conn.execute(
        "truncate raw.market_events, ops.loads, ops.transform_batch, ops.watermarks, ops.transform_watermarks, "
        "ops.detect_queue, marts.quotes, marts.trades, marts.candles_1m, marts.candles_5m, marts.candles_15m, "
        "marts.candles_1h, marts.candles_1d, marts.indicators_1m, marts.indicators_5m, marts.indicators_15m, "
        "marts.indicators_1h, marts.indicators_1d"
    )
