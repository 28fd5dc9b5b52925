"""Vendors' keys out of Airflow's connections, for who keeps secrets there (or in a secrets backend behind them).

A connection `quantstream_<source>` holds the key as its password; its host, if it has one, is the vendor's address.
The environment and secret files come first: a connection is looked up only where a key is needed and there is none.
"""

from __future__ import annotations

from pydantic import SecretStr

from include.settings import Settings


def settings_with_keys(settings: Settings, source: str) -> Settings:
    """The settings with the key (and the address) of the source's connection, or as they are. Call it in a task.

    Looking a connection up is a call of Airflow's API, and Airflow masks what it finds in the task's log.
    """
    if not _needs_key(settings, source):
        return settings
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        found = Connection.get(f"quantstream_{source}")
    except AirflowNotFoundException:
        return settings  # the source says what it lacks
    changes: dict[str, object] = {}
    if found.password:
        changes[f"{source}_api_key"] = SecretStr(found.password)
    if found.host:
        changes[f"{source}_url"] = _address(found.host, found.conn_type, found.schema, found.port)
    return settings.model_copy(update=changes)


def _needs_key(settings: Settings, source: str) -> bool:
    """Whether the source goes with a key, on this plan, and there is none yet."""
    name = f"{source}_api_key"
    has_plan_without = getattr(settings, f"{source}_plan", None) == "public"
    return name in Settings.model_fields and getattr(settings, name) is None and not has_plan_without


def _address(host: str, conn_type: str | None, schema: str | None, port: int | None) -> str:
    """`https://host:port`. The scheme is the host's own, the connection's schema or type, or https."""
    scheme, has_scheme, rest = host.rpartition("://")
    if not has_scheme:
        scheme = next((one for one in (schema, conn_type) if one in ("http", "https")), "https")
    return f"{scheme}://{rest}" + (f":{port}" if port else "")
