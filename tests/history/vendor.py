"""A local vendor with a past, and what a warehouse holds of it in the end."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from include.commands.local_exchange import LocalExchange, serving
from include.events import Window
from include.settings import Settings
from include.stack import local_aws
from include.warehouse.db import connect
from tests.conftest import Servers, make_warehouse, warehouse_settings

DAY = datetime(2026, 3, 2, tzinfo=UTC)
ONE_DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


def day(number: int) -> Window:
    return Window(DAY + number * ONE_DAY, DAY + (number + 1) * ONE_DAY)


def millis(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def bars(start: datetime, minutes: Sequence[int], price: float = 100.0) -> list[tuple[Any, ...]]:
    """Bars at so many minutes after `start`, each a little above the one before."""
    return [
        (millis(start + number * MINUTE), price + number, price + number + 2, price + number - 1, price + number + 1, 5)
        for number in minutes
    ]


def trades(start: datetime, seconds: Sequence[float], price: float = 100.0) -> list[tuple[Any, ...]]:
    """Trades at so many seconds after `start`, numbered from 1."""
    return [
        (number, millis(start + timedelta(seconds=second)), price + number % 7, 0.5, number % 2 == 0)
        for number, second in enumerate(seconds, start=1)
    ]


@contextmanager
def exchange(
    bars: Mapping[str, Sequence[Any]] | None = None,
    trades: Mapping[str, Sequence[Any]] | None = None,
    local: LocalExchange | None = None,
) -> Iterator[tuple[LocalExchange, str]]:
    """The exchange and its address."""
    local = local or LocalExchange(bars=bars, trades=trades)
    with serving(local) as url:
        yield local, url


def learns(local: LocalExchange, **known: Mapping[str, Sequence[Any]]) -> None:
    """From now on the exchange knows this instead; its calls are counted on."""
    vars(local).update(vars(LocalExchange(**known)) | {"calls": local.calls})


MakeSettings = Callable[..., Settings]

_LEDGER = {
    "events": "select source, kind, symbol, event_time, vendor_id, payload_hash from raw.market_events",
    "quarantine": "select source, kind, symbol, event_time, reason, raw from raw.rejected_events",
    "coverage": "select source, kind, symbol, range_agg(tstzrange(covered_from, covered_until)) "
    "from ops.history_coverage group by 1, 2, 3",
    "watermarks": "select source, complete_until from ops.watermarks",
    "loads not accepted": "select origin from ops.loads where state not in ('accepted', 'transformed')",
    "pieces not finished": "select s3_key from ops.history_pieces where state in ('intended', 'landed')",
    "events not judged": "select load_id, line_number from raw.landed_events",
}


def picture(settings: Settings) -> dict[str, list[str]]:
    """What must be the same, whatever happened on the way; what ends in "not ..." is empty."""
    with connect(settings) as conn:
        return {what: sorted(map(str, conn.execute(query))) for what, query in _LEDGER.items()}  # type: ignore[call-overload]


def rows(settings: Settings, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
    with connect(settings) as conn:
        return conn.execute(query, arguments).fetchall()  # type: ignore[call-overload, no-any-return]


def coverage(settings: Settings, symbol: str | None = None) -> list[tuple[Any, ...]]:
    """(symbol, hours from `DAY` on, until, events, how it ended) of what is covered."""
    found = rows(
        settings,
        "select symbol, covered_from, covered_until, events, ended from ops.history_coverage "
        "where symbol = coalesce(%s, symbol) order by symbol, covered_from",
        symbol,
    )
    hour = timedelta(hours=1)
    return [(one, (start - DAY) / hour, (until - DAY) / hour, *rest) for one, start, until, *rest in found]


def warehouse_of_its_own(servers: Servers, template: str, **overrides: Any) -> Settings:
    """Like the fixture `make_settings`, for what a whole module shares."""
    name = f"history_{uuid.uuid4().hex[:12]}"
    make_warehouse(servers, name, template=template)
    settings = warehouse_settings(servers, name, **overrides)
    arranged = local_aws.provision(settings)
    return settings.model_copy(update={"topic_arn": arranged.topic_arn, "inbox_url": arranged.inbox_url})
