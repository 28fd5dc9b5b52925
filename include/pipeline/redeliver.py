"""Put messages back into the outbox: dead ones once their cause is gone, or sent ones that somebody wants again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from include.errors import ConfigError, LedgerError
from include.settings import Settings
from include.warehouse.db import connect
from include.warehouse.outbox import Chosen, choose_dead, choose_key, choose_since, put_back

KEY_DIGITS: Final = 8  # fewer digits of a key may mean several alerts


def redeliver(
    settings: Settings,
    *,
    dead: bool = False,
    key: str | None = None,
    since: datetime | None = None,
    dry_run: bool = False,
) -> Sequence[Chosen]:
    """Let messages wait again, oldest first, and return them; with `dry_run` only return them.

    Exactly one of: all that are `dead`; those whose key, or whose alert's key, begins with `key`; those that SNS took
    at `since` (UTC) or later. A sent one goes out under a new key. Raises ConfigError for any other choice and a key
    that is too short, LedgerError if no message has the key.
    """
    if sum((dead, key is not None, since is not None)) != 1:
        raise ConfigError("say which alerts: --dead, --key with the key of one, or --since with a time")
    if key is not None and len(key) < KEY_DIGITS:
        raise ConfigError(f"{key!r} is too short for a key: give at least its first {KEY_DIGITS} digits")
    with connect(settings) as conn, conn.transaction():
        if key is not None:
            chosen = choose_key(conn, key)
            if not chosen:
                raise LedgerError(
                    f"no dead or sent message has a key that begins with {key!r}; one that waits goes out by itself"
                )
        else:
            chosen = choose_dead(conn) if since is None else choose_since(conn, since)
        if not dry_run:
            put_back(conn, chosen)
    return chosen
