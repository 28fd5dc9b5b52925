"""Ports: the one that was asked for, or the next free one where nobody asked."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from contextlib import closing, suppress

from dotenv import dotenv_values

from include.errors import ConfigError
from include.settings import PREFIX, ROOT

_TRIES = 200


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback now."""
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def is_explicit(name: str) -> bool:
    """Whether the user set this setting, in the environment or in `.env` (not `up` in `stack.env`)."""
    variable = PREFIX + name.upper()
    if any(key.upper() == variable for key in os.environ):
        return True
    env_file = os.environ.get(PREFIX + "ENV_FILE", str(ROOT / ".env"))
    return bool(env_file) and any(key.upper() == variable for key in dotenv_values(env_file))


def holder(port: int) -> str:
    """Who listens on the port, as `name (pid 123)`, or "another program" where the system does not say."""
    import psutil

    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return "another program"


def choose(name: str, wanted: int, *, explicit: bool, taken: Iterable[int] = ()) -> int:
    """The wanted port, or the next free one above it if nobody insisted on it.

    `name` is the setting's name, `taken` are ports given out already. Raises ConfigError for an explicit port in use.
    """
    given = set(taken)
    if wanted not in given and is_free(wanted):
        return wanted
    if explicit:
        who = "another part of this stack" if wanted in given else holder(wanted)
        raise ConfigError(
            f"{PREFIX}{name.upper()} = {wanted}: the port is in use by {who}. "
            "Stop that program, or set another port (in the environment or in .env); without the setting, "
            "`up` picks a free one."
        )
    for port in range(wanted + 1, min(wanted + _TRIES, 65536)):
        if port not in given and is_free(port):
            return port
    raise ConfigError(f"no free port from {wanted} to {wanted + _TRIES}; set {PREFIX}{name.upper()} to a free one")
