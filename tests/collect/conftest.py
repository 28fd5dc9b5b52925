"""A feed, its REST side, and settings that lead to both."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from include.settings import Settings
from tests.collect.vendors import BinanceRest
from tests.faults.proxy import FaultProxy
from tests.faults.websocket import FeedServer


@pytest.fixture
def feed() -> Iterator[FeedServer]:
    """Binance's feed: it answers nothing, what is asked for stands in the address."""
    with FeedServer() as server:
        yield server


@pytest.fixture
def vendor() -> Iterator[FaultProxy]:
    """The exchange's REST API; without a rule it answers 502."""
    with FaultProxy() as proxy:
        yield proxy


@pytest.fixture
def rest(vendor: FaultProxy) -> BinanceRest:
    """Binance's aggTrades behind `vendor`; a test fills its list."""
    fault = BinanceRest()
    vendor.add(fault, path=r"/api/v3/aggTrades.*", times=None)
    return fault


@pytest.fixture
def market(make_settings: Callable[..., Settings], feed: FeedServer, vendor: FaultProxy) -> Settings:
    """Settings of a platform whose Binance is `feed` and `vendor`."""
    return make_settings(binance_url=vendor.url, binance_feed_url=feed.url)
