"""One holder at a time; the dead free at once, the frozen after a while, and a zombie's write is refused."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from include.errors import FencedError, LeaseHeldError
from include.settings import Settings
from include.warehouse.db import connect
from include.warehouse.leases import lease


def test_a_second_holder_is_refused_and_told_who_has_it(settings: Settings) -> None:
    with (
        connect(settings) as first,
        connect(settings) as second,
        lease(first, "load", seconds=60),
        pytest.raises(LeaseHeldError, match=r"the step load runs already \(.+:\d+ since"),
        lease(second, "load", seconds=60),
    ):
        pass


def test_a_lease_given_back_is_free(settings: Settings) -> None:
    with connect(settings) as first, connect(settings) as second:
        with lease(first, "load", seconds=60) as held:
            assert held.epoch == 1
        with lease(second, "load", seconds=60) as held:
            assert held.epoch == 2


def test_a_lease_given_back_between_the_try_and_the_question_who_has_it_is_free(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(settings) as first, connect(settings) as second:
        held = ExitStack()
        held.enter_context(lease(first, "load", seconds=60))

        def given_back_meanwhile(query: str, *args: Any) -> psycopg.Cursor[Any]:
            done = execute(query, *args)
            held.close()
            return done

        execute = second.execute
        monkeypatch.setattr(second, "execute", given_back_meanwhile)
        with lease(second, "load", seconds=60) as mine:
            assert mine.epoch == 2


def test_a_dead_holder_frees_it_at_once(settings: Settings) -> None:
    dead = connect(settings)
    lease(dead, "load", seconds=3600).__enter__()
    dead.close()  # as a killed process does
    with connect(settings) as conn, lease(conn, "load", seconds=60) as held:
        assert held.epoch == 2


def test_a_frozen_holder_loses_it_and_its_late_write_is_refused(settings: Settings) -> None:
    with connect(settings) as frozen, connect(settings) as next_one, lease(frozen, "load", seconds=5) as zombie:
        frozen.execute("update ops.leases set expires_at = clock_timestamp()")  # five silent seconds, at once
        with lease(next_one, "load", seconds=60) as held:
            with (
                pytest.raises(FencedError, match="epoch 2 holds it, this process has epoch 1"),
                frozen.transaction(),
            ):
                zombie.fence()
            with pytest.raises(FencedError):
                zombie.renew()
            with next_one.transaction():
                held.fence()
