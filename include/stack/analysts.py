"""Who may read the marts: members of one group that holds the rights, each with the same limits.

The group cannot log in. A person's role is its member and nothing else, so that nobody sees or ends another's queries.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import sql

from include.errors import ConfigError
from include.settings import Settings
from include.warehouse.grants import group_of

_NAME: Final = re.compile(r"(?!pg_)[a-z][a-z0-9_]{0,62}")
_MEMBERS: Final = """
select r.rolname from pg_auth_members as m
inner join pg_roles as g on m.roleid = g.oid inner join pg_roles as r on m.member = r.oid
where g.rolname = %s and r.rolcanlogin and r.rolname <> current_user
group by r.rolname order by r.rolname
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one analyst may use at a time."""

    statement_seconds: int = 30
    connections: int = 20
    work_mem_mb: int = 32

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Those of the settings."""
        return cls(
            settings.analyst_statement_seconds, settings.analyst_connections, settings.analyst_work_mem_mb
        )  # fmt: skip

    def settings(self) -> dict[str, str]:
        """The settings of a session of theirs, which Postgres lets them change: the border are the rights."""
        return {
            "default_transaction_read_only": "on",
            "statement_timeout": f"{self.statement_seconds}s",
            "idle_in_transaction_session_timeout": "60s",
            "lock_timeout": "5s",
            "work_mem": f"{self.work_mem_mb}MB",
            "search_path": "marts",
        }


@dataclass(frozen=True, slots=True)
class Analyst:
    """One who may read: how many sessions they have open, and how many they may have."""

    name: str
    sessions: int
    connections: int


def is_superuser(conn: psycopg.Connection) -> bool:
    """Whether this session's role is one; on RDS the master user is not."""
    return conn.execute("select rolsuper from pg_roles where rolname = current_user").fetchone() == (True,)


def set_role(conn: psycopg.Connection, role: str, password: str) -> None:
    """Make a role that can log in and nothing more, or set its password.

    The server gets the hash alone: what it logs of the statement tells nothing. An administrator who is no superuser
    joins the role, to act for it.
    """
    exists = conn.execute("select from pg_roles where rolname = %s", [role]).fetchone()
    hashed = conn.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    conn.execute(
        sql.SQL("{} role {} login password {}").format(
            sql.SQL("create" if exists is None else "alter"), sql.Identifier(role), sql.Literal(hashed)
        )
    )
    if not is_superuser(conn):
        conn.execute(sql.SQL("grant {} to current_user").format(sql.Identifier(role)))


def make_group(conn: psycopg.Connection, database: str, first: str) -> None:
    """The group, which may connect to `database`, and `first` in it."""
    group = sql.Identifier(group_of(first))
    if conn.execute("select from pg_roles where rolname = %s", [group_of(first)]).fetchone() is None:
        conn.execute(sql.SQL("create role {} nologin").format(group))
    conn.execute(sql.SQL("grant connect on database {} to {}").format(sql.Identifier(database), group))
    conn.execute(sql.SQL("revoke all on database {} from {}").format(sql.Identifier(database), sql.Identifier(first)))
    conn.execute(sql.SQL("grant {} to {}").format(group, sql.Identifier(first)))


def limit(conn: psycopg.Connection, database: str, first: str, limits: Limits) -> None:
    """Give every member of the group these limits in `database`."""
    for name in members(conn, first):
        role = sql.Identifier(name)
        conn.execute(sql.SQL("alter role {} connection limit {}").format(role, sql.Literal(limits.connections)))
        settings = limits.settings() | ({"temp_file_limit": "4GB"} if is_superuser(conn) else {})
        for setting, value in settings.items():
            conn.execute(
                sql.SQL("alter role {} in database {} set {} = {}").format(
                    role, sql.Identifier(database), sql.Identifier(setting), sql.Literal(value)
                )
            )


def members(conn: psycopg.Connection, first: str) -> list[str]:
    """The names of all who may read, sorted. `conn` may be anybody's."""
    return [str(row[0]) for row in conn.execute(_MEMBERS, [group_of(first)])]


def listed(conn: psycopg.Connection, first: str) -> list[Analyst]:
    """All who may read, by name. `conn` is an administrator's: others do not see the sessions."""
    rows = conn.execute(
        "select r.rolname, count(a.pid), r.rolconnlimit from pg_roles as r "
        "left join pg_stat_activity as a on a.usesysid = r.oid where r.rolname = any(%s) group by 1, 3 order by 1",
        [members(conn, first)],
    )
    return [Analyst(*row) for row in rows]


def add(
    conn: psycopg.Connection, name: str, *, database: str, first: str, limits: Limits, renew: bool = False
) -> str:  # fmt: skip
    """Make an analyst, or with `renew` give one a new password. Returns the password, which is kept nowhere.

    Raises ConfigError for a name that Postgres would have to quote, and for a role that exists.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is no name for an analyst: small letters, digits and _, a letter first, not pg_, at most 63"
        )
    exists = conn.execute("select from pg_roles where rolname = %s", [name]).fetchone() is not None
    if renew:
        _must_be_one(conn, name, first)
    elif exists:
        raise ConfigError(
            f"the role {name} exists already; if it is an analyst, `quantstream analyst add {name} --new-password` "
            "gives it another password"
        )
    password = secrets.token_urlsafe(18)
    with conn.transaction():
        set_role(conn, name, password)
        conn.execute(sql.SQL("grant {} to {}").format(sql.Identifier(group_of(first)), sql.Identifier(name)))
        limit(conn, database, first, limits)
    return password


def remove(conn: psycopg.Connection, name: str, *, first: str) -> None:
    """Remove an analyst and end their sessions. Raises ConfigError for one who is none, and for the platform's own."""
    _must_be_one(conn, name, first)
    conn.execute(sql.SQL("alter role {} nologin").format(sql.Identifier(name)))
    conn.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = %s", [name])
    conn.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


def _must_be_one(conn: psycopg.Connection, name: str, first: str) -> None:
    if name == first:
        raise ConfigError(f"{name} is the platform's own (QUANTSTREAM_ANALYST_DSN); its password is set there")
    if name not in (there := members(conn, first)):
        raise ConfigError(f"there is no analyst {name!r}; there are: {', '.join(there)}")
