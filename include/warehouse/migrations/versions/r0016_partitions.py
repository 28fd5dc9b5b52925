"""The large tables become partitioned by time, with their rows. The SQL is beside this file."""

from pathlib import Path

from alembic import op

revision = "0016"
down_revision = "0015"

_MARTS = {
    "quotes": "event_time", "trades": "event_time", "candles_1m": "candle_start", "candles_5m": "candle_start",
    "indicators_1m": "candle_start", "indicators_5m": "candle_start",
}  # fmt: skip


def upgrade() -> None:
    sql = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    conn = op.get_bind()
    conn.exec_driver_sql(sql.replace("%", "%%"))
    conn.exec_driver_sql("select ops.cut_by_time('raw.market_events', 'event_time')")
    for name, column in _MARTS.items():  # those that dbt has made already
        there = "select 1 from pg_class where oid = to_regclass(%s) and relkind = 'r'"
        if conn.exec_driver_sql(there, (f"marts.{name}",)).scalar():
            conn.exec_driver_sql("select ops.cut_by_time(%s::regclass, %s)", (f"marts.{name}", column))


def downgrade() -> None:
    raise NotImplementedError("the warehouse is rebuilt from the lake, never downgraded")
